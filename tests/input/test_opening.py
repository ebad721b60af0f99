"""An input opened for viewing: when its frames are shown, and whether the file's sound fits them."""

import pytest

pytest.importorskip("imageio_ffmpeg", reason="films are made with its ffmpeg")

from films import UNEVEN, ffmpeg, make_film, stamps

from vsparagon.input.job import Job
from vsparagon.input.opening import open_to_view


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    return make_film(tmp_path_factory.mktemp("film") / "film.mkv")


@pytest.fixture(scope="module")
def uneven(tmp_path_factory):
    return make_film(tmp_path_factory.mktemp("film") / "uneven.mkv", video=UNEVEN)


def opened(film, tmp_path, script=""):
    if script:
        (tmp_path / "filter.vpy").write_text(f"import vapoursynth as vs\n{script}.set_output()\n")
    job = Job(input=film, filter_script=tmp_path / "filter.vpy" if script else None, cache=str(tmp_path / "cache"))
    return open_to_view(job)


@pytest.mark.parametrize(
    ("script", "ahead"),
    [
        ("clip.std.BoxBlur()", 0),
        ("clip[15:]", 0.5),
        ("clip.std.SetFieldBased(2).resize.Bob().std.SetFieldBased(0)", 0),
        ("clip.std.SelectEvery(5, [0, 1, 3, 4])", 0),
        ("clip[10:].std.SelectEvery(2, 1)", 11 / 30),
    ],
)
def test_sound_is_played_with_a_filter_script_that_keeps_time(script, ahead, film, tmp_path):
    found = opened(film, tmp_path, script)
    assert (found.beside, found.note) == ({"audio", "subtitle"}, "")
    assert found.ahead == pytest.approx(ahead, abs=0.01)


@pytest.mark.parametrize(
    "script",
    ["clip.std.AssumeFPS(fpsnum=50)", "(clip + clip)", "vs.core.std.Interleave([clip, clip]).std.AssumeFPS(fpsnum=30)"],
)
def test_sound_is_left_out_and_said_so_if_a_filter_script_changes_the_timing(script, film, tmp_path):
    found = opened(film, tmp_path, script)
    rate = 50 if "50" in script else 30
    assert not found.beside
    assert found.note == (
        f"the filter script changes the timing: playing at a constant {rate} frames per second, "
        "without audio and subtitles"
    )


def test_steady_frames_are_shown_at_the_clips_rate(film, tmp_path):
    times = opened(film, tmp_path, "clip.std.SelectEvery(5, [0, 1, 3, 4])").times
    assert (len(times), times[:4]) == (48, [0, 41_666, 83_333, 125_000])


@pytest.mark.parametrize(
    ("script", "part"),
    [
        ("", slice(None)),
        ("clip.std.BoxBlur()", slice(None)),
        ("clip.std.RemoveFrameProps()", slice(None)),
        ("clip[9:30]", slice(9, 30)),
        ("clip.std.Crop(top=4)[:20]", slice(20)),
    ],
)
def test_frames_of_variable_rate_keep_the_files_times_and_its_sound(script, part, uneven, tmp_path):
    found = opened(uneven, tmp_path, script)
    expected = stamps(uneven, "video")[part]
    assert (found.beside, found.note) == ({"audio", "subtitle"}, "")
    assert found.ahead == pytest.approx(expected[0], abs=1e-6)
    assert found.times == pytest.approx([(time - expected[0]) * 1e6 for time in expected], abs=1)


@pytest.mark.parametrize(
    "script", ["clip.std.AssumeFPS(fpsnum=50)", "clip.std.SelectEvery(2, 0)", "(clip[:9] + clip[20:])"]
)
def test_changed_timing_of_variable_rate_is_told(script, uneven, tmp_path):
    found = opened(uneven, tmp_path, script)
    assert not found.beside
    assert found.note.startswith("the filter script changes the timing: playing at a constant ")
    assert len(found.times) == found.source.clip.num_frames


def test_film_with_a_long_gap_lasts_until_its_last_frame(tmp_path):
    film = make_film(tmp_path / "film.mkv", video="select='lt(n,5)+gt(n,57)'")
    assert opened(film, tmp_path).lasts == pytest.approx(2, abs=0.01)


def test_file_without_timestamps_is_told_and_plays_at_its_nominal_rate(film, tmp_path):
    ffmpeg("-i", film, "-map", "0:v", "-c", "copy", tmp_path / "raw.h264")
    found = opened(tmp_path / "raw.h264", tmp_path)
    assert found.note.startswith("the file has no usable timestamps: playing at a constant ")
    assert found.note.endswith(" frames per second")
    assert len(found.times) == 60
