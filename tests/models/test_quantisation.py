"""Swift in 8-bit integers: training with rounding, and inference that rounds in the same way."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import vapoursynth as vs
from clips import arrays, clip_of, photograph

torch = pytest.importorskip("torch")
pytest.importorskip("lightning_fabric", reason="needs the extra [train]")

from networks import random_swift  # noqa: E402
from training_runs import changes, load_script, write_config, write_pictures  # noqa: E402

from vsparagon import InvalidInput, ModelError, Upscaler  # noqa: E402
from vsparagon.backends.openvino.cpu import OpenVINOCpu  # noqa: E402
from vsparagon.backends.openvino.library import import_openvino, openvino_core  # noqa: E402
from vsparagon.backends.openvino.network_base import weights_of  # noqa: E402
from vsparagon.backends.openvino.quantisation import quantise_convolutions, ranges_of  # noqa: E402
from vsparagon.choice import make_choice  # noqa: E402
from vsparagon.geometry.extension import Sizes, extension_for  # noqa: E402
from vsparagon.lookup.model_file import open_model_file  # noqa: E402
from vsparagon.models.bundled import bundled_models  # noqa: E402
from vsparagon.models.checkpoint import load_generator, read_checkpoint, save_generator  # noqa: E402
from vsparagon.models.generators import create_generator  # noqa: E402
from vsparagon.models.inference import inference_form  # noqa: E402
from vsparagon.models.swift import Swift  # noqa: E402
from vsparagon.onnx.export import export_onnx  # noqa: E402
from vsparagon.training.config import read_config  # noqa: E402
from vsparagon.training.quantisation import (  # noqa: E402
    BEYOND,
    STEPS,
    QuantisedPReLU,
    QuantisedWeight,
    begin_ranges,
    limits_of,
    quantise_while_training,
    trained_ranges,
)
from vsparagon.training.validation import enlarger  # noqa: E402

PICTURE = photograph(60, 90)
QUANTISED = {model.name: model for model in bundled_models() if model.quantised}


def quantised_swift(**options: int) -> Swift:
    network = random_swift(**options).train()
    quantise_while_training(network)
    begin_ranges(network, torch.from_numpy(PICTURE.transpose(2, 0, 1)[None].astype(np.float32) / 255))
    return network


def plain_of(network: Swift) -> Swift:
    """Return the generator that is saved for one that is rounded during training."""
    from vsparagon.training.reparameterisation import collapsed

    plain = collapsed(network)
    assert isinstance(plain, Swift)
    plain.ranges = trained_ranges(network)
    return plain.eval()


@pytest.fixture
def checkpoint(tmp_path):
    path = tmp_path / "own.safetensors"
    save_generator(plain_of(quantised_swift()), path, variant="swift", note="untrained")
    return path


# --- learning ---------------------------------------------------------------------------------------------


def test_features_are_rounded_to_levels_of_which_one_is_0():
    active = QuantisedPReLU(torch.nn.PReLU(3))
    active.begin(torch.tensor([-0.31, 2.05]))
    x = torch.linspace(-4, 4, 999).reshape(1, 3, 333)
    low, high = active.range()
    step = (high - low) / STEPS
    result = active(x)
    levels = (result - low) / step
    assert (levels - levels.round()).abs().max() < 1e-3
    assert (levels.min().round(), levels.max().round()) == (0, STEPS)
    assert (active(torch.zeros(1, 3, 1)) == 0).all(), "0 must stay 0, because pictures are padded with it"
    inside = (x > low * 4) & (x < high)
    expected = torch.nn.functional.prelu(x, active.weight)
    assert (result - expected)[inside].abs().max() <= step / 2 * 1.001


def most_in_a_pair(kernel):
    """Return the largest sum of two neighbouring channels' weights of the same sign; kernel: in,height,width."""
    pairs = [kernel[first : first + 2] for first in range(0, len(kernel), 2)]
    return max(side.sum(0).max() for pair in pairs for side in (pair.clamp_min(0), -pair.clamp_max(0)))


@pytest.mark.parametrize("channels", [1, 2, 3, 16])
def test_weights_are_rounded_by_output_channel_and_once_is_enough(channels):
    kernel = torch.randn(99, channels, 3, 3, generator=torch.Generator().manual_seed(channels))
    kernel *= torch.arange(1, 100)[:, None, None, None]
    once = QuantisedWeight()(kernel)
    for before, after in zip(kernel, once, strict=True):
        step = max(before.abs().max() / 127, most_in_a_pair(before) / 128)
        levels = after / step
        assert (levels - levels.round()).abs().max() < 1e-3
        assert most_in_a_pair(levels.round()) <= 128, "more might overflow"
        assert (after - before).abs().max() <= step / 2 * 1.001
    assert torch.allclose(QuantisedWeight()(once), once, rtol=1e-5)
    assert (QuantisedWeight()(torch.zeros(2, 2, 3, 3)) == 0).all()


def test_gradients_pass_and_move_a_range_that_is_exceeded():
    network = quantised_swift()
    network(torch.rand(1, 3, 16, 16)).square().mean().backward()
    trained = [p for p in network.parameters() if all(p is not limit for limit in limits_of(network))]
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in trained)
    active = QuantisedPReLU(torch.nn.PReLU(1))
    active.begin(torch.tensor([-1.0, 1.0]))
    (3 - active(torch.full((1, 1, 4), 3.0))).sum().backward()
    assert active.high.grad < 0, "the upper end must move towards 3"


def test_a_range_begins_where_all_but_a_few_values_are():
    active = QuantisedPReLU(torch.nn.PReLU(1))
    active.begin(torch.linspace(-1, 3, 100_001)[torch.randperm(100_001)].reshape(1, 1, 11, -1))
    step = 4 / 100_000
    assert (active.low.item(), active.high.item()) == pytest.approx((-1 + 2 * step, 3 - 2 * step), abs=step / 4)
    active.begin(torch.tensor([1.0, 2.0]))
    assert (active.low.item(), active.high.item()) == (0, 2), "the range must include 0"


@pytest.mark.parametrize(("low", "high"), [(0.5, 2.0), (-2.0, -0.5)])
def test_a_range_that_was_trained_away_from_0_still_holds_it(low, high):
    active = QuantisedPReLU(torch.nn.PReLU(1))
    active.low.data.fill_(low)
    active.high.data.fill_(high)
    first, last = active.range()
    assert first <= 0 < last, "checkpoints without this are refused"
    assert (active(torch.zeros(1, 1, 4)) == 0).all()


def test_ranges_begin_where_the_values_of_each_layer_are():
    network, pictures = (
        quantised_swift(),
        2 * torch.rand(1, 3, 60, 90, generator=torch.Generator().manual_seed(0)) - 0.5,
    )
    begin_ranges(network, pictures)
    assert len(limits_of(network)) == 2 * len(trained_ranges(network)) == 2 * (network.options.num_layers + 1)
    x = pictures.clamp(0, 1)  # as the network does
    with torch.no_grad():
        for module in network.body:
            if isinstance(module, QuantisedPReLU):
                values = torch.nn.PReLU.forward(module, x)
                few = int(BEYOND * values.numel())
                assert (values < module.low).sum() == (values > module.high).sum() == few > 0
            x = module(x)


def test_a_run_saves_weights_on_their_levels_with_their_ranges(tmp_path):
    write_pictures(tmp_path / "pictures")
    config = write_config(tmp_path)
    script = load_script("train")
    settings = {"network_g": "{type: swift_lite, scale: 2}", "train.int8": True, "train.total_iter": 4}
    assert script.train(read_config(config, changes(settings)))
    saved = tmp_path / "runs/tiny/tiny.safetensors"
    ranges = json.loads(read_checkpoint(saved).metadata["ranges"])
    assert len(ranges) == 2
    assert all(low <= 0 < high for low, high in ranges)
    generator = load_generator(saved)
    assert [list(pair) for pair in generator.ranges] == ranges
    kernel = generator.up_conv.weight
    assert torch.allclose(QuantisedWeight()(kernel), kernel, rtol=1e-5, atol=1e-8)
    more = read_config(config, changes(settings | {"train.total_iter": 8, "path.resume_state": "auto"}))
    assert script.train(more)
    with pytest.raises(InvalidInput, match=r"train\.int8 was True and is False"):
        script.train(read_config(config, changes(settings | {"train.int8": False, "path.resume_state": "auto"})))


def test_it_is_for_swift_alone(tmp_path):
    with pytest.raises(InvalidInput, match=r"train\.int8 is for swift, swift_lite and swift_plus; leave it out"):
        read_config(write_config(tmp_path), changes({"train.int8": True}))


# --- files ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ranges", "said"),
    [
        ("none", "unusable ranges"),
        ("[1, 2]", "unusable ranges"),
        ("[[-1, 1]]", "not 4 pairs around 0"),
        ("[[1, 2], [-1, 1], [-1, 1], [-1, 1]]", "not 4 pairs around 0"),
        ("[[-1, NaN], [-1, 1], [-1, 1], [-1, 1]]", "not 4 pairs around 0"),
    ],
)
def test_damaged_ranges_are_refused(ranges, said, tmp_path):
    import safetensors.torch

    path = tmp_path / "own.safetensors"
    save_generator(random_swift(), path, variant="swift", note="untrained")
    path.write_bytes(safetensors.torch.save(read_checkpoint(path).weights, {"ranges": ranges}))
    with pytest.raises(ModelError, match=said):
        load_generator(path)


def test_a_graph_in_the_inference_form_keeps_them(checkpoint, tmp_path):
    generator = load_generator(checkpoint)
    for name, module, precision, keeps in (
        ("form", inference_form(generator), "fp32", True),
        ("half", inference_form(generator), "fp16", False),
        ("published", generator, "fp32", False),
    ):
        path = tmp_path / f"{name}.onnx"
        export_onnx(module, path, precision=precision)
        assert (open_model_file(path, tmp_path).quantised == path) is keeps, name
    picture = PICTURE.astype(np.float32) / 255
    by_graph, by_checkpoint = (
        Upscaler(model=str(path), precision="int8")(picture) for path in (tmp_path / "form.onnx", checkpoint)
    )
    assert rms(by_graph - by_checkpoint) < 1e-6


# --- running ----------------------------------------------------------------------------------------------


def by_torch(checkpoint):
    """Return the result of a checkpoint's rounded network for the picture, as floats, H,W,3."""
    network = load_generator(checkpoint)
    assert isinstance(network, Swift)
    ranges, scale = network.ranges, network.options.scale
    quantise_while_training(network)
    for active, (low, high) in zip((m for m in network.body if isinstance(m, QuantisedPReLU)), ranges, strict=True):
        active.low.data.fill_(low)
        active.high.data.fill_(high)
    extension = extension_for(*PICTURE.shape[:2], Sizes())
    extended = np.zeros((1, 3, extension.extended_height, extension.extended_width), np.float32)
    extension.picture(extended)[0] = PICTURE.transpose(2, 0, 1) / np.float32(255)
    extension.fill(extended)
    with torch.no_grad():
        return extension.picture(network(torch.from_numpy(extended)).numpy(), scale)[0].transpose(1, 2, 0)


def rms(difference):
    return float(np.sqrt(np.square(difference).mean()))


def assert_quantised_alike(ours, expected, exact):
    """Assert that two results differ little: sums differ in their last digits, which sometimes changes a level."""
    assert rms(ours - exact) > 1e-3
    assert rms(ours - expected) < 0.1 * rms(ours - exact)


@pytest.mark.parametrize("model", QUANTISED.values(), ids=QUANTISED)
def test_bundled_networks_are_computed_as_they_were_trained(model):
    trained = model.quantised.with_suffix(".safetensors")
    variant, scale, profile = model.name.split()
    ours, exact = (
        Upscaler(variant, int(scale[1:]), profile=profile, precision=precision)(PICTURE.astype(np.float32) / 255)
        for precision in ("int8", "fp32")
    )
    assert_quantised_alike(ours, by_torch(trained), exact)
    assert rms(ours - exact) < 0.01


RUN = """
import sys
import numpy as np
from vsparagon import Upscaler
picture, model, result, cache = sys.argv[1:]
np.save(result, Upscaler(model=model, precision="int8", cache=cache)(np.load(picture)))
"""


@pytest.mark.parametrize("instructions", ["SSE41", "AVX2", "AVX512_CORE"])
def test_sums_of_products_fit_where_processors_add_them_in_16_bits(instructions, tmp_path):
    network = random_swift().train()
    with torch.no_grad():  # all weights and features are as large as they may be
        for layer in (module for module in network.modules() if isinstance(module, torch.nn.Conv2d)):
            layer.weight.fill_(1 / layer.weight[0].numel())
            layer.bias.zero_()
    quantise_while_training(network)
    begin_ranges(network, torch.from_numpy(PICTURE.transpose(2, 0, 1)[None].astype(np.float32) / 255))
    checkpoint, graph, picture, result = (
        tmp_path / name for name in ("own.safetensors", "own.onnx", "picture.npy", "result.npy")
    )
    save_generator(plain_of(network), checkpoint, variant="swift", note="untrained")
    export_onnx(inference_form(load_generator(checkpoint)), graph)
    np.save(picture, PICTURE.astype(np.float32) / 255)
    command = [sys.executable, "-c", RUN, picture, graph, result, tmp_path / "cache"]
    subprocess.run(command, env=os.environ | {"ONEDNN_MAX_CPU_ISA": instructions}, check=True)
    assert rms(np.load(result) - by_torch(checkpoint)) < 1e-4  # 0.2 when sums overflow


def test_a_checkpoint_of_ones_own(checkpoint):
    picture = PICTURE.astype(np.float32) / 255
    ours = Upscaler(model=str(checkpoint), precision="int8")(picture)
    exact = Upscaler(model=str(checkpoint))(picture)
    assert_quantised_alike(ours, by_torch(checkpoint), exact)
    plain = enlarger(load_generator(checkpoint).eval(), 2)(PICTURE)
    assert np.abs(exact * 255 - plain.astype(np.float32)).max() < 1 + 255 * np.abs(exact - exact.clip(0, 1)).max()


@pytest.mark.parametrize(
    ("picture", "first"),
    [(PICTURE, "u8"), (PICTURE.astype(np.uint16) * 257, "f32"), (PICTURE.astype(np.float32) / 255, "f32")],
    ids=["8 bits", "16 bits", "float"],
)
def test_convolutions_are_of_integers_the_first_one_for_8_bits(picture, first, checkpoint, tmp_path, monkeypatch):
    compiled = []
    core = openvino_core()

    class Watched:
        def __getattr__(self, name):
            return getattr(core, name)

        def compile_model(self, *arguments):
            compiled.append(core.compile_model(*arguments))
            return compiled[-1]

    monkeypatch.setattr("vsparagon.backends.openvino.cpu.openvino_core", Watched)
    Upscaler(model=str(checkpoint), precision="int8", cache=str(tmp_path))(picture)
    steps = compiled[0].get_runtime_model().get_ordered_ops()
    facts = [step.get_rt_info() for step in steps]
    kinds = [fact["runtimePrecision"].value for fact in facts if fact["layerType"].value == "Convolution"]
    assert len(kinds) == 5
    assert sorted(kinds) == sorted([first, *["u8"] * 4])


@pytest.mark.parametrize(
    ("format_id", "chroma", "value_range", "steps"),
    [
        (vs.YUV420P8, "", 0, 219),
        (vs.YUV420P8, "resizer", 0, 219),
        (vs.YUV420P8, "resizer", 1, 255),
        (vs.GRAY8, "", 0, 219),
        (vs.RGB24, "", 1, 255),
        (vs.YUV420P10, "", 0, 0),
        (vs.YUV420P10, "resizer", 0, 0),
        (vs.GRAYS, "", 0, 0),
    ],
)
def test_steps_are_those_of_the_clip(format_id, chroma, value_range, steps, monkeypatch):
    seen = []

    def spy(openvino, network, ranges, *, steps):
        seen.append(steps)
        quantise_convolutions(openvino, network, ranges, steps=steps)

    monkeypatch.setattr("vsparagon.backends.openvino.cpu.quantise_convolutions", spy)
    clip = clip_of([PICTURE], format_id, **({} if format_id == vs.RGB24 else {"matrix": 1}), range=value_range)
    vs.core.paragon.Upscale(clip, variant="swift", precision="int8", chroma=chroma)
    assert seen == [steps]


@pytest.mark.parametrize("steps", [219, 255])
def test_samples_of_8_bits_are_whole_levels(steps):
    openvino = import_openvino()
    network = openvino_core().read_model(next(iter(QUANTISED.values())).quantised)
    quantise_convolutions(openvino, network, ranges_of(network), steps=steps)
    (first,) = weights_of(network)["body.0.weight"].output(0).get_target_inputs()
    (convolution,) = first.get_node().output(0).get_target_inputs()
    levels = openvino.Model([convolution.get_node().input_value(0)], network.get_parameters(), "picture")
    codes = np.arange(-3, steps + 4, dtype=np.float32) / np.float32(steps)
    picture = np.broadcast_to(codes, (1, 3, 1, len(codes)))
    seen = openvino_core().compile_model(levels, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(picture)[0]
    np.testing.assert_allclose(seen, picture.clip(0, 1), atol=1e-6)


@pytest.mark.parametrize("variant", ["swift_lite", "swift_plus"])
def test_integers_for_the_picture_change_less_than_those_for_the_rest(variant):
    finer = PICTURE.astype(np.float32) / 255
    by_integers, by_floats = (Upscaler(variant, precision="int8")(p).astype(float) for p in (PICTURE, finer))
    exact = Upscaler(variant)(finer)
    assert 0.05 < rms(by_integers - 255 * by_floats.clip(0, 1)) < 1.2 * rms(255 * (by_floats - exact)) + 0.3


@pytest.mark.parametrize("format_id", [vs.YUV420P8, vs.YUV420P10, vs.RGBS])
def test_clips_and_tiles(format_id, checkpoint):
    clip = clip_of([photograph(150, 200)], format_id, **({} if format_id == vs.RGBS else {"matrix": 1}))
    frames = [
        arrays(vs.core.paragon.Upscale(clip, model=str(checkpoint), precision="int8", **more).get_frame(0))
        for more in ({}, {"tilesize": 64})
    ]
    unit = 1.0 if format_id == vs.RGBS else (1 << clip.format.bits_per_sample) - 1
    for whole, tiled in zip(*frames, strict=True):
        assert rms(tiled - whole) / unit < 1e-3


def test_what_was_not_trained_for_it_is_refused():
    clip = clip_of([PICTURE], vs.YUV420P8, matrix=1)
    for arguments, said in (
        ({"variant": "nano"}, r"precision is 'int8', but nano x2 clean has no int8 weights; leave"),
        (
            {"variant": "swift", "backend": "onnxruntime"},
            r"precision is 'int8'; the backend 'onnxruntime' supports auto, fp32; choose one of these, or "
            r"backend='openvino'",
        ),
    ):
        with pytest.raises(vs.Error, match=said):
            vs.core.paragon.Upscale(clip, precision="int8", **arguments)
    assert "int8" in OpenVINOCpu.precisions
    assert create_generator("swift").ranges == ()
    assert make_choice(next(iter(QUANTISED.values()))).precision == "fp32"
