"""Model files of users: checkpoints of the design, and any super-resolution network as ONNX."""

import sys

import numpy as np
import onnx
import pytest
import torch
import vapoursynth as vs
from clips import arrays, clip_of, photograph
from onnx import helper
from onnx_files import KINDS, graph, shuffle_network, shuffled

import vsparagon
from vsparagon import ModelError, Upscaler
from vsparagon.cli import main
from vsparagon.geometry.extension import Sizes, extension_for
from vsparagon.input.job import Job, Network
from vsparagon.lookup import find_model
from vsparagon.models.checkpoint import load_generator, save_generator
from vsparagon.models.files import files_of
from vsparagon.models.generators import create_generator
from vsparagon.models.inference import inference_form
from vsparagon.onnx.export import export_onnx
from vsparagon.onnx.graph_cache import inference_graph, plan_stages

PICTURE = photograph(100, 140).astype(np.float32) / 255


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("channels", [3, 1])
@pytest.mark.parametrize("scale", [1, 2, 3])
def test_network_of_any_signature(tmp_path, backend, kind, channels, scale):
    path = shuffle_network(tmp_path / "net.onnx", channels=channels, scale=scale, kind=kind)
    result = Upscaler(model=str(path), backend=backend)(PICTURE)
    assert result.shape == (100 * scale, 140 * scale, 3)
    assert np.abs(result - shuffled(PICTURE, scale)).max() < (1e-5 if kind == "f32" else 3e-3)


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
@pytest.mark.parametrize("channels", [3, 1])
def test_network_that_does_not_name_its_channels(tmp_path, backend, channels):
    path = shuffle_network(tmp_path / "net.onnx", channels=channels)
    model = onnx.load(path)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[1].dim_param = f"channels of {value.name}"
    onnx.save(model, path)
    result = Upscaler(model=str(path), backend=backend)(PICTURE)
    assert np.abs(result - shuffled(PICTURE, 2)).max() < 1e-5


@pytest.mark.needs_bf16
@pytest.mark.parametrize("channels", [3, 1])
def test_network_in_bfloat16(tmp_path, channels):
    result = Upscaler(model=str(shuffle_network(tmp_path / "net.onnx", channels=channels)), precision="bf16")(PICTURE)
    difference = np.abs(result - shuffled(PICTURE, 2))
    assert 0 < difference.max() < 0.03


@pytest.mark.needs_bf16
@pytest.mark.parametrize("name", ["swift", "nano"])
def test_published_network_of_ours_in_bfloat16(tmp_path, name):
    export_onnx(load_generator(name), tmp_path / "own.onnx")
    ours, exact = (Upscaler(model=str(tmp_path / "own.onnx"), precision=p)(PICTURE) for p in ("bf16", "fp32"))
    assert 0 < np.abs(ours - exact).max() < 0.05


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
@pytest.mark.parametrize("size", [(64, 64), (48, 200), (300, 320), (64, None), (None, 48)], ids=str)
def test_network_of_fixed_size_is_tiled_without_a_seam(tmp_path, backend, size):
    path = shuffle_network(tmp_path / "net.onnx", size=size)
    result = Upscaler(model=str(path), backend=backend)(PICTURE)
    assert np.abs(result - shuffled(PICTURE, 2)).max() < 1e-5


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
def test_weights_may_lie_in_a_file_of_their_own(tmp_path, backend):
    path = shuffle_network(tmp_path / "net.onnx")
    onnx.save(onnx.load(path), path, save_as_external_data=True, location="net.data", size_threshold=0)
    assert (tmp_path / "net.data").is_file()
    assert np.abs(Upscaler(model=str(path), backend=backend)(PICTURE) - shuffled(PICTURE, 2)).max() < 1e-5


def test_files_of_a_model_are_all_that_decide_what_it_does(tmp_path):
    path = shuffle_network(tmp_path / "net.onnx")
    (tmp_path / "unrelated.data").write_bytes(b"")
    assert files_of(path) == [path]
    beside = tmp_path / ("long" * 40 + ".data")
    onnx.save(onnx.load(path), path, save_as_external_data=True, location=beside.name, size_threshold=0)
    assert files_of(path) == [path, beside]
    film = tmp_path / "film.mkv"
    film.write_bytes(b"")
    job = Job(input=film, network=Network(model=str(path)))
    before = job.identity()
    beside.write_bytes(bytes(beside.stat().st_size))
    assert job.identity()["model file"] != before["model file"]


@pytest.mark.parametrize("step", [4, 8, 12, 64, 192])
def test_network_that_needs_a_multiple_gets_it(step, tmp_path):
    # Reduced, enlarged again and added to the input: the shapes agree only for multiples of the step.
    nodes = [
        helper.make_node("AveragePool", ["x"], ["small"], kernel_shape=[step] * 2, strides=[step] * 2),
        helper.make_node("Resize", ["small", "", "step"], ["large"], mode="nearest"),
        helper.make_node("Add", ["x", "large"], ["sum"]),
        helper.make_node("Resize", ["sum", "", "two"], ["y"], mode="nearest"),
    ]
    factors = {"step": np.array([1, 1, step, step], np.float32), "two": np.array([1, 1, 2, 2], np.float32)}
    path = graph(tmp_path / "net.onnx", nodes, factors)
    picture = photograph(37, 41).astype(np.float32) / 255
    for backend in ("openvino", "onnxruntime"):
        assert Upscaler(model=str(path), backend=backend)(picture).shape == (74, 82, 3)
    assert find_model(model=str(path)).sizes == Sizes(step=step, minimum=step)


def test_network_that_needs_some_pixels_gets_them(tmp_path):
    nodes = [
        helper.make_node("Pad", ["x", "pads"], ["wide"], mode="reflect"),  # which takes more pixels than it adds
        helper.make_node("AveragePool", ["wide"], ["y"], kernel_shape=[61, 61]),
    ]
    path = graph(tmp_path / "net.onnx", nodes, {"pads": np.array([0, 0, 30, 30, 0, 0, 30, 30])}, scale=1)
    assert find_model(model=str(path)).sizes == Sizes(minimum=31)
    for backend in ("openvino", "onnxruntime"):
        assert Upscaler(model=str(path), backend=backend)(PICTURE[:3, :5]).shape == (3, 5, 3)


def test_design_as_onnx_in_the_filter(tmp_path):
    torch.manual_seed(0)
    network = create_generator("micro", scale=3).eval()
    path = tmp_path / "micro.onnx"
    export_onnx(network, path)
    clip = clip_of([photograph(40, 56)])
    result = vs.core.core.paragon.Upscale(clip, model=str(path))
    assert (result.width, result.height) == (168, 120)
    assert np.abs(np.stack(arrays(result.get_frame(0)), 2) - Upscaler(model=str(path))(photograph(40, 56))).max() <= 1


def test_design_as_onnx_is_not_cut_where_it_looks_at_the_whole_frame(tmp_path):
    network = create_generator("nano").eval()
    export_onnx(network, tmp_path / "any.onnx")
    with pytest.raises(vs.Error, match=r"any\.onnx looks at the whole frame.*checkpoint as model=, or leave tilesize="):
        vs.core.core.paragon.Upscale(clip_of([photograph(200, 200)]), model=str(tmp_path / "any.onnx"), tilesize=64)
    export_onnx(network, tmp_path / "fixed.onnx", height=96, width=96)
    with pytest.raises(vsparagon.InvalidInput, match=r"fixed\.onnx looks at the whole frame.*or export it without"):
        Upscaler(model=str(tmp_path / "fixed.onnx"))(photograph(200, 200))


def test_design_as_onnx_is_known_by_what_it_says(tmp_path, capsys):
    network = create_generator("nano").eval()
    export_onnx(network, tmp_path / "nano.onnx")
    assert main(["info", str(tmp_path / "nano.onnx")]) == 0
    said = capsys.readouterr().out
    assert "a vsparagon network, as published; `vsparagon export --form extended`" in said
    assert f"parameters  {network.options.parameters:,}\n" in said


def test_onnxruntime_refuses_several_pictures_at_once(tmp_path):
    model = onnx.load(shuffle_network(tmp_path / "net.onnx", scale=2))
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 4
    onnx.save(model, tmp_path / "four.onnx")
    with pytest.raises(vsparagon.BackendFailure, match=r"four\.onnx takes 4 pictures at once"):
        Upscaler(model=str(tmp_path / "four.onnx"), backend="onnxruntime")(photograph(64, 64))


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("backend", ["openvino", "onnxruntime", "torch"])
def test_checkpoint_of_any_variant(tmp_path, suffix, backend):
    torch.manual_seed(0)
    network = create_generator("tiny", scale=4, use_attention=False).eval()
    path = tmp_path / f"tiny{suffix}"
    if suffix == ".pth":
        torch.save({"params_ema": network.state_dict()}, path)
    else:
        save_generator(network, path, variant="tiny", note="untrained")
    picture = photograph(40, 56).astype(np.float32) / 255
    upscaler = Upscaler(model=str(path), backend=backend, cache=str(tmp_path / "cache"))
    extension = extension_for(40, 56)
    extended = np.zeros((1, 3, extension.extended_height, extension.extended_width), np.float32)
    extension.picture(extended)[0] = picture.transpose(2, 0, 1)
    extension.fill(extended)
    with torch.no_grad():
        expected = extension.picture(network(torch.from_numpy(extended)).numpy(), 4)[0].transpose(1, 2, 0)
    assert np.abs(upscaler(picture) - expected).max() < 1e-4


def test_checkpoint_is_exported_once_and_again_when_it_changes(tmp_path):
    cache, path = tmp_path / "cache", tmp_path / "nano.safetensors"
    for graphs in (1, 2):
        save_generator(create_generator("nano", use_attention=False), path, variant="nano", note="untrained")
        for _ in range(2):
            Upscaler(model=str(path), cache=str(cache))
            assert len(list((cache / "graphs").iterdir())) == graphs


def test_scale_that_the_model_does_not_have(tmp_path):
    path = shuffle_network(tmp_path / "net.onnx", scale=3)
    assert Upscaler(scale=3, model=str(path)).scale == 3
    assert Upscaler(model=str(path)).scale == 3
    for scale in (2, 4):
        with pytest.raises(vsparagon.InvalidInput, match=rf"scale is {scale}, but net\.onnx .* 3 times; leave scale="):
            Upscaler(scale=scale, model=str(path))


def test_torch_does_not_take_onnx(tmp_path):
    path = shuffle_network(tmp_path / "net.onnx")
    with pytest.raises(vsparagon.BackendUnavailable, match=r"'torch' runs checkpoints, and net\.onnx is an ONNX file"):
        Upscaler(model=str(path), backend="torch")(PICTURE)


def two_inputs(path):
    return graph(path, [helper.make_node("Add", ["a", "b"], ["y"])], {}, scale=1, inputs=("a", "b"))


def two_outputs(path):
    nodes = [helper.make_node("Identity", ["x"], [name]) for name in ("y", "z")]
    return graph(path, nodes, {}, scale=1, outputs=("y", "z"))


def bytes_out(path):
    node = helper.make_node("Cast", ["x"], ["y"], to=onnx.TensorProto.UINT8)
    model = onnx.load(graph(path, [node], {}, scale=1))
    model.graph.output[0].type.tensor_type.elem_type = onnx.TensorProto.UINT8
    onnx.save(model, path)
    return path


def of_any_rank(path):
    model = onnx.load(graph(path, [helper.make_node("Identity", ["x"], ["y"])], {}, scale=1))
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.ClearField("shape")
    onnx.save(model, path)
    return path


def half_size(path):
    node = helper.make_node("AveragePool", ["x"], ["y"], kernel_shape=[2, 2], strides=[2, 2])
    return graph(path, [node], {})


def four_channels(path):
    return graph(path, [helper.make_node("Identity", ["x"], ["y"])], {}, channels=4, scale=1)


def whole_numbers(path):
    model = onnx.load(graph(path, [helper.make_node("Identity", ["x"], ["y"])], {}, scale=1))
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.elem_type = onnx.TensorProto.UINT8
    onnx.save(model, path)
    return path


def size_by_content(path):
    """Write a network whose output size depends on the number of samples that are not 0, and not on the shape."""
    nodes = [
        helper.make_node("NonZero", ["x"], ["places"]),
        helper.make_node("Shape", ["places"], ["count"]),
        helper.make_node("Gather", ["count", "one"], ["side"]),
        helper.make_node("Concat", ["head", "side", "side"], ["size"], axis=0),
        helper.make_node("Resize", ["x", "", "", "size"], ["y"], mode="nearest"),
    ]
    return graph(path, nodes, {"one": np.array([1]), "head": np.array([1, 3])})


@pytest.mark.parametrize(
    ("make", "found"),
    [
        (two_inputs, r"in: a \[1,3,\?,\?\] f32, b"),
        (two_outputs, r"out: y \[1,3,\?,\?\] f32, z"),
        (bytes_out, r"out: y \[1,3,\?,\?\] u8"),
        (of_any_rank, r"in: x \[\.\.\.\] f32"),
        (half_size, "f32"),
        (four_channels, r"in: x \[1,4,\?,\?\] f32"),
        (whole_numbers, r"in: x \[1,3,\?,\?\] u8"),
        (size_by_content, r"out: y \[1,3,\?,\?\] f32"),
    ],
)
def test_network_of_another_kind_is_refused_with_what_was_found(tmp_path, make, found):
    path = make(tmp_path / "net.onnx")
    with pytest.raises(ModelError, match=rf"is not a super-resolution network \(.*{found}.*\); wanted: one input"):
        Upscaler(model=str(path))


@pytest.mark.parametrize("content", [b"", b"<!DOCTYPE html><p>not found", b"\x08\x07" + bytes(50), None])
def test_file_that_is_no_onnx_is_refused_in_one_line(tmp_path, content, capfd):
    path = tmp_path / "net.onnx"
    path.write_bytes(find_model().graph.read_bytes()[:1000] if content is None else content)
    with pytest.raises(vs.Error, match=r"^paragon.Upscale: .*net\.onnx is n"):
        vs.core.core.paragon.Upscale(clip_of([photograph(40, 56)]), model=str(path))
    assert "".join(capfd.readouterr()) == ""


def test_missing_or_unknown_file_is_refused(tmp_path):
    with pytest.raises(ModelError, match=r"the model file .*gone\.onnx cannot be read \(No such file"):
        Upscaler(model=str(tmp_path / "gone.onnx"))
    (tmp_path / "net.engine").write_bytes(b"x")
    with pytest.raises(ModelError, match=r"net\.engine has an unknown suffix"):
        Upscaler(model=str(tmp_path / "net.engine"))


@pytest.mark.parametrize("damage", [lambda data: data[:1000], lambda data: data[:-9] + bytes(9)], ids=["cut", "zeros"])
def test_kept_graph_that_is_damaged_is_made_anew(damage, tmp_path, caplog):
    path = tmp_path / "nano.safetensors"
    save_generator(create_generator("nano", use_attention=False), path, variant="nano", note="untrained")
    before = Upscaler(model=str(path), cache=str(tmp_path / "cache"))(photograph(32, 32))
    (graph,) = (tmp_path / "cache" / "graphs").iterdir()
    graph.write_bytes(damage(graph.read_bytes()))
    after = Upscaler(model=str(path), cache=str(tmp_path / "cache"))(photograph(32, 32))
    assert (before == after).all()
    assert "the cached graph of nano.safetensors is damaged" in caplog.text


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_kept_graph_that_vanishes_is_made_anew(tmp_path):
    path = tmp_path / "nano.safetensors"
    save_generator(create_generator("nano", use_attention=False), path, variant="nano", note="untrained")
    graph = inference_graph(path, tmp_path)
    graph.rename(tmp_path / "moved")
    graph.with_name(f"{graph.stem[:-1]}_.onnx").symlink_to("gone")  # listed, but it cannot be read any more
    assert inference_graph(path, tmp_path).read_bytes() == (tmp_path / "moved").read_bytes()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("plan.json", b""),
        ("plan.json", b"[]"),
        ("plan.json", b'{"scale": 2}'),
        ("1.onnx", b"cut short"),
        ("1.onnx", None),
    ],
)
def test_kept_stages_that_are_damaged_are_made_anew(name, content, tmp_path, caplog):
    path = tmp_path / "nano.safetensors"
    save_generator(create_generator("nano"), path, variant="nano", note="untrained")
    before = plan_stages(path, tmp_path)
    graphs = {graph.name: graph.read_bytes() for graph in before.folder.glob("*.onnx")}
    if content is None:
        (before.folder / name).unlink()
    else:
        (before.folder / name).write_bytes(content)
    assert plan_stages(path, tmp_path) == before
    assert {graph.name: graph.read_bytes() for graph in before.folder.glob("*.onnx")} == graphs
    assert "the cached stages of nano.safetensors are damaged" in caplog.text


def test_axes_named_the_other_way_round(tmp_path):
    path = shuffle_network(tmp_path / "net.onnx")
    model = onnx.load(path)
    for value in (*model.graph.input, *model.graph.output):
        for dim, name in zip(value.type.tensor_type.shape.dim[2:], ("width", "height"), strict=True):
            dim.dim_param = name
    onnx.save(model, path)
    for backend in ("openvino", "onnxruntime"):
        assert np.abs(Upscaler(model=str(path), backend=backend)(PICTURE) - shuffled(PICTURE, 2)).max() < 1e-5


@pytest.mark.parametrize("axes", [(2, 3), (2,), (3,)])
def test_extended_form_of_fixed_size_is_refused(axes, tmp_path):
    path = tmp_path / "net.onnx"
    export_onnx(inference_form(create_generator("nano", use_attention=False)), path)
    model = onnx.load(path)
    for axis in axes:
        model.graph.input[0].type.tensor_type.shape.dim[axis].dim_value = 104
    onnx.save(model, path)
    with pytest.raises(ModelError, match="is an extended form with a fixed size"):
        Upscaler(model=str(path))


def test_reading_a_checkpoint_without_torch_names_the_extra(tmp_path, monkeypatch):
    path = tmp_path / "nano.safetensors"
    save_generator(create_generator("nano", use_attention=False), path, variant="nano", note="untrained")
    monkeypatch.setitem(__import__("sys").modules, "vsparagon.models.checkpoint", None)
    with pytest.raises(vsparagon.BackendUnavailable, match=r'pip install "vsparagon\[torch\]", or give an ONNX file'):
        Upscaler(model=str(path), cache=str(tmp_path))


def test_kept_graph_is_that_of_the_code_that_runs(tmp_path, monkeypatch):
    path = tmp_path / "nano.safetensors"
    save_generator(create_generator("nano", use_attention=False), path, variant="nano", note="")
    keys = []
    for code in (b"one exporter", b"one exporter", b"another"):
        monkeypatch.setattr("vsparagon.onnx.graph_cache._exporter", lambda code=code: code)
        Upscaler(model=str(path), cache=str(tmp_path / "cache"))
        keys.append(sorted(file.name for file in (tmp_path / "cache" / "graphs").iterdir()))
    assert [len(names) for names in keys] == [1, 1, 2]
