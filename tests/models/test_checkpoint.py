"""Checkpoints: options read from shapes, the formats that trainers write, and files that must be refused."""

from __future__ import annotations

import json
import os
import pickle
import re
import stat
from dataclasses import asdict, replace

import pytest
from goldens import generator_names, golden

torch = pytest.importorskip("torch", reason="the networks are torch modules")

from safetensors.torch import load_file, save_file  # noqa: E402

from vsparagon.errors import InvalidInput, ModelError  # noqa: E402
from vsparagon.models.checkpoint import (  # noqa: E402
    build_generator,
    load_generator,
    read_checkpoint,
    save_generator,
)
from vsparagon.models.generators import create_generator  # noqa: E402
from vsparagon.models.variants import VARIANTS  # noqa: E402


@pytest.fixture
def nano():
    return create_generator("nano", use_attention=False)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


def same_weights(a, b):
    a, b = a.state_dict(), b.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[n], b[n]) for n in a)


@pytest.mark.parametrize("name", generator_names())
def test_published_weights_load_by_their_shapes(name, caplog):
    """The metadata of these files is not ours, and lacks upsampler_alpha."""
    reference = golden(name)
    with caplog.at_level("INFO"):
        model = load_generator(reference.path)
    wanted = reference.generator()
    assert asdict(model.options) == asdict(wanted.options)
    assert same_weights(model, wanted)
    assert not model.training
    assert "upsampler_alpha" in caplog.text


@pytest.mark.parametrize("variant", ["nano", "micro", "tiny", "xs", "s", "m"])
@pytest.mark.parametrize("options", [{}, {"scale": 3, "upsampler_alpha": 0.25, "use_attention": False}])
def test_saved_generator_loads_as_it_was(variant, options, path):
    model = create_generator(variant, **options)
    save_generator(model, path, variant=variant, note="none")
    loaded = load_generator(path)
    assert asdict(loaded.options) == asdict(model.options)
    assert same_weights(loaded, model)
    assert [p.requires_grad for p in loaded.parameters()] == [p.requires_grad for p in model.parameters()]


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("variant", ["micro", "s"])
def test_body_mode_is_read_from_the_shapes_alone(variant, fast, path):
    model = create_generator(variant, fast_body_mode=fast)
    save_file(model.state_dict(), path)
    assert asdict(load_generator(path).options) == asdict(model.options)


def test_network_of_no_variant_is_read_from_the_shapes_alone(path):
    model = create_generator(
        "nano", num_feat=20, num_groups=2, num_blocks=3, ffn_expansion=1.71, band_kernel_size=5, scale=4,
        fast_body_mode=False, use_norm=True, upsampler_alpha=0.5, detail_gain=0.1,
    )  # fmt: skip
    save_file(model.state_dict(), path)
    loaded = load_generator(path)
    assert asdict(replace(loaded.options, ffn_expansion=1.71)) == asdict(model.options)
    assert loaded.options.hidden == model.options.hidden
    assert same_weights(loaded, model)


@pytest.mark.parametrize("features", range(4, 40))
def test_every_number_of_hidden_channels_is_read_back(features, path):
    for hidden in (features - 1, features + 1, 2 * features + 1):
        model = create_generator("nano", num_feat=features, ffn_expansion=(hidden + 0.1) / features)
        save_file(model.state_dict(), path)
        assert load_generator(path).options.hidden == hidden


def test_metadata_says_what_the_file_is(nano, path):
    save_generator(nano, path, variant="nano", note="a test", licence="CC0-1.0")
    metadata = read_checkpoint(path).metadata
    assert json.loads(metadata.pop("options")) == asdict(nano.options)
    assert metadata == {
        "format_version": "1",
        "network": "paragonsr2",
        "variant": "nano",
        "scale": "2",
        "licence": "CC0-1.0",
        "training": "a test",
    }


@pytest.mark.skipif(os.name != "posix", reason="POSIX alone has file modes")
def test_saved_file_can_be_read_by_others_as_the_umask_says(nano, path):
    save_generator(nano, path, variant="nano", note="")
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~mask


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"params": state},
        lambda state: {"params_ema": state, "params": {n: t * 0 for n, t in state.items()}},
        lambda state: {"state_dict": {f"module.{n}": t for n, t in state.items()}, "epoch": 3},
        lambda state: {"state_dict": {"params": state}},
        lambda state: {f"_orig_mod.{n}": t.half().float() for n, t in state.items()},
    ],
    ids=["plain", "params", "params_ema", "module", "nested twice", "compiled"],
)
@pytest.mark.parametrize("new_format", [True, False])
def test_forms_of_pytorch_files_load(wrap, new_format, nano, tmp_path):
    nano.half().float()
    torch.save(wrap(nano.state_dict()), tmp_path / "model.pth", _use_new_zipfile_serialization=new_format)
    assert same_weights(load_generator(tmp_path / "model.pth"), nano)


def test_half_precision_weights_load_in_float32(nano, path):
    save_file(nano.half().state_dict(), path)
    assert {p.dtype for p in load_generator(path).parameters()} == {torch.float32}


def test_weights_in_any_layout_are_saved_and_loaded_in_the_usual_one(nano, path, tmp_path):
    turned = create_generator("nano", use_attention=False).to(memory_format=torch.channels_last)
    turned.load_state_dict(nano.state_dict())
    save_generator(turned, path, variant="nano", note="")
    torch.save(turned.state_dict(), tmp_path / "model.pth")
    for file in (path, tmp_path / "model.pth"):
        loaded = load_generator(file)
        assert same_weights(loaded, nano)
        assert all(tensor.is_contiguous() for tensor in loaded.state_dict().values())


def test_bundled_weights_load_by_name():
    model = load_generator("nano", scale=2)
    assert model.options.num_feat == VARIANTS["nano"].num_feat
    assert model.options.scale == 2
    assert not model.training


def test_variant_without_bundled_weights_is_refused():
    with pytest.raises(ModelError, match="xl x4"):
        load_generator("xl", scale=4)
    with pytest.raises(InvalidInput, match="scale is 8"):
        load_generator("nano", scale=8)
    with pytest.raises(InvalidInput, match="profile"):
        load_generator("nano", profile="blurred")


def test_file_of_another_scale_is_refused(nano, path):
    save_generator(nano, path, variant="nano", note="")
    assert load_generator(path, scale=2).options.scale == 2
    with pytest.raises(ModelError, match="enlarges 2 times, not 3"):
        load_generator(path, scale=3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("conv_fuse.bias"), r"missing: conv_fuse\.bias\."),
        (lambda s: s.pop("conv_in.weight"), r"conv_in\.weight is missing"),
        (lambda s: s.update(extra=torch.zeros(1)), r"unexpected: extra\."),
        (lambda s: s.update({"conv_out.weight": torch.zeros(3, 12, 5, 5)}), r"conv_out\.weight \(3x12x5x5, not"),
        (lambda s: s.update({"conv_in.weight": torch.zeros(12)}), r"conv_in\.weight is 12\."),
        (
            lambda s: s.update({"conv_in.bias": torch.full((12,), torch.nan)}),
            r"infinite or NaN values in conv_in\.bias",
        ),
        (lambda s: s.update({"step": torch.zeros(1, dtype=torch.int64)}), r"step as integers"),
        (lambda s: s.update({"upsampler_net.up_conv.weight": torch.zeros(300, 12, 3, 3)}), "scale is 5"),
        # A million hidden channels would need a matrix of 4 TB, so this is refused before anything is allocated.
        (
            lambda s: s.update({"body.0.blocks.0.transformer.project_in.weight": torch.zeros(1_000_000, 12, 1, 1)}),
            r"dw_mixer\.2\.weight",
        ),
        (lambda s: s.update({"body.123456789.blocks.0.ls1.gamma": torch.zeros(1)}), r"missing: body\.1\."),
    ],
)  # fmt: skip
def test_wrong_weights_are_named(change, message, nano, path):
    state = nano.state_dict()
    change(state)
    save_file(state, path)
    with pytest.raises(ModelError, match=message):
        load_generator(path)


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"format_version": "2"}, "format version 2"),
        ({"options": "{"}, "not JSON"),
        ({"options": "[]"}, "a list"),
        ({"options": '{"upsampler_alpha": "much"}'}, "upsampler_alpha of 'much'"),
        ({"options": '{"upsampler_alpha": NaN}'}, "upsampler_alpha of nan"),
        ({"options": json.dumps(asdict(VARIANTS["nano"]) | {"num_feat": "many"})}, "unusable options"),
        ({"options": json.dumps(asdict(VARIANTS["nano"]) | {"scale": 5})}, "scale is 5"),
    ],
)
def test_unusable_metadata_is_refused(metadata, message, nano, path):
    save_file(nano.state_dict(), path, metadata)
    with pytest.raises(ModelError, match=message):
        load_generator(path)


def test_shapes_win_over_metadata(nano, path):
    said = {**asdict(nano.options), "num_feat": 64, "scale": 8, "upsampler_alpha": 0.1}
    save_file(nano.state_dict(), path, {"options": json.dumps(said)})
    loaded = load_generator(path)
    assert asdict(loaded.options) == asdict(replace(nano.options, upsampler_alpha=0.1))


def damaged_files(folder, state):
    """Write all kinds of files that are not checkpoints, and return their names."""
    save_file(state, folder / "good.safetensors")
    torch.save(state, folder / "good.pth")
    good, pth = (folder / "good.safetensors").read_bytes(), (folder / "good.pth").read_bytes()
    torch.save(torch.nn.Conv2d(1, 1, 1), folder / "module.pth")
    torch.save([1, 2], folder / "list.pth")
    torch.save({}, folder / "nothing.pth")
    torch.save({"epoch": 3, "params": None}, folder / "number.pth")
    script = torch.jit.script(torch.nn.ReLU())
    script.save(str(folder / "script.pth"))
    files = {
        "empty.safetensors": b"",
        "empty.pth": b"",
        "truncated.safetensors": good[: len(good) // 2],
        "truncated_header.safetensors": good[:40],
        "huge_header.safetensors": (2**62).to_bytes(8, "little") + b"{}",
        "truncated.pth": pth[: len(pth) // 2],
        "text.safetensors": b"<html>not found</html>",
        "picture.pth": b"\x89PNG\r\n\x1a\n" + bytes(100),
        "zip.pth": b"PK\x05\x06" + bytes(18),
        "pickle.pth": pickle.dumps({"a": 1}),
    }
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return [*files, "module.pth", "list.pth", "nothing.pth", "number.pth", "script.pth"]


@pytest.mark.filterwarnings("ignore:.*torch.jit", "ignore:.*TorchScript", "ignore:Detected pickle protocol")
def test_damaged_and_foreign_files_are_refused(nano, tmp_path):
    for name in damaged_files(tmp_path, nano.state_dict()):
        with pytest.raises(ModelError, match=name):
            load_generator(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("text.safetensors", r'it starts with "<html>no"'),
        ("picture.pth", "it starts with the bytes 89 50 4e 47 0d 0a 1a 0a"),
        ("empty.pth", "it is empty"),
        ("truncated.safetensors", ".+"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*torch.jit", "ignore:.*TorchScript", "ignore:Detected pickle protocol")
def test_file_of_another_kind_is_described_readably(name, why, nano, tmp_path):
    damaged_files(tmp_path, nano.state_dict())
    said = rf"^.*{name} is damaged or not a checkpoint \({why}\); give a \.safetensors or a PyTorch \.pth file\.$"
    with pytest.raises(ModelError, match=said):
        load_generator(tmp_path / name)


@pytest.mark.parametrize("cut", range(0, 1000, 37))
def test_file_cut_anywhere_is_refused(cut, nano, tmp_path):
    for suffix, save in ((".safetensors", save_file), (".pth", torch.save)):
        path = tmp_path / f"model{suffix}"
        save(nano.state_dict(), path)
        data = path.read_bytes()
        path.write_bytes(data[: len(data) * cut // 1000])
        with pytest.raises(ModelError):
            load_generator(path)


class Hostile:
    """Creates a folder when it is unpickled."""

    def __init__(self, target):
        self.target = str(target)

    def __reduce__(self):
        return os.mkdir, (self.target,)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("new_format", [True, False])
def test_code_in_a_file_is_not_run(new_format, nano, tmp_path):
    target = tmp_path / "ran"
    state = {**nano.state_dict(), "conv_in.weight": Hostile(target)}
    torch.save(state, tmp_path / "hostile.pth", _use_new_zipfile_serialization=new_format)
    (tmp_path / "bare.pth").write_bytes(pickle.dumps(Hostile(target)))
    for name in ("hostile.pth", "bare.pth"):
        with pytest.raises(ModelError, match="no code in it was run"):
            load_generator(tmp_path / name)
    assert not target.exists()
    pickle.loads((tmp_path / "bare.pth").read_bytes())
    assert target.exists()  # this time, the code ran


def test_weights_stay_what_they_were_when_their_file_is_written_again(nano, tmp_path):
    path = tmp_path / "own.safetensors"
    save_generator(nano, path, variant="nano", note="untrained")
    loaded = load_generator(path)
    with path.open("r+b") as file:
        file.write(bytes(path.stat().st_size))
    assert all(torch.equal(loaded.state_dict()[name], tensor) for name, tensor in nano.state_dict().items())
    save_generator(nano, path, variant="nano", note="untrained")
    assert load_generator(path)


def test_missing_file_and_folder_are_refused(tmp_path):
    for wrong in (tmp_path / "nowhere.pth", tmp_path, "nanoo"):
        said = rf"{re.escape(str(wrong))} is neither a variant \(nano, .*\) nor a file"
        with pytest.raises(InvalidInput, match=said):
            load_generator(wrong)


def test_other_networks_are_refused(tmp_path):
    save_file({"conv.weight": torch.zeros(2)}, tmp_path / "other.safetensors")
    with pytest.raises(
        ModelError,
        match=r"not a ParagonSR2 or Swift generator: conv_in\.weight is missing; it holds conv\.weight\. ",
    ):
        load_generator(tmp_path / "other.safetensors")


def test_file_is_read_once_and_built_from_memory(nano, path):
    save_generator(nano, path, variant="nano", note="")
    checkpoint = read_checkpoint(path)
    path.unlink()
    generator = build_generator(checkpoint, path)
    assert same_weights(generator, nano)
    for name, tensor in generator.state_dict().items():
        assert tensor.data_ptr() == checkpoint.weights[name].data_ptr(), "weights must not be copied"


def test_failed_save_keeps_the_old_file(nano, path, monkeypatch):
    save_generator(nano, path, variant="nano", note="old")
    monkeypatch.setattr("pathlib.Path.replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        save_generator(nano, path, variant="nano", note="new")
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    assert read_checkpoint(path).metadata["training"] == "old"
    assert load_file(path).keys() == nano.state_dict().keys()
