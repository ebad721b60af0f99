"""The network with a frame's conversions around it gives the same as VapourSynth's resizer before and after it."""

import itertools
from importlib.util import find_spec

import numpy as np
import pytest
import vapoursynth as vs
from clips import arrays, assert_same_planes, clip_of, photograph

torch = pytest.importorskip("torch", reason="the frame's conversions are a torch module")

from torch import nn  # noqa: E402

from vsparagon.colours.conversion import target_colour, to_rgb, to_target  # noqa: E402
from vsparagon.colours.description import FULL, LEFT, LIMITED, MATRICES, Colour  # noqa: E402
from vsparagon.colours.formats import Target, layouts  # noqa: E402
from vsparagon.colours.layout import Layout  # noqa: E402
from vsparagon.geometry.extension import Sizes, extension_for  # noqa: E402
from vsparagon.geometry.tiling import exact_tiles  # noqa: E402
from vsparagon.lookup import find_model  # noqa: E402
from vsparagon.models.frame import FrameNetwork  # noqa: E402
from vsparagon.models.half import half_form  # noqa: E402
from vsparagon.models.inference import inference_form  # noqa: E402
from vsparagon.onnx.export import frame_onnx  # noqa: E402
from vsparagon.pipelines.frame import network_of  # noqa: E402

HEIGHT, WIDTH = 48, 64  # divisible by any subsampling
SUBSAMPLINGS = {"420": (1, 1), "422": (1, 0), "444": (0, 0), "411": (2, 0), "440": (0, 1), "410": (2, 2)}
SAMPLES = [*((vs.INTEGER, bits) for bits in range(8, 17)), (vs.FLOAT, 16), (vs.FLOAT, 32)]
CONSTANT = ("709", "fcc", "470bg", "170m", "240m", "ycgco", "2020ncl")


class Smooth(nn.Module):
    """A stand-in for a network: it adds no rounding of its own, and sees a few pixels around each pixel."""

    shift = 0

    def forward(self, x):
        return nn.functional.interpolate(x, scale_factor=2, mode="bicubic")


def described(video_format, *, matrix="709", value_range=LIMITED, location=LEFT):
    code = 0 if video_format.color_family == vs.RGB else MATRICES[matrix]
    subsampled = video_format.subsampling_w or video_format.subsampling_h
    return Colour(matrix=code, range=value_range, chroma_location=location if subsampled else LEFT, has_alpha=False)


def clip_in(video_format, colour, picture):
    arguments = {} if video_format.color_family == vs.RGB else {"matrix": colour.matrix}
    if video_format.subsampling_w or video_format.subsampling_h:
        arguments["chromaloc"] = colour.chroma_location
    return clip_of([picture], video_format.id, range=colour.range, **arguments)


def tensors(frame):
    """Return the planes of a frame as `FrameNetwork` takes them."""
    planes = [np.array(frame[i]) for i in range(frame.format.num_planes)]
    return [torch.from_numpy(p.view(np.uint8).reshape(*p.shape, 2) if p.dtype == np.uint16 else p) for p in planes]


def samples(tensor):
    """Return a plane of a result as float64."""
    array = np.ascontiguousarray(tensor)
    return (array.view("<u2")[..., 0] if array.ndim == 3 else array).astype(np.float64)


def frame_network(network, source, colour, target, wanted, *, tiles=None):
    extension = extension_for(HEIGHT, WIDTH)
    known = layouts(source, colour, target, wanted)
    assert known
    frame = FrameNetwork(network, 2, source=known[0], target=known[1], extension=extension, tiles=tiles)
    return frame.eval().requires_grad_(False)


def by_resizer(network, clip, colour, target, wanted):
    """Make the same frame with zimg: convert to RGB, extend, enlarge, crop, and convert back."""
    extension = extension_for(HEIGHT, WIDTH)
    rgb = to_rgb(clip, colour)

    def enlarge(n, f):
        extended = np.zeros((1, 3, extension.extended_height, extension.extended_width), np.float32)
        extension.picture(extended)[:] = [np.asarray(f[0][i]) for i in range(3)]
        extension.fill(extended)
        with torch.inference_mode():
            enlarged = extension.picture(network(torch.from_numpy(extended)).numpy(), 2, network.shift)
        result = f[1].copy()
        for i in range(3):
            np.asarray(result[i])[:] = enlarged[0, i]
        result.props.update(f[0].props)
        return result

    blank = rgb.std.BlankClip(width=2 * WIDTH, height=2 * HEIGHT)
    return arrays(to_target(blank.std.ModifyFrame([rgb, blank], enlarge), clip.format, target, wanted).get_frame(0))


def compare(source, colour, target=None, picture=None):
    picture = photograph(HEIGHT, WIDTH) if picture is None else picture
    wanted_format = target or source
    result = Target(format=wanted_format, width=2 * WIDTH, height=2 * HEIGHT)
    wanted = target_colour(colour, source, result, None)
    clip = clip_in(source, colour, picture)
    frame = frame_network(Smooth(), source, colour, wanted_format, wanted)
    with torch.inference_mode():
        ours = [samples(plane.numpy()) for plane in frame(tensors(clip.get_frame(0)))]
    assert_same_planes(ours, by_resizer(Smooth(), clip, colour, result, wanted), wanted_format)


def query(family, kind, bits, sub=(0, 0)):
    return vs.core.core.query_video_format(family, kind, bits, *sub)


@pytest.mark.parametrize("value_range", [LIMITED, FULL], ids=["limited", "full"])
@pytest.mark.parametrize(("kind", "bits"), SAMPLES, ids=[f"{'f' if k == vs.FLOAT else ''}{b}" for k, b in SAMPLES])
@pytest.mark.parametrize("sub", SUBSAMPLINGS.values(), ids=SUBSAMPLINGS)
def test_yuv_is_converted_as_by_the_resizer(sub, kind, bits, value_range):
    source = query(vs.YUV, kind, bits, sub)
    compare(source, described(source, value_range=value_range))


@pytest.mark.parametrize("location", range(6), ids=["left", "center", "top_left", "top", "bottom_left", "bottom"])
@pytest.mark.parametrize("sub", ["420", "422", "411", "440", "410"])
def test_chroma_lies_where_the_resizer_puts_it(sub, location):
    source = query(vs.YUV, vs.INTEGER, 16, SUBSAMPLINGS[sub])
    # 16-bit colour noise shows chroma locations that are wrong by a hundredth of a pixel.
    picture = np.random.default_rng(location).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    compare(source, described(source, location=location), picture=picture)


@pytest.mark.parametrize(("height", "width"), [(4, 4), (8, 12), (12, 16), (16, 8)])
@pytest.mark.parametrize("location", [0, 1, 4], ids=["left", "center", "bottom_left"])
@pytest.mark.parametrize("sub", SUBSAMPLINGS.values(), ids=SUBSAMPLINGS)
def test_planes_smaller_than_the_kernels_are_converted_as_by_the_resizer(sub, location, height, width, monkeypatch):
    monkeypatch.setattr(f"{__name__}.HEIGHT", height)
    monkeypatch.setattr(f"{__name__}.WIDTH", width)
    source = query(vs.YUV, vs.INTEGER, 16, sub)
    picture = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    compare(source, described(source, location=location), picture=picture)


def test_description_given_decides_rather_than_the_frames_properties():
    source = query(vs.YUV, vs.INTEGER, 8, (1, 1))
    colour = described(source, value_range=FULL, location=1)
    clip = clip_in(source, colour, photograph(HEIGHT, WIDTH))
    tagged, other = (
        arrays(to_rgb(c, colour).get_frame(0))
        for c in (clip, clip.std.SetFrameProps(_Range=LIMITED, _ChromaLocation=4, _Matrix=6))
    )
    assert all((a == b).all() for a, b in zip(tagged, other, strict=True))


@pytest.mark.parametrize("value_range", [LIMITED, FULL], ids=["limited", "full"])
@pytest.mark.parametrize("matrix", CONSTANT)
def test_every_constant_matrix(matrix, value_range):
    source, rgb = query(vs.YUV, vs.INTEGER, 16), query(vs.RGB, vs.INTEGER, 16)
    for target in (source, rgb):  # both ways, and one of them alone: together, they would hide a wrong matrix
        compare(source, described(source, matrix=matrix, value_range=value_range), target)


@pytest.mark.parametrize("value_range", [LIMITED, FULL], ids=["limited", "full"])
@pytest.mark.parametrize("bits", [8, 10, 16])
@pytest.mark.parametrize("family", [vs.GRAY, vs.RGB, vs.YUV], ids=["gray", "rgb", "yuv"])
def test_overshoot_is_clamped_to_the_legal_codes(family, bits, value_range):
    source = query(family, vs.INTEGER, bits)
    picture = np.random.default_rng(0).choice(np.array([0, 255], np.uint8), (HEIGHT, WIDTH, 3))
    compare(source, described(source, value_range=value_range), picture=picture)


@pytest.mark.parametrize("value_range", [LIMITED, FULL], ids=["limited", "full"])
@pytest.mark.parametrize(("kind", "bits"), SAMPLES, ids=[f"{'f' if k == vs.FLOAT else ''}{b}" for k, b in SAMPLES])
@pytest.mark.parametrize("family", [vs.GRAY, vs.RGB], ids=["gray", "rgb"])
def test_grey_and_rgb(family, kind, bits, value_range):
    source = query(family, kind, bits)
    compare(source, described(source, value_range=value_range))


@pytest.mark.parametrize(
    ("source", "target"),
    list(itertools.permutations((vs.YUV420P8, vs.YUV444P16, vs.RGB48, vs.GRAY10, vs.YUV422PS), 2)),
)
def test_another_format_comes_out(source, target):
    source, target = (vs.core.core.get_video_format(number) for number in (source, target))
    compare(source, described(source, value_range=FULL if source.color_family == vs.RGB else LIMITED), target)


@pytest.mark.parametrize("matrix", ["2020cl", "ictcp", "chromancl", "chromacl"])
def test_matrices_that_are_no_constants_are_left_to_the_resizer(matrix):
    source = query(vs.YUV, vs.INTEGER, 10, (1, 1))
    colour = described(source, matrix=matrix)
    assert layouts(source, colour, source, colour) is None


def test_layouts_are_equal_where_the_numbers_mean_the_same():
    floats = query(vs.YUV, vs.FLOAT, 32)
    a, b = (described(floats, value_range=r) for r in (LIMITED, FULL))
    assert layouts(floats, a, floats, a) == layouts(floats, b, floats, b)
    bytes_ = query(vs.YUV, vs.INTEGER, 8, (1, 1))
    a, b = (described(bytes_, value_range=r) for r in (LIMITED, FULL))
    assert layouts(bytes_, a, bytes_, a) != layouts(bytes_, b, bytes_, b)


@pytest.fixture(scope="module", params=["nano", "tiny", "swift"])
def generator(request):
    from vsparagon.models.checkpoint import load_generator
    from vsparagon.models.generators import create_generator

    if request.param == "nano":
        return load_generator("nano")
    torch.manual_seed(5)
    return create_generator(request.param)


@pytest.mark.parametrize("form", [inference_form, half_form])
@pytest.mark.parametrize("source", [vs.YUV420P8, vs.YUV422P10, vs.RGB48, vs.GRAY8, vs.YUV410P8, vs.RGBH, vs.YUV444PS])
def test_onnx_runtime_computes_the_same_from_the_exported_graph(generator, form, source):
    onnxruntime = pytest.importorskip("onnxruntime", reason="runs the exported graph")
    source = vs.core.core.get_video_format(source)
    colour = described(source, value_range=FULL if source.color_family == vs.RGB else LIMITED)
    frame = frame_network(form(generator), source, colour, source, colour)
    planes = tensors(clip_in(source, colour, photograph(HEIGHT, WIDTH)).get_frame(0))
    with torch.inference_mode():
        expected = frame(planes)

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        frame_onnx(frame).SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    results = session.run(None, {f"plane{i}": plane.numpy() for i, plane in enumerate(planes)})

    assert [output.name for output in session.get_outputs()] == [f"result{i}" for i in range(source.num_planes)]
    # Another runtime rounds half precision in other places, by up to a fifth of an 8-bit code value.
    rounding = 0.2 / 255 if form is half_form else 4e-6
    peak = 1.0
    if source.sample_type == vs.INTEGER:
        peak = (1 << source.bits_per_sample) - 1.0
    elif source.bits_per_sample == 16:
        rounding = 1e-3
    for ours, theirs in zip(results, expected, strict=True):
        assert ours.dtype == theirs.numpy().dtype
        allowed = rounding * peak + (source.sample_type == vs.INTEGER)
        assert np.abs(samples(ours) - samples(theirs.numpy())).max() <= allowed


@pytest.mark.skipif(find_spec("tensorrt_rtx") is None, reason="tensorrt_rtx builds engines without a GPU")
@pytest.mark.parametrize("source", [vs.YUV420P8, vs.YUV420P10, vs.RGB24, vs.GRAY16, vs.RGBH, vs.YUV444PS])
def test_tensorrt_builds_the_exported_graph(source):
    from vsparagon.engines.build import build_engine, load_library

    source = vs.core.core.get_video_format(source)
    colour = described(source)
    network = network_of(find_model(), "fp16")
    graph = frame_onnx(frame_network(network, source, colour, source, colour))
    engine = build_engine(load_library("tensorrt_rtx"), graph.SerializeToString(), name="a frame")
    assert len(engine) > 10_000


def test_the_exported_graph_is_the_same_every_time():
    source = vs.core.core.get_video_format(vs.YUV420P10)
    model = find_model()
    graphs = [
        frame_onnx(frame_network(network_of(model, "fp16"), source, described(source), source, described(source)))
        for _ in range(2)
    ]
    assert graphs[0].SerializeToString(deterministic=True) == graphs[1].SerializeToString(deterministic=True)


def test_tiles_give_the_picture_of_the_whole():
    source = vs.core.core.get_video_format(vs.YUV420P16)
    colour = described(source)
    model = find_model()
    assert model.reach is not None
    extension = extension_for(HEIGHT, WIDTH, model.sizes)
    tiles = tuple(
        exact_tiles(pixels, extended, reach=model.reach, count=2)
        for pixels, extended in ((HEIGHT, extension.extended_height), (WIDTH, extension.extended_width))
    )
    assert all(len(axis.parts) == 2 for axis in tiles)
    planes = tensors(clip_in(source, colour, photograph(HEIGHT, WIDTH)).get_frame(0))
    network = network_of(model, "fp32")
    with torch.inference_mode():
        whole, parts = (frame_network(network, source, colour, source, colour, tiles=t)(planes) for t in (None, tiles))
    for a, b in zip(whole, parts, strict=True):
        assert np.abs(samples(a.numpy()) - samples(b.numpy())).max() <= 1


@pytest.mark.parametrize("variant", ["nano", "swift", "tiny"])
def test_half_form_is_near_the_inference_form_and_nearer_than_half_throughout(variant):
    from vsparagon.models.generators import create_generator

    torch.manual_seed(3)
    generator = create_generator(variant)
    x = torch.from_numpy(photograph(80, 80).transpose(2, 0, 1)[None] / np.float32(255))
    exact, half = inference_form(generator), half_form(generator)
    assert half.shift == exact.shift
    inside = (..., slice(20, -20), slice(20, -20))
    with torch.inference_mode():
        reference = exact(x)[inside]
        ours = (half(x)[inside] - reference).abs()
        throughout = (exact.half()(x.half()).float()[inside] - reference).abs()
    assert ours.max() < 0.2 / 255
    assert ours.mean() < throughout.mean() / 2


@pytest.mark.parametrize("precision", ["fp16", "fp32"])
def test_network_is_in_the_precision_asked_for(precision):
    types = {weights.dtype for weights in network_of(find_model(), precision).state_dict().values()}
    assert (torch.float16 in types) == (precision == "fp16")


def test_a_network_of_free_size_needs_no_more_than_the_margin():
    layout = Layout(family="rgb", bits=32, is_float=True)
    extension = extension_for(17, 19, Sizes())
    frame = FrameNetwork(Smooth(), 2, source=layout, target=layout, extension=extension)
    planes = [torch.rand(17, 19) for _ in range(3)]
    assert [tuple(plane.shape) for plane in frame(planes)] == [(34, 38)] * 3
    assert frame.inputs() == [((17, 19), torch.float32)] * 3
