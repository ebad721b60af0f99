"""The levels of `vsparagon preview`: first as requested, then cheaper and cheaper ones."""

import itertools

import numpy as np
import pytest
import vapoursynth as vs
from clips import arrays, counted

from vsparagon.errors import InvalidInput
from vsparagon.input.job import Job, Network
from vsparagon.input.source import Source
from vsparagon.models.bundled import WEIGHTS
from vsparagon.preview.levels import levels_for, with_text
from vsparagon.preview.viewer import outputs

SWIFT = str(WEIGHTS / "swift_x2_clean.safetensors")


def source_of(clip, upscaled=False):
    return Source(clip=clip, upscaled=upscaled)


@pytest.mark.parametrize(
    ("network", "names"),
    [
        (Network(variant="nano"), ["nano", "swift int8", "swift int8, luma only", "swift_lite int8, luma only"]),
        (Network(variant="nano", chroma="resizer"), ["nano", "swift int8", "swift_lite int8"]),
        (Network(variant="nano", precision="fp32"), ["nano", "swift_lite", "swift_lite, luma only"]),
        (Network(variant="nano", backend="torch"), ["nano", "swift_lite"]),
        pytest.param(
            Network(variant="nano", precision="bf16"),
            ["nano", "swift", "swift, luma only", "swift_lite, luma only"],
            marks=pytest.mark.needs_bf16,
        ),
        (
            Network(variant="swift_plus", precision="int8"),
            ["swift_plus", "swift_plus, luma only", "swift, luma only", "swift_lite, luma only"],
        ),
        (Network(variant="micro", precision="fp32"), ["micro", "swift", "swift, luma only", "swift_lite, luma only"]),
        (
            Network(variant="tiny", scale=4),
            ["tiny", "swift int8", "swift int8, luma only", "swift_lite int8, luma only"],
        ),
        (
            Network(variant="swift"),
            ["swift", "swift int8", "swift int8, luma only", "swift_lite int8, luma only"],
        ),
        (
            Network(variant="swift_lite", scale=3),
            ["swift_lite", "swift_lite int8", "swift_lite int8, luma only"],
        ),
        (
            Network(variant="swift_plus", profile="compressed"),
            [
                "swift_plus",
                "swift_plus int8",
                "swift_plus int8, luma only",
                "swift int8, luma only",
                "swift_lite int8, luma only",
            ],
        ),
        (Network(model=SWIFT), ["swift_x2_clean", "swift_x2_clean, luma only"]),
    ],
)
def test_a_network_gives_way_to_ever_faster_ones(tmp_path, network, names):
    levels = levels_for(source_of(counted()), Job(input=tmp_path / "x.mkv", network=network), ab=False)
    assert [level.name for level in levels] == [*names, f"{names[-1]} from 48x36", f"{names[-1]} from 32x24"]


def test_ways_are_of_one_size_and_ever_cheaper(tmp_path):
    source = source_of(counted())
    job = Job(input=tmp_path / "x.mkv", network=Network(variant="micro"))
    levels = levels_for(source, job, ab=False)
    assert [level.name for level in levels] == [
        "micro",
        "swift int8",
        "swift int8, luma only",
        "swift_lite int8, luma only",
        *(f"swift_lite int8, luma only from {size}" for size in ("48x36", "32x24")),
    ]
    clips = [level.open() for level in levels]
    assert {(clip.width, clip.height, clip.num_frames, clip.format.id) for clip in clips} == {
        (128, 96, 20, vs.YUV420P8)
    }
    pictures = [arrays(clip.get_frame(3))[0] for clip in clips]
    assert all(np.abs(a - b).mean() > 0.5 for a, b in itertools.pairwise(pictures))


def test_script_that_upscales_by_itself_has_one_way(tmp_path):
    levels = levels_for(source_of(counted(), upscaled=True), Job(input=tmp_path / "own.vpy"), ab=False)
    assert [level.name for level in levels] == ["own.vpy"]


def test_halves_are_bicubic_and_ours_with_a_line_between(tmp_path):
    clip = counted(width=256, height=128)
    job = Job(input=tmp_path / "x.mkv")
    both = arrays(levels_for(source_of(clip), job, ab=True)[0].open().get_frame(2))[0][40:]
    ours = arrays(levels_for(source_of(clip), job, ab=False)[0].open().get_frame(2))[0][40:]
    plain = arrays(clip.resize.Bicubic(512, 256).get_frame(2))[0][40:]
    assert both.shape == ours.shape == (216, 512)
    np.testing.assert_allclose(both[:, :256], plain[:, :256], atol=1)  # dithered
    assert (both[:, 256:258] == 235).all()
    np.testing.assert_array_equal(both[:, 258:], ours[:, 258:])


def test_halves_keep_what_the_result_says_of_itself(tmp_path):
    clip = counted(width=66, _SARNum=1, _SARDen=1)
    job = Job(input=tmp_path / "x.mkv", network=Network(width=198, height=96))
    both, ours = (levels_for(source_of(clip), job, ab=ab)[0].open() for ab in (True, False))
    assert (both.width, both.height) == (ours.width, ours.height) == (198, 96)  # half of the width is odd
    with both.get_frame(0) as shown, ours.get_frame(0) as alone:
        assert dict(shown.props) == dict(alone.props)
        assert (shown.props["_SARNum"], shown.props["_SARDen"]) == (2, 3)


def yuv444(width, height):
    return vs.core.std.BlankClip(None, width, height, vs.YUV444P8, 2, color=[50, 128, 128])


@pytest.mark.parametrize(
    ("width", "height", "fits"),
    [(40, 48, True), (39, 48, False), (40, 47, False), (48, 720, True), (47, 720, False)],
)
def test_text_is_left_out_where_it_does_not_fit(width, height, fits):
    with with_text(yuv444(width, height), "nano", 7).get_frame(0) as frame:
        assert (np.asarray(frame[0]).max() > 50) == fits


def test_halves_of_a_tiny_clip_have_no_text(tmp_path):
    job = Job(input=tmp_path / "x.mkv")
    luma = arrays(levels_for(source_of(yuv444(3, 1)), job, ab=True)[0].open().get_frame(0))[0]
    np.testing.assert_allclose(luma, [[50, 50, 235, 235, 50, 50]] * 2, atol=1)
    with pytest.raises(InvalidInput, match="--ab needs a result that is at least 6 pixels wide; this one has 4"):
        levels_for(source_of(yuv444(2, 2)), job, ab=True)[0].open()


def test_smaller_sources_have_whole_chroma(tmp_path):
    clip = counted(width=60, height=44)
    levels = levels_for(source_of(clip), Job(input=tmp_path / "x.mkv"), ab=False)
    assert [level.name for level in levels][-2:] == [
        "swift_lite int8, luma only from 44x32",
        "swift_lite int8, luma only from 30x22",
    ]
    assert [(level.open().width, level.open().height) for level in levels] == [(120, 88)] * 6


@pytest.mark.parametrize(
    ("format_id", "shown", "line"),
    [
        (vs.RGB24, vs.RGB24, (235, 235, 235)),
        (vs.RGBS, vs.RGB48, (60160, 60160, 60160)),
        (vs.GRAY8, vs.YUV444P8, (235, 128, 128)),
        (vs.YUV420P12, vs.YUV420P12, (3760, 2048, 2048)),
    ],
)
def test_halves_of_any_format_are_divided_by_a_white_line(tmp_path, format_id, shown, line):
    clip = vs.core.std.BlankClip(None, 64, 48, format_id, 2)
    levels = levels_for(source_of(clip), Job(input=tmp_path / "x.mkv"), ab=True)
    for level in (levels[0], levels[-1]):
        made = level.open()
        assert made.format.id == shown
        with made.get_frame(0) as frame:
            column = 64 >> made.format.subsampling_w
            found = [np.asarray(frame[0])[50, 64], *(np.asarray(frame[plane])[25, column] for plane in (1, 2))]
        assert tuple(found) == line


def test_viewer_gets_rgb_with_no_matrix_of_yuv(tmp_path):
    script = tmp_path / "own.vpy"
    script.write_text(
        "import vapoursynth as vs\n"
        "clip = vs.core.paragon.Upscale(vs.core.std.BlankClip(None, 64, 48, vs.RGB24, 2))\n"
        'clip.std.RemoveFrameProps("_Matrix").std.RemoveFrameProps("_Primaries").set_output()\n'
    )
    [(_name, clip)] = outputs(Job(input=script), ab=False)
    with clip.get_frame(0) as frame:
        assert frame.props.get("_Matrix", 0) == 0
        assert frame.props["_Primaries"] != 2
