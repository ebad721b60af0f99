"""scripts/demo.py from end to end."""

import itertools
import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import vapoursynth as vs
from demonstration.film import SCENES, make_clip
from demonstration.sheet import CAPTION, MARGIN, ZOOM, take_picture
from films import read
from PIL import Image
from places import SCRIPTS

from vsparagon.compare.sheet import find_detail
from vsparagon.ffmpeg import colour_arguments, find_ffmpeg

SCRIPT = SCRIPTS / "demo.py"
WIDTH, HEIGHT, FRAMES = 96, 64, 30
core: Any = vs.core


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """A moving test pattern with audio, in SMPTE 170M, with a pixel aspect ratio of 8:9."""
    path = tmp_path_factory.mktemp("clip") / "a clip, with sound.mkv"
    labels = colour_arguments({"_Matrix": 6, "_Primaries": 6, "_Transfer": 6, "_Range": 0})
    command = [find_ffmpeg(), "-loglevel", "error"]
    command += ["-f", "lavfi", "-i", f"testsrc2=s={WIDTH}x{HEIGHT}:r=30:d=1"]
    command += ["-f", "lavfi", "-i", "sine=d=1", "-c:a", "flac", "-c:v", "libx264", "-pix_fmt", "yuv420p"]
    filters = "setparams=colorspace=smpte170m:color_primaries=smpte170m:color_trc=smpte170m:range=tv,setsar=8/9"
    subprocess.run([*command, "-vf", filters, *labels, path], check=True)
    return path


def run_demo(*arguments, path=None):
    environment = os.environ | ({"PATH": str(path)} if path else {})
    command = [sys.executable, SCRIPT, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)


def sharpness(picture):
    return np.abs(np.diff(picture.astype(float), axis=0)).mean() + np.abs(np.diff(picture, axis=1)).mean()


def write_script(folder, text):
    script = folder / "script.vpy"
    script.write_text(f"import vapoursynth as vs\nclip = vs.core.bs.VideoSource(clip, cachemode=0)\n{text}\n")
    return script


# --- the whole demo -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def result(clip, tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    return run_demo("--clip", clip, "--out", out), out


def test_demo_prints_places_size_and_speed(result, clip):
    done, out = result
    assert done.returncode == 0, done.stderr
    assert f"{out / 'out.mkv'}\n" in done.stdout
    assert f"{out / 'compare.png'}\n" in done.stdout
    assert f"{FRAMES} frames of {2 * WIDTH}x{2 * HEIGHT} in " in done.stdout
    assert "frames per second" in done.stdout


def test_demo_leaves_nothing_else_behind(result, clip):
    _, out = result
    assert sorted(path.name for path in out.iterdir()) == ["compare.png", "out.mkv"]
    assert [path.name for path in clip.parent.iterdir()] == [clip.name]


def test_demo_writes_every_frame_with_the_clips_labels(result, clip):
    source, video = read(clip), read(result[1] / "out.mkv")
    assert (video.width, video.height, video.num_frames) == (2 * WIDTH, 2 * HEIGHT, FRAMES)
    assert video.fps == source.fps
    before, after = source.get_frame(0).props, video.get_frame(0).props
    names = ("_Matrix", "_Primaries", "_Transfer", "_Range", "_ChromaLocation", "_SARNum", "_SARDen")
    assert {name: after[name] for name in names} == {name: before[name] for name in names}
    assert after["_Matrix"] == 6
    assert (after["_SARNum"], after["_SARDen"]) == (8, 9)


def test_demo_copies_the_sound(result, clip):
    before, after = (
        core.bs.AudioSource(str(path), cachemode=0, showprogress=False) for path in (clip, result[1] / "out.mkv")
    )
    assert after.num_samples == before.num_samples
    for plane in range(before.num_channels):
        np.testing.assert_array_equal(before.get_frame(0)[plane], after.get_frame(0)[plane])


def test_demo_compares_the_middle_frame_with_bicubic(result, clip):
    width, height = 2 * WIDTH, 2 * HEIGHT
    sheet = np.asarray(Image.open(result[1] / "compare.png"))
    enlarged = height // ZOOM * ZOOM
    assert sheet.shape == (2 * CAPTION + height + enlarged + MARGIN, 2 * width + 3 * MARGIN, 3)
    rows = slice(2 * CAPTION + height, 2 * CAPTION + height + enlarged, ZOOM)
    columns = [slice(start, start + width, ZOOM) for start in (MARGIN, width + 2 * MARGIN)]
    bicubic, upscaled = (sheet[rows, across] for across in columns)
    assert np.abs(bicubic.astype(int) - upscaled).max() > 8  # they differ …
    assert np.corrcoef(bicubic.ravel(), upscaled.ravel())[0, 1] > 0.9  # … and show the same
    assert sharpness(upscaled) > sharpness(bicubic)
    middle = take_picture(read(clip), FRAMES // 2, vs.MATRIX_ST170_M, width=width, height=height)
    left, top = find_detail(middle, width // ZOOM, height // ZOOM)
    shown = middle[top : top + height // ZOOM, left : left + width // ZOOM]
    np.testing.assert_array_equal(bicubic, shown)


def test_clip_is_made_of_bundled_photographs_and_moves(tmp_path):
    pytest.importorskip("skimage", reason="the demo's own clip is filmed from scikit-image's photographs")
    make_clip(tmp_path / "clip.mkv", find_ffmpeg(), width=160, height=90, frames=3)
    made = read(tmp_path / "clip.mkv")
    assert (made.width, made.height, made.num_frames) == (160, 90, 3 * len(SCENES))
    assert (made.format.id, made.fps) == (vs.YUV420P8, 25)
    props = made.get_frame(0).props
    assert [props[name] for name in ("_Matrix", "_Primaries", "_Transfer", "_Range")] == [1, 1, 1, 0]
    luma = [np.asarray(frame[0]).astype(int) for frame in made.frames()]
    assert all(np.abs(a - b).mean() > 1 for a, b in itertools.pairwise(luma))


# --- errors -------------------------------------------------------------------------------------


def fails_with(done, *parts):
    assert done.returncode == 1
    assert done.stdout == ""
    line = done.stderr.splitlines()[-1]
    assert line.startswith("demo: error: ")
    for part in parts:
        assert part in line


def test_demo_names_a_clip_that_is_not_there(tmp_path):
    fails_with(run_demo("--clip", tmp_path / "none.mkv", "--out", tmp_path), "no clip", "none.mkv")


def test_demo_names_a_clip_that_is_no_video(tmp_path):
    (tmp_path / "text.mkv").write_text("not a video")
    fails_with(run_demo("--clip", tmp_path / "text.mkv", "--out", tmp_path), "text.mkv cannot be read", "give a video")
    assert [path.name for path in tmp_path.iterdir()] == ["text.mkv"]


def test_demo_names_a_plugin_that_is_missing(clip, tmp_path):
    script = write_script(tmp_path, "vs.core.no_such_plugin.Upscale(clip).set_output()")
    fails_with(
        run_demo("--clip", clip, "--out", tmp_path, "--script", script), "no_such_plugin", "forget to install a plugin"
    )


def test_demo_keeps_no_video_when_vspipe_fails_at_the_last_frame(clip, tmp_path):
    script = write_script(
        tmp_path,
        "def select(n):\n"
        "    if n == clip.num_frames - 1:\n"
        "        raise ValueError('bad luck')\n"
        "    return clip\n"
        "vs.core.std.FrameEval(clip, select).set_output()",
    )
    done = run_demo("--clip", clip, "--out", tmp_path / "out", "--script", script)
    fails_with(done, "vspipe failed with exit code 1", "ValueError: bad luck", "above")
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="the failing ffmpeg is a shell script")
@pytest.mark.parametrize("reads", ["", "head -c 20000 > /dev/null; exec < /dev/null; sleep 0.5"], ids=["none", "some"])
def test_demo_blames_ffmpeg_when_it_fails_first(clip, tmp_path, reads):
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "ffmpeg").write_text(f"#!/bin/sh\n{reads}\necho '[out @ 0x1] Disk on fire.' >&2\nexit 3\n")
    (programs / "ffmpeg").chmod(0o755)
    script = write_script(tmp_path, "clip.resize.Point(1280, 720).set_output()")
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"
    done = run_demo("--clip", clip, "--out", tmp_path / "out", "--script", script, path=path)
    fails_with(done, "ffmpeg failed with exit code 3: Disk on fire;", "libx264", str(programs))
    assert list((tmp_path / "out").iterdir()) == []
