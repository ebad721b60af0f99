"""chroma="resizer": the network upscales luma as it upscales a gray clip, and VapourSynth's resizer the chroma."""

import numpy as np
import pytest
import vapoursynth as vs
from clips import arrays, clip_of, photograph

import vsparagon
from vsparagon import Upscaler
from vsparagon.backends.openvino.cpu import _OpenVINOSlot
from vsparagon.cli import main
from vsparagon.models.bundled import WEIGHTS

core = vs.core
PICTURE = photograph(48, 64)
FORMATS = [vs.YUV420P8, vs.YUV422P10, vs.YUV444P16, vs.YUV411P8, vs.YUV420PS, vs.YUV444PH]


def clip_in(format_id, **arguments):
    return clip_of([PICTURE], format_id, **({} if format_id in (vs.RGB24, vs.RGBS) else {"matrix": 1} | arguments))


def luma_of(clip):
    return clip.std.ShufflePlanes(0, vs.GRAY)


@pytest.fixture
def channels(monkeypatch):
    """The channels of the input of each run."""
    seen = []
    run = _OpenVINOSlot.run

    def counted(slot):
        seen.append(slot.input.shape[1])
        run(slot)

    monkeypatch.setattr(_OpenVINOSlot, "run", counted)
    return seen


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime", "torch"])
@pytest.mark.parametrize("format_id", FORMATS, ids=lambda format_id: core.get_video_format(format_id).name)
def test_luma_is_that_of_a_gray_clip_and_chroma_that_of_the_resizer(format_id, backend):
    clip = clip_in(format_id)
    result = core.paragon.Upscale(clip, variant="swift_lite", backend=backend, chroma="resizer").get_frame(0)
    gray = core.paragon.Upscale(luma_of(clip), variant="swift_lite", backend=backend).get_frame(0)
    resized = clip.resize.Spline36(128, 96)
    if clip.format.sample_type == vs.INTEGER:
        unit = 1 << clip.format.bits_per_sample - 8
        resized = resized.std.Limiter(16 * unit, [235 * unit, 240 * unit])
    assert result.format.id == format_id
    np.testing.assert_array_equal(arrays(result)[0], arrays(gray)[0])
    for plane, reference in zip(arrays(result)[1:], arrays(resized.get_frame(0))[1:], strict=True):
        np.testing.assert_array_equal(plane, reference)


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize(
    ("arguments", "folded", "tolerance"),
    [
        ({"variant": "swift_lite"}, True, 1e-5),
        ({"variant": "swift_plus", "profile": "compressed"}, True, 1e-5),
        ({"variant": "swift", "precision": "int8"}, True, 0.02),  # folded weights are rounded differently
        pytest.param({"variant": "swift", "precision": "bf16"}, True, 0.01, marks=pytest.mark.needs_bf16),
        ({"variant": "nano"}, False, 1e-5),
        ({"variant": "swift", "backend": "onnxruntime"}, False, 1e-5),
    ],
    ids=["swift_lite", "swift_plus", "int8", "bf16", "nano", "onnxruntime"],
)
def test_a_gray_clip_is_the_luma_of_the_gray_picture(arguments, folded, tolerance, scale, channels):
    gray = luma_of(clip_in(vs.YUV444PS))
    result = arrays(core.paragon.Upscale(gray, scale=scale, **arguments).get_frame(0))[0]
    assert channels == ([] if "backend" in arguments else [1 if folded else 3])
    colours = Upscaler(scale=scale, **arguments)(np.stack(arrays(gray.get_frame(0)) * 3, axis=2).astype(np.float32))
    np.testing.assert_allclose(result, colours @ np.float32([0.2126, 0.7152, 0.0722]), atol=tolerance)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_a_gray_picture_is_upscaled_as_a_gray_clip(dtype):
    peak = 1 if dtype == np.float32 else np.iinfo(dtype).max
    pictures = [(photograph(30, 40)[..., 1:2] / 255 * peak).astype(dtype), photograph(30, 40)[..., :1].astype(dtype)]
    upscaler = Upscaler("swift_lite")
    before = upscaler(pictures[0])
    for picture in pictures:
        large = upscaler(picture)
        assert (large.shape, large.dtype) == ((60, 80, 1), dtype)
        clip = gray_clip(picture[..., 0])
        expected = arrays(core.paragon.Upscale(clip, variant="swift_lite").get_frame(0))[0]
        np.testing.assert_allclose(large[..., 0], expected, atol=1e-5 if dtype == np.float32 else 0.5)
    rgb = np.repeat(pictures[0], 3, axis=2)
    assert upscaler(rgb).shape == (60, 80, 3)
    np.testing.assert_array_equal(upscaler(pictures[0]), before)


def gray_clip(samples):
    format_id = {np.uint8: vs.GRAY8, np.uint16: vs.GRAY16, np.float32: vs.GRAYS}[samples.dtype.type]
    blank = core.std.BlankClip(None, samples.shape[1], samples.shape[0], format_id, 1).std.SetFrameProps(_Range=1)

    def fill(n, f):
        frame = f.copy()
        np.asarray(frame[0])[:] = samples
        return frame

    return blank.std.ModifyFrame([blank], fill)


@pytest.mark.parametrize("tiles", [{}, {"tilesize": 64}])
def test_tiles_give_the_same_picture(tiles):
    clip = clip_of([photograph(150, 200)], vs.YUV420P16, matrix=1)
    for variant in ("swift", "nano"):
        result, whole = (
            arrays(core.paragon.Upscale(clip, variant=variant, chroma="resizer", **given).get_frame(0))[0]
            for given in (tiles, {"memory_mb": 2000})
        )
        assert np.abs(result - whole).max() <= 1


def test_attention_is_run_in_colours_for_the_luma_of_their_result(channels):
    clip = clip_in(vs.YUV420P8)
    model = str(WEIGHTS.parents[2] / "tests" / "golden" / "nano_x2.weights.safetensors")
    result, gray = (
        arrays(vsparagon.upscale(given, model=model, **arguments).get_frame(0))[0]
        for given, arguments in ((clip, {"chroma": "resizer"}), (luma_of(clip), {}))
    )
    assert set(channels) == {3}
    np.testing.assert_array_equal(result, gray)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_swift_that_was_exported_is_folded(precision, channels, tmp_path):
    pytest.importorskip("onnx", reason="networks are exported with it")
    exported = tmp_path / "swift.onnx"
    assert main(["export", "swift", str(exported), "--form", "extended", "--precision", precision]) == 0
    gray = luma_of(clip_in(vs.YUV420P16))
    ours, bundled = (
        arrays(core.paragon.Upscale(gray, **given).get_frame(0))[0]
        for given in ({"model": str(exported)}, {"variant": "swift"})
    )
    assert channels == [1, 1]
    assert np.abs(ours - bundled).max() <= (0 if precision == "fp32" else 200)


def test_a_swift_whose_layers_were_renamed_is_an_error(tmp_path):
    onnx = pytest.importorskip("onnx", reason="networks are exported with it")
    renamed = onnx.load(WEIGHTS / "swift_x2_clean.onnx")
    (bias,) = (weight for weight in renamed.graph.initializer if weight.name == "up_conv.bias")
    (last,) = (node for node in renamed.graph.node if bias.name in node.input)
    bias.name = last.input[2] = "other"
    onnx.save(renamed, tmp_path / "renamed.onnx")
    with pytest.raises(vsparagon.ModelError, match="layers of this network were renamed; export it again"):
        vsparagon.upscale(clip_in(vs.YUV420P8), model=str(tmp_path / "renamed.onnx"), chroma="resizer")


@pytest.mark.parametrize("target", [vs.RGB24, vs.YUV444P10, vs.GRAY8])
def test_another_format_and_size_are_those_of_the_whole_enlarged_clip(target):
    clip = clip_in(vs.YUV420P16)
    enlarged = core.paragon.Upscale(clip, variant="swift", chroma="resizer")
    result = core.paragon.Upscale(clip, variant="swift", chroma="resizer", format=target, width=96, height=72)
    expected = enlarged.resize.Spline36(96, 72, target, **({"matrix_in": 1} if target == vs.RGB24 else {}))
    assert (result.width, result.height, result.format.id) == (96, 72, target)
    steps = (1, 2, 2) if result.format.bits_per_sample == 8 else (4, 8, 8)  # chroma: resized once, there twice
    for ours, reference, most in zip(arrays(result.get_frame(0)), arrays(expected.get_frame(0)), steps, strict=False):
        assert np.abs(ours - reference).max() <= most


def test_frame_properties_are_those_of_the_other_way():
    clip = clip_in(vs.YUV420P8, chromaloc=2).std.SetFrameProps(_SARNum=4, _SARDen=3, Scene="a", _Matrix=9, _Transfer=16)
    for format_id in (vs.YUV420P8, vs.YUV444P8, vs.RGB24, vs.GRAY8):
        ours, usual = (
            dict(core.paragon.Upscale(clip, variant="swift", chroma=chroma, format=format_id).get_frame(0).props)
            for chroma in ("resizer", "network")
        )
        assert ours == usual, format_id


def test_what_has_no_chroma():
    with pytest.raises(vsparagon.InvalidInput, match='chroma is "resizer", but the clip is RGB24, without chroma; '):
        vsparagon.upscale(clip_in(vs.RGB24), chroma="resizer")
    gray = clip_in(vs.GRAY8)
    ours, usual = (arrays(vsparagon.upscale(gray, chroma=chroma).get_frame(0))[0] for chroma in ("resizer", ""))
    np.testing.assert_array_equal(ours, usual)
