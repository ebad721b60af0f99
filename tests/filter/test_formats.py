"""Any constant format in, the same format out, with the colours that the network gives for RGB made by zimg."""

import itertools

import numpy as np
import pytest
import vapoursynth as vs
from clips import arrays, clip_of, photograph

import vsparagon
from vsparagon import Upscaler
from vsparagon.colours.description import MATRICES

SUBSAMPLINGS = {"420": (1, 1), "422": (1, 0), "444": (0, 0), "411": (2, 0), "440": (0, 1), "410": (2, 2)}
SAMPLES = [*((vs.INTEGER, bits) for bits in range(8, 17)), (vs.FLOAT, 16), (vs.FLOAT, 32)]
FORMATS = [
    *((f"gray{bits}{'f' if kind == vs.FLOAT else ''}", vs.GRAY, kind, bits, (0, 0)) for kind, bits in SAMPLES),
    *((f"rgb{bits}{'f' if kind == vs.FLOAT else ''}", vs.RGB, kind, bits, (0, 0)) for kind, bits in SAMPLES),
    *(
        (f"yuv{name}p{bits}{'f' if kind == vs.FLOAT else ''}", vs.YUV, kind, bits, sub)
        for (name, sub), (kind, bits) in itertools.product(SUBSAMPLINGS.items(), SAMPLES)
    ),
]


def make_format(family: int, kind: int, bits: int, sub: tuple[int, int]) -> vs.VideoFormat:
    return vs.core.core.query_video_format(family, kind, bits, *sub)


def steps(video_format: vs.VideoFormat) -> float:
    """Return the size of one code value in the format's samples; for floats, that of a 12-bit or half one near 1."""
    if video_format.sample_type == vs.INTEGER:
        return 1.0
    return 1.0 / 4096 if video_format.bits_per_sample == 32 else 1.0 / 2048


@pytest.fixture(scope="module")
def upscaler() -> Upscaler:
    return Upscaler("nano")


@pytest.mark.parametrize(("family", "kind", "bits", "sub"), [f[1:] for f in FORMATS], ids=[f[0] for f in FORMATS])
def test_every_format_gives_the_network_of_its_rgb(family, kind, bits, sub, upscaler):
    wanted = make_format(family, kind, bits, sub)
    matrix = {} if family == vs.RGB else {"matrix": 1}
    clip = clip_of([photograph(40, 56)], wanted.id, **matrix)

    result = vsparagon.upscale(clip, "nano")

    assert result.format.id == wanted.id
    assert (result.width, result.height, len(result)) == (112, 80, 1)
    # The reference does each step separately: zimg to RGB, the network on the picture, zimg back.
    rgb = clip.resize.Spline36(format=vs.RGBS, **({} if family == vs.RGB else {"matrix_in": 1})).get_frame(0)
    enlarged = upscaler(np.stack([np.array(rgb[i]) for i in range(3)], axis=2))
    reference = rgb_clip(enlarged).resize.Spline36(format=wanted.id, **matrix)
    pairs = zip(arrays(result.get_frame(0)), arrays(reference.get_frame(0)), strict=True)
    for plane, (ours, theirs) in enumerate(pairs):
        if kind == vs.INTEGER and family != vs.RGB:  # ours is clipped to legal code values
            theirs = theirs.clip(16 << (bits - 8), (240 if plane else 235) << (bits - 8))
        assert np.abs(ours - theirs).max() <= steps(wanted)


@pytest.mark.parametrize("variant", ["nano", "tiny", "swift_plus"])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 9), (7, 2), (15, 14)])
def test_the_smallest_pictures_are_enlarged_as_if_mirrored_all_around(variant, height, width):
    picture, around = photograph(height, width), 24
    upscaler = Upscaler(variant)
    mirrored = upscaler(np.pad(picture, ((around, around), (around, around), (0, 0)), "symmetric"))
    inside = slice(2 * around, 2 * (around + height)), slice(2 * around, 2 * (around + width))
    assert np.abs(upscaler(picture).astype(int) - mirrored[inside]).max() <= 1


@pytest.mark.parametrize(
    ("name", "width", "height"), [("GRAY16", 1, 1), ("YUV420P8", 2, 2), ("YUV422P10", 6, 1), ("YUV410P8", 4, 8)]
)
def test_the_smallest_clips_are_enlarged(name, width, height):
    clip = clip_of([np.full((height, width, 3), (180, 90, 60), np.uint8)], getattr(vs, name), matrix=1)
    result = vsparagon.upscale(clip)
    assert (result.width, result.height, result.format.name) == (2 * width, 2 * height, clip.format.name)
    for ours, before in zip(arrays(result.get_frame(0)), arrays(clip.get_frame(0)), strict=True):
        assert np.abs(ours - before[0, 0]).max() <= 1.5 * 2 ** (clip.format.bits_per_sample - 8)


def rgb_clip(picture: np.ndarray) -> vs.VideoNode:
    blank = vs.core.core.std.BlankClip(None, picture.shape[1], picture.shape[0], vs.RGBS, 1)

    def fill(n, f):
        frame = f.copy()
        for plane in range(3):
            np.asarray(frame[plane])[:] = picture[..., plane]
        frame.props["_Matrix"] = 0
        return frame

    return blank.std.ModifyFrame([blank], fill)


@pytest.mark.parametrize(("family", "kind", "bits", "sub"), [f[1:] for f in FORMATS], ids=[f[0] for f in FORMATS])
def test_a_constant_colour_stays_that_colour(family, kind, bits, sub):
    wanted = make_format(family, kind, bits, sub)
    matrix = {} if family == vs.RGB else {"matrix": 1}
    clip = clip_of([np.full((24, 32, 3), (180, 90, 60), np.uint8)], wanted.id, **matrix)

    result = vsparagon.upscale(clip).get_frame(0)

    # A trained network is not exactly the identity on flat colour, so a part of an 8-bit step is allowed.
    tolerance = 0.75 / 255 if kind == vs.FLOAT else max(1.0, 0.75 * (1 << (bits - 8)))
    for ours, theirs in zip(arrays(result), arrays(clip.get_frame(0)), strict=True):
        assert np.abs(ours - theirs.flat[0]).max() <= tolerance


@pytest.mark.parametrize("size", [(16, 16), (17, 19), (33, 47), (101, 16), (45, 203)])
def test_any_size_from_16_gives_twice_the_size(size, upscaler):
    picture = photograph(*size)
    result = vsparagon.upscale(clip_of([picture])).get_frame(0)
    assert (result.height, result.width) == (2 * size[0], 2 * size[1])
    expected = upscaler(picture).astype(np.float64)
    for plane, ours in enumerate(arrays(result)):
        assert np.abs(ours - expected[..., plane]).max() <= 1


@pytest.mark.parametrize("bits", [8, 10])
def test_limited_range_output_stays_within_legal_codes(bits):
    stripes = np.zeros((48, 64, 3), np.uint8)
    stripes[:, ::4], stripes[:, 1::4] = 255, 255
    stripes[::5] = (255, 0, 0)
    clip = clip_of([stripes], make_format(vs.YUV, vs.INTEGER, bits, (0, 0)).id, matrix=1)
    luma, *chroma = arrays(vsparagon.upscale(clip).get_frame(0))
    unit = 1 << (bits - 8)
    assert (luma.min(), luma.max()) == (16 * unit, 235 * unit), "the edges must reach the limits and stop there"
    for plane in chroma:
        assert 16 * unit <= plane.min() < plane.max() <= 240 * unit


def test_chroma_reaches_its_own_limit():
    blue = clip_of([np.full((40, 56, 3), (0, 0, 255), np.uint8)], vs.YUV444P8, matrix=6)
    assert [plane.max() for plane in arrays(blue.get_frame(0))] == [41, 240, 110]
    assert arrays(vsparagon.upscale(blue).get_frame(0))[1].max() == 240


def test_rgb_of_limited_range_stays_within_it():
    clip = clip_of([np.kron(np.arange(20).reshape(4, 5, 1) % 2, np.full((8, 8, 3), 255)).astype(np.uint8)], range=0)
    for plane in arrays(vsparagon.upscale(clip).get_frame(0)):
        assert (plane.min(), plane.max()) == (16, 235)


def test_full_range_stays_full_range():
    clip = clip_of([photograph(40, 56)], vs.YUV420P8, matrix=1, range=1)
    result = vsparagon.upscale(clip).get_frame(0)
    assert result.props["_Range"] == 1
    mean = [plane.mean() for plane in arrays(clip.get_frame(0))]
    assert np.allclose([plane.mean() for plane in arrays(result)], mean, atol=0.5)


@pytest.mark.parametrize(
    ("given", "wanted", "value_range"),
    [({}, vs.YUV444P8, 0), ({"range": 1}, vs.GRAY8, 0), ({"range": 0}, vs.YUV444P8, 0), ({"range": 0}, vs.RGB24, 0)],
    ids=["to YUV", "to gray", "limited to YUV", "limited"],
)
def test_rgb_becomes_limited_range_elsewhere_and_keeps_its_own(given, wanted, value_range):
    clip = clip_of([photograph(40, 56)], vs.RGB24, **given)
    result = vsparagon.upscale(clip, format=wanted).get_frame(0)
    assert result.props["_Range"] == value_range
    matrix = {} if wanted == vs.RGB24 else {"matrix": 6}
    alike = clip.resize.Spline36(format=wanted, range=value_range, **matrix).get_frame(0)
    means = [[plane.mean() for plane in arrays(frame)] for frame in (result, alike)]
    assert np.allclose(*means, atol=0.5)


@pytest.mark.parametrize(
    ("matrix", "transfer"),
    [("2020cl", 14), ("chromancl", 1), ("chromacl", 1), ("ictcp", 16)],
)
def test_colours_stay_by_matrices_that_need_a_transfer_function_and_primaries(matrix, transfer):
    described = clip_of([photograph(40, 56)]).std.SetFrameProps(_Transfer=transfer, _Primaries=9)
    clip = described.resize.Spline36(format=vs.YUV444P16, matrix=MATRICES[matrix])
    result = vsparagon.upscale(clip, backend="openvino").get_frame(0)
    assert (result.props["_Matrix"], result.props["_Primaries"]) == (MATRICES[matrix], 9)
    before = arrays(clip.get_frame(0))
    for ours, theirs in zip(arrays(result), before, strict=True):
        assert abs(ours.mean() - theirs.mean()) < 0.5 * 256


def test_both_ranges_have_the_same_colours():
    limited = clip_of([photograph(40, 56)], vs.YUV420P8, matrix=1)
    full = clip_of([photograph(40, 56)], vs.YUV420P8, matrix=1, range=1)
    rgb = [arrays(vsparagon.upscale(clip, format=vs.RGB24).get_frame(0))[1] for clip in (limited, full)]
    assert np.abs(rgb[1] - rgb[0]).mean() < 1


def test_format_argument_converts_in_the_same_step():
    clip = clip_of([photograph(40, 56)], vs.YUV420P8, matrix=1)
    result = vsparagon.upscale(clip, format=vs.YUV444P16, width=100, height=64)
    assert (result.format.id, result.width, result.height) == (vs.YUV444P16, 100, 64)
    frame = result.get_frame(0)
    assert frame.props["_Matrix"] == 1
    assert "_ChromaLocation" not in frame.props
    codes = arrays(frame)[0]
    assert np.count_nonzero(codes % 256) > codes.size / 2, "16 bits must carry more than 8"


@pytest.mark.parametrize(
    ("width", "height", "matrix"), [(1278, 576, "170m"), (1280, 40, "709"), (56, 576, "170m"), (56, 578, "709")]
)
def test_matrix_that_is_assumed_is_that_of_the_size_that_comes_out(width, height, matrix):
    clip = clip_of([photograph(40, 56)])
    result = vsparagon.upscale(clip, format=vs.YUV420P8, width=width, height=height).get_frame(0)
    assert result.props["_Matrix"] == MATRICES[matrix]


def test_rgb_to_yuv_takes_the_matrix_players_assume_or_the_one_given():
    clip = clip_of([photograph(40, 56)])
    assumed = vsparagon.upscale(clip, format=vs.YUV444P8).get_frame(0)
    given = vsparagon.upscale(clip, format=vs.YUV444P8, matrix="ycgco").get_frame(0)
    assert (assumed.props["_Matrix"], given.props["_Matrix"]) == (6, 8)
    back = clip_of([photograph(40, 56)]).resize.Spline36(112, 80)
    for frame, code in ((assumed, 6), (given, 8)):
        again = back.std.BlankClip(format=vs.YUV444P8, keep=True)
        again = again.std.ModifyFrame([again], lambda n, f, frame=frame: frame)
        assert frame.props["_Matrix"] == code
        rgb = again.resize.Point(format=vs.RGB24)
        for ours, theirs in zip(arrays(rgb.get_frame(0)), arrays(back.get_frame(0)), strict=True):
            assert abs(ours.mean() - theirs.mean()) < 1
    assert np.abs(arrays(assumed)[1] - arrays(given)[1]).max() > 2


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"width": 90}, (90, 64)),
        ({"width": 96}, (96, 68)),  # 68.6, but it must be even for the chroma
        ({"height": 50}, (70, 50)),
        ({"height": 48}, (68, 48)),
        ({"height": 80}, (112, 80)),
    ],
    ids=str,
)
def test_one_side_alone_keeps_the_shape(given, expected):
    result = vsparagon.upscale(clip_of([photograph(40, 56)], vs.YUV420P8, matrix=1), **given)
    assert (result.width, result.height) == expected


def test_one_side_alone_leaves_something_of_the_other():
    thin = clip_of([photograph(64, 2)], vs.YUV420P8, matrix=1)
    flat = clip_of([photograph(2, 64)], vs.YUV420P8, matrix=1)
    results = vsparagon.upscale(thin, height=16), vsparagon.upscale(flat, width=16)
    assert [(result.width, result.height) for result in results] == [(2, 16), (16, 2)]


def test_luma_alone_is_that_of_the_clips_own_matrix():
    clip = clip_of([photograph(40, 56)], vs.YUV444P8, matrix=6)
    alone = arrays(vsparagon.upscale(clip, format=vs.GRAY8).get_frame(0))[0]
    assert np.abs(alone - arrays(vsparagon.upscale(clip).get_frame(0))[0]).max() == 0


def test_grey_becomes_yuv_without_a_tint():
    clip = clip_of([photograph(40, 56)], vs.GRAY8, matrix=1)
    grey, (luma, *chroma) = (
        arrays(vsparagon.upscale(clip, format=wanted).get_frame(0)) for wanted in (vs.GRAY8, vs.YUV444P8)
    )
    assert np.abs(grey[0] - luma).max() == 0
    assert all(np.abs(plane - 128).max() <= 4 for plane in chroma)
