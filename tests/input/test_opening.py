"""An input opened for viewing: whether the file's sound fits the clip, and what is said if it does not."""

import pytest

pytest.importorskip("imageio_ffmpeg", reason="films are made with its ffmpeg")

from films import UNEVEN, ffmpeg, make_film

from vsparagon.input.job import Job
from vsparagon.input.opening import open_to_view


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    return make_film(tmp_path_factory.mktemp("film") / "film.mkv")


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


def test_variable_rate_is_told_without_sound_too(tmp_path):
    uneven = make_film(tmp_path / "uneven.mkv", video=UNEVEN)
    ffmpeg("-i", uneven, "-map", "0:v", "-c", "copy", tmp_path / "silent.mkv")
    for film, end in ((uneven, ", without audio and subtitles"), (tmp_path / "silent.mkv", "")):
        note = opened(film, tmp_path).note
        assert note.startswith("the frame rate is variable or unknown: playing at a constant 2")
        assert note.endswith(f" frames per second{end}")
