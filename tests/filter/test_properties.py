"""Frame properties: all survive, with correct values, read frame by frame."""

import pytest
import vapoursynth as vs
from clips import arrays, clip_of, photograph

import vsparagon
from vsparagon.colours.description import MATRICES, matrix_code

HDR = {
    "MasteringDisplayMaxLuminance": 1000.0,
    "MasteringDisplayMinLuminance": 0.005,
    "MasteringDisplayPrimariesX": [0.68, 0.265, 0.15],
    "ContentLightLevelMax": 900,
    "ContentLightLevelAverage": 300,
}


@pytest.fixture
def clip() -> vs.VideoNode:
    return clip_of([photograph(40, 56)] * 3, vs.YUV420P8, matrix=1)


def tagged(clip: vs.VideoNode, **props: object) -> vs.VideoNode:
    return clip.std.SetFrameProps(**props)


def test_all_properties_survive(clip):
    given = HDR | {
        "_SARNum": 8, "_SARDen": 9, "_Primaries": 9, "_Transfer": 16, "_Matrix": 9, "_ChromaLocation": 2,
        "_PictType": "B", "somebody_elses": [1, 2, 3],
        "_DurationNum": 1001, "_DurationDen": 24000, "_AbsoluteTime": 1.5,
    }  # fmt: skip
    source = tagged(clip, **given)
    result = dict(vsparagon.upscale(source).get_frame(1).props)
    assert result == dict(source.get_frame(1).props) | {"_Range": 0}


@pytest.mark.parametrize(
    ("size", "matrix"), [((48, 64), 6), ((32, 1279), 6), ((32, 1280), 1), ((576, 16), 6), ((577, 16), 1)]
)
def test_untagged_matrix_is_what_players_assume_and_is_written_down(size, matrix):
    source = tagged(clip_of([photograph(32, 32)], vs.YUV444P8, matrix=1).resize.Point(size[1], size[0]), _Matrix=2)
    result = vsparagon.upscale(source)
    assert result.get_frame(0).props["_Matrix"] == matrix
    same = vsparagon.upscale(tagged(source, _Matrix=matrix))
    for guessed, told in zip(arrays(result.get_frame(0)), arrays(same.get_frame(0)), strict=True):
        assert (guessed == told).all()


@pytest.mark.parametrize("name", sorted(MATRICES.keys() - {"2020cl"}))  # which needs another transfer function
def test_matrices_have_the_names_of_the_resizer(name):
    others = {"transfer_in_s": "st2084", "transfer_s": "st2084", "primaries_in_s": "2020", "primaries_s": "2020"}
    format_id = vs.RGBS if name == "rgb" else vs.YUV444PS
    frame = vs.core.core.std.BlankClip(format=vs.RGBS).resize.Point(format=format_id, matrix_s=name, **others)
    assert frame.get_frame(0).props["_Matrix"] == matrix_code(name)


@pytest.mark.parametrize("matrix", [0, 8, 10, 14])
def test_grey_is_the_same_by_every_matrix(matrix):
    source = clip_of([photograph(40, 56)], vs.GRAY8, matrix=1)
    plain, other = (vsparagon.upscale(tagged(source, _Matrix=code)).get_frame(0) for code in (1, matrix))
    assert (arrays(plain)[0] == arrays(other)[0]).all()
    assert other.props["_Matrix"] == (matrix or 6)


def test_matrix_argument_overrides_the_frames(clip):
    result = vsparagon.upscale(clip, format=vs.RGB24, matrix="170m").get_frame(0)
    retagged = vsparagon.upscale(tagged(clip, _Matrix=6), format=vs.RGB24).get_frame(0)
    plain = vsparagon.upscale(clip, format=vs.RGB24).get_frame(0)
    assert all((a == b).all() for a, b in zip(arrays(result), arrays(retagged), strict=True))
    assert any((a != b).any() for a, b in zip(arrays(result), arrays(plain), strict=True))
    assert vsparagon.upscale(clip, matrix="170m").get_frame(0).props["_Matrix"] == 6


def test_matrix_and_range_that_change_in_the_middle_are_honoured(clip):
    parts = [tagged(clip[0], _Matrix=1), tagged(clip[0], _Matrix=6), tagged(clip[0], _Matrix=1, _Range=1)]
    joined = vs.core.core.std.Splice(parts)
    result = vsparagon.upscale(joined, format=vs.RGB24)
    for n, part in enumerate(parts):
        alone = vsparagon.upscale(part, format=vs.RGB24).get_frame(0)
        assert all((a == b).all() for a, b in zip(arrays(result.get_frame(n)), arrays(alone), strict=True))
    kept = vsparagon.upscale(joined)
    assert [(f.props["_Matrix"], f.props["_Range"]) for f in kept.frames()] == [(1, 0), (6, 0), (1, 1)]


def test_field_that_appears_in_the_middle_is_an_error_at_that_frame(clip):
    joined = vs.core.core.std.Splice([clip[0], tagged(clip[0], _FieldBased=2), clip[0]])
    result = vsparagon.upscale(joined)
    result.get_frame(0)
    result.get_frame(2)
    with pytest.raises(vs.Error, match=r"^paragon.Upscale: frame 1: the frame is interlaced \(_FieldBased is not 0\)"):
        result.get_frame(1)


@pytest.mark.parametrize("props", [{"_Field": 0}, {"_Field": 1}, {"_Transfer": 3}, {"_Primaries": 99}], ids=str)
@pytest.mark.parametrize("format_id", [vs.YUV420P8, vs.RGB24], ids=["YUV", "RGB"])
def test_properties_that_mislead_the_resizer_are_kept_and_change_nothing(format_id, props):
    clip = clip_of([photograph(40, 56)], format_id, **({"matrix": 1} if format_id == vs.YUV420P8 else {}))
    sources = clip, tagged(clip, **props)
    plain, marked = (vsparagon.upscale(source, format=vs.YUV422P16).get_frame(0) for source in sources)
    assert all((a == b).all() for a, b in zip(arrays(plain), arrays(marked), strict=True))
    assert dict(marked.props) == dict(plain.props) | props


@pytest.mark.parametrize("props", [{"_Matrix": 1}, {"_Matrix": 6, "_Transfer": 3}], ids=str)
def test_a_matrix_that_rgb_brings_from_elsewhere_changes_nothing(props):
    clip = clip_of([photograph(40, 56)], vs.RGB24)
    plain, marked = (vsparagon.upscale(source).get_frame(0) for source in (clip, tagged(clip, **props)))
    assert all((a == b).all() for a, b in zip(arrays(plain), arrays(marked), strict=True))
    assert marked.props["_Matrix"] == 0


def test_a_matrix_that_lacks_something_is_told_at_its_frame(clip):
    joined = vs.core.core.std.Splice([clip[0], tagged(clip[0], _Matrix=10)])
    result = vsparagon.upscale(joined)
    result.get_frame(0)
    with pytest.raises(vs.Error, match=r"^paragon.Upscale: frame 1: .*2020cl needs matching transfer and primaries"):
        result.get_frame(1)
    complete = tagged(clip[0], _Matrix=10, _Transfer=1, _Primaries=9)
    result = vsparagon.upscale(vs.core.core.std.Splice([complete, tagged(complete, _Transfer=2)]))
    result.get_frame(0)
    with pytest.raises(vs.Error, match=r"^paragon.Upscale: frame 1: .*2020cl needs matching transfer and primaries"):
        result.get_frame(1)


def test_a_range_that_nobody_knows_is_limited(clip):
    known, unknown = (vsparagon.upscale(tagged(clip, _Range=value)).get_frame(0) for value in (0, 2))
    assert all((a == b).all() for a, b in zip(arrays(known), arrays(unknown), strict=True))
    assert unknown.props["_Range"] == 0


@pytest.mark.parametrize("location", range(6))
def test_chroma_location_is_kept_and_used(location):
    base = clip_of([photograph(120, 160)])
    result = vsparagon.upscale(base.resize.Bicubic(format=vs.YUV420P8, matrix=1, chromaloc=location))
    frame = result.get_frame(0)
    assert frame.props["_ChromaLocation"] == location
    large = base.resize.Bicubic(320, 240)
    references = [large.resize.Bicubic(format=vs.YUV420P8, matrix=1, chromaloc=n).get_frame(0) for n in range(6)]

    def distance(other: vs.VideoFrame) -> float:
        return sum(float(((a - b) ** 2).mean()) for a, b in zip(arrays(frame)[1:], arrays(other)[1:], strict=True))

    distances = [distance(reference) for reference in references]
    assert distances.index(min(distances)) == location


def test_sample_aspect_ratio_follows_a_change_of_shape(clip):
    source = tagged(clip, _SARNum=8, _SARDen=9)
    same = vsparagon.upscale(source, width=56, height=40).get_frame(0).props
    assert (same["_SARNum"], same["_SARDen"]) == (8, 9)
    wide = vsparagon.upscale(source, width=112, height=40).get_frame(0).props
    assert (wide["_SARNum"], wide["_SARDen"]) == (4, 9)
    absurd = tagged(clip, _SARNum=1, _SARDen=2**62 + 1)
    kept = vsparagon.upscale(absurd, width=112, height=40).get_frame(0).props
    assert kept["_SARDen"] == 2**62 + 1, "a ratio that properties cannot hold must be left as it was"
    assert "_SARNum" not in vsparagon.upscale(clip, width=112, height=40).get_frame(0).props
    for number, other in ((0, 0), (0, 9), (8, 0), (8, 1.5), (1.5, 9)):
        unknown = vsparagon.upscale(tagged(clip, _SARNum=number, _SARDen=other), width=112, height=40).get_frame(0)
        assert (unknown.props["_SARNum"], unknown.props["_SARDen"]) == (number, other)


@pytest.mark.parametrize("size", [(112, 80), (100, 64)], ids=["twice", "of one's own"])
def test_alpha_is_enlarged_with_the_clip(clip, size):
    core = vs.core.core
    alpha = clip.std.ShufflePlanes(0, vs.GRAY)
    result = vsparagon.upscale(core.std.ClipToProp(clip, alpha, "_Alpha"), width=size[0], height=size[1])
    enlarged = core.std.PropToClip(result, "_Alpha").get_frame(1)
    assert (enlarged.width, enlarged.height, enlarged.format.id) == (*size, vs.GRAY8)
    reference = arrays(alpha.resize.Spline36(*size).get_frame(1))[0]
    assert abs(arrays(enlarged)[0] - reference).max() == 0
    for props in ({"_Field": 1}, {"_FieldBased": 1}):
        source = core.std.ClipToProp(clip, tagged(alpha, **props), "_Alpha")
        result = vsparagon.upscale(source, width=size[0], height=size[1])
        enlarged = core.std.PropToClip(result, "_Alpha").get_frame(1)
        assert abs(arrays(enlarged)[0] - reference).max() == 0, props


def test_alpha_that_appears_in_the_middle_is_an_error_at_that_frame(clip):
    core = vs.core.core
    with_alpha = core.std.ClipToProp(clip[0], clip[0].std.ShufflePlanes(0, vs.GRAY), "_Alpha")
    result = vsparagon.upscale(core.std.Splice([clip[0], with_alpha, clip[0]]))
    result.get_frame(0)
    result.get_frame(2)
    with pytest.raises(
        vs.Error, match=r"^paragon.Upscale: frame 1: the frame has alpha \(_Alpha\) but the clip's first"
    ):
        result.get_frame(1)
    vanishing = vsparagon.upscale(core.std.Splice([with_alpha, clip[0]]))
    assert ["_Alpha" in frame.props for frame in vanishing.frames()] == [True, False]


def test_rate_and_length_are_kept(clip):
    for source in (clip.std.AssumeFPS(fpsnum=30000, fpsden=1001), clip[:1]):
        result = vsparagon.upscale(source)
        assert (len(result), result.fps) == (len(source), source.fps)
