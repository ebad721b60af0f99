"""Swift: its results, directly and through checkpoints, exports and the filter."""

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import onnxruntime  # noqa: E402
import vapoursynth as vs  # noqa: E402
from clips import arrays, clip_of, photograph  # noqa: E402
from networks import random_swift  # noqa: E402

from vsparagon import ModelError, Upscaler  # noqa: E402
from vsparagon.models.bundled import bundled_models, describe  # noqa: E402
from vsparagon.models.checkpoint import load_generator, save_generator  # noqa: E402
from vsparagon.models.complexity import macs_per_pixel  # noqa: E402
from vsparagon.models.generators import create_generator  # noqa: E402
from vsparagon.models.inference import inference_form  # noqa: E402
from vsparagon.onnx.export import onnx_model  # noqa: E402

# With values beyond 0..1, as in saturated YUV.
BEYOND = torch.from_numpy(1.6 * photograph(47, 62).transpose(2, 0, 1)[None].astype(np.float32) / 255 - 0.3)
PICTURE = torch.from_numpy(photograph(47, 62).transpose(2, 0, 1)[None].astype(np.float32) / 255)


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_untrained_it_repeats_pixels(scale):
    with torch.no_grad():
        enlarged = create_generator("swift", scale=scale)(PICTURE)
    repeated = PICTURE.repeat_interleave(scale, 2).repeat_interleave(scale, 3)
    assert torch.equal(enlarged, repeated)


def test_what_is_beyond_its_range_is_repeated_and_changes_nothing_else():
    model, within = random_swift(), BEYOND.clamp(0, 1)
    with torch.no_grad():
        beyond = model(BEYOND) - model(within)
    assert (BEYOND - within).abs().max() > 0.2
    assert (beyond - (BEYOND - within).repeat_interleave(2, 2).repeat_interleave(2, 3)).abs().max() < 1e-6


@pytest.mark.parametrize("model", [model.name for model in bundled_models() if model.name.startswith("swift")])
@pytest.mark.parametrize("precision", ["fp32", pytest.param("bf16", marks=pytest.mark.needs_bf16), "int8"])
def test_legal_colours_that_no_rgb_has_stay_as_they_are(model, precision):
    variant, scale, profile = model.split()
    clip = vs.core.std.BlankClip(width=64, height=64, format=vs.YUV444P8, length=1, color=[100, 20, 20])
    clip = clip.std.SetFrameProps(_Matrix=1)
    enlarged = clip.paragon.Upscale(variant, int(scale[1:]), profile, backend="openvino", precision=precision)
    for plane, value in zip(arrays(enlarged.get_frame(0)), (100, 20, 20), strict=True):
        assert np.abs(plane.astype(int) - value).max() <= 2  # without the limit, up to 102


def test_a_pixel_looks_no_further_than_its_reach():
    model = random_swift()
    reach = model.options.reach
    picture = PICTURE.clone().requires_grad_()
    model(picture)[0, :, 40:42, 60:62].sum().backward()
    touched = picture.grad[0].abs().sum(0).nonzero()
    assert (touched.amin(0) == torch.tensor([20 - reach, 30 - reach])).all()
    assert (touched.amax(0) == torch.tensor([20 + reach, 30 + reach])).all()


@pytest.mark.parametrize(("variant", "design"), [("swift", "nano"), ("swift_plus", "micro")])
def test_costs_no_more_than_the_design_it_stands_beside(variant, design):
    assert macs_per_pixel(create_generator(variant)) <= macs_per_pixel(create_generator(design, use_attention=False))


@pytest.mark.parametrize("scale", [2, 3])
def test_inference_form_is_the_same_function_by_other_steps(scale):
    model = random_swift(scale=scale)
    form = inference_form(model)
    with torch.no_grad():
        assert (form(BEYOND) - model(BEYOND)).abs().max() < 1e-5
    kinds = [{node.op_type for node in onnx_model(m).graph.node} for m in (model, form)]
    assert [("Resize" in kind) for kind in kinds] == [True, False]


@pytest.mark.parametrize("fast", [False, True])
def test_exported_graph_gives_the_same_picture(fast):
    model = random_swift("swift_plus", scale=3)
    graph = onnx_model(inference_form(model) if fast else model).SerializeToString()
    (result,) = onnxruntime.InferenceSession(graph).run(None, {"input": BEYOND.numpy()})
    with torch.no_grad():
        assert np.abs(result - model(BEYOND).numpy()).max() < 1e-5


@pytest.mark.parametrize(("variant", "scale"), [("swift", 2), ("swift_plus", 4)])
def test_file_is_recognised_by_its_shapes(variant, scale, tmp_path):
    model = random_swift(variant, scale=scale)
    path = tmp_path / "weights.pth"
    torch.save(model.state_dict(), path)  # without metadata
    read = load_generator(path)
    assert read.options == model.options
    with torch.no_grad():
        assert torch.equal(read(PICTURE), model(PICTURE))


def test_incomplete_file_is_refused(tmp_path):
    weights = random_swift().state_dict()
    path = tmp_path / "weights.pth"
    torch.save({n: w for n, w in weights.items() if n != "body.3.weight"}, path)
    with pytest.raises(ModelError, match=r"not the swift generator .* body\.3\.weight"):
        load_generator(path)
    torch.save({n: w for n, w in weights.items() if n != "body.0.weight"}, path)
    with pytest.raises(ModelError, match=r"not a Swift generator: body\.0\.weight is missing"):
        load_generator(path)


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime", "torch"])
def test_filter_gives_the_networks_picture_in_tiles_too(backend, tmp_path):
    model = random_swift()
    path = tmp_path / "swift.safetensors"
    save_generator(model, path, variant="swift", note="not trained")
    picture = photograph(90, 150)
    whole = Upscaler(model=str(path), backend=backend)(picture.astype(np.float32) / 255)
    clip = clip_of([picture], vs.RGB24).resize.Point(format=vs.RGBS)
    tiled = vs.core.core.paragon.Upscale(clip, model=str(path), backend=backend, tilesize=64)
    assert np.abs(np.stack(arrays(tiled.get_frame(0)), -1) - whole).max() < 1e-5
    with torch.no_grad():
        network = model(torch.from_numpy(picture.transpose(2, 0, 1)[None].astype(np.float32) / 255))
    inside = slice(16, -16)
    assert np.abs(whole - network[0].permute(1, 2, 0).numpy())[inside, inside].max() < 1e-5


@pytest.mark.parametrize("repeats", [1.0, 0.9])
def test_openvino_leaves_repeated_pixels_to_the_copy_and_nothing_else(repeats, tmp_path):
    pytest.importorskip("openvino")
    from vsparagon.backends.openvino.library import import_openvino, openvino_core
    from vsparagon.backends.openvino.network_base import anchor_apart

    form = inference_form(random_swift())
    form.anchor.weight.mul_(repeats)
    openvino = import_openvino()
    network = openvino_core().read_model(onnx_model(form).SerializeToString())
    network = openvino.Model([network.outputs[0].get_node().input_value(0).get_node().input_value(0)],
                             network.get_parameters(), "phases")  # fmt: skip
    before = len(network.get_ordered_ops())
    assert anchor_apart(network, 2) == (repeats == 1)
    assert (len(network.get_ordered_ops()) < before) == (repeats == 1)


def test_bundled_files_do_not_depend_on_the_order_of_underscores(tmp_path: Path, monkeypatch):
    save_generator(
        random_swift("swift_plus"), tmp_path / "swift_plus_x2_clean.safetensors", variant="swift_plus", note=""
    )
    monkeypatch.setattr("vsparagon.models.bundled.WEIGHTS", tmp_path)
    assert describe() == ["swift_plus x2 clean"]
