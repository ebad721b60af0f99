"""What `vsparagon encode` does with its options and with scripts, and how it tells its progress."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import vapoursynth as vs

pytest.importorskip("ffmpeg", reason="command lines of ffmpeg are built with ffmpeg-python")

from films import STREAMS, command, encode, read, streams, times

import vsparagon
from vsparagon.encode.progress import Lines


def test_reader_of_progress_that_leaves_is_no_traceback(mkv, tmp_path):
    command = [sys.executable, "-m", "vsparagon", "encode", str(mkv), str(tmp_path / "out.mkv"), "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert json.loads(process.stdout.readline())["event"] == "note"  # as `head -n 1` does
        process.stdout.close()
        said = process.stderr.read()
        assert (process.wait(), said) == (1, "")


def test_json_tells_progress_and_result(mkv, tmp_path):
    done = encode(mkv, tmp_path / "out.mkv", "--json")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    progress = [event for event in events if event["event"] == "progress"]
    assert [progress[0]["frames"], progress[-1]["frames"]] == [0, 49]
    assert progress[-1].keys() == {"event", "frames", "total", "fps", "eta_seconds", "bytes"}
    result = events[-1]
    assert (result["event"], result["frames"], result["resumed"]) == ("done", 49, 0)
    assert result["bytes"] == (tmp_path / "out.mkv").stat().st_size
    assert done.stderr == ""


def test_options_reach_network_and_encoder(mkv, tmp_path):
    options = ["--variant", "micro", "--width", 160, "--pix-fmt", "yuv444p10", "--codec", "libx265", "--crf", 30]
    assert encode(mkv, tmp_path / "out.mkv", *options, "--preset", "ultrafast").returncode == 0
    wanted = vsparagon.upscale(read(mkv), variant="micro", width=160, format=vs.YUV444P10)
    found = read(tmp_path / "out.mkv")
    assert (found.width, found.height, found.format.id) == (160, 120, vs.YUV444P10)
    a, b = (np.asarray(clip.get_frame(5)[0]).astype(float) for clip in (wanted, found))
    assert np.abs(a - b).mean() < 40  # of 1023, at this quality
    assert encode(mkv, tmp_path / "coarse.mkv", *options, "--preset", "ultrafast", "--crf", 51).returncode == 0
    assert (tmp_path / "coarse.mkv").stat().st_size < (tmp_path / "out.mkv").stat().st_size


def test_options_of_the_encoder_reach_it(mkv, tmp_path):
    given = ["--encoder-option", "x264-params=keyint=7:scenecut=0", "--encoder-option", "tune=grain"]
    assert encode(mkv, tmp_path / "out.mkv", *given, "--preset", "veryfast").returncode == 0
    settings = (tmp_path / "out.mkv").read_bytes()
    assert b" subme=2 " in settings  # veryfast's
    assert b" keyint=7 " in settings
    assert b" deblock=1:-2:-2 " in settings  # set by tune=grain


def test_filter_script_comes_before_the_network(mkv, tmp_path):
    script = tmp_path / "flip.vpy"
    script.write_text("print('never on stdout')\nclip.std.FlipVertical().set_output()\n")
    done = encode(mkv, tmp_path / "out.mkv", "--filter-script", script, "--crf", 0)
    assert done.returncode == 0, done.stderr
    assert "never" not in done.stdout
    wanted = vsparagon.upscale(read(mkv).std.FlipVertical())
    np.testing.assert_array_equal(read(tmp_path / "out.mkv").get_frame(7)[0], wanted.get_frame(7)[0])
    assert times(tmp_path / "out.mkv")["video"] == pytest.approx(times(mkv)["video"], abs=1e-3)


@pytest.mark.parametrize(("call", "factor"), [("", 2), ("clip = vs.core.paragon.Upscale(clip)", 2)])
def test_script_is_upscaled_unless_it_does_so_itself(tmp_path, call, factor):
    script = tmp_path / "clip.vpy"
    source = "clip = vs.core.std.BlankClip(width=64, height=48, format=vs.RGB24, length=30, fpsnum=24000, fpsden=1001)"
    script.write_text(f"import vapoursynth as vs\n{source}\n{call}\nclip.set_output()\n")
    done = encode(script, tmp_path / "out.mp4", "--segment-frames", 12)
    assert done.returncode == 0, done.stderr
    result = read(tmp_path / "out.mp4")
    assert (result.width, result.height, result.num_frames) == (64 * factor, 48 * factor, 30)
    assert result.format.id == vs.YUV444P8
    assert times(tmp_path / "out.mp4")["video"] == pytest.approx([n * 1001 / 24000 for n in range(30)], abs=1e-9)


@pytest.mark.parametrize("quiet", ["disable(logging.WARNING)", "getLogger('vapoursynth').setLevel(logging.ERROR)"])
def test_script_that_quiets_the_log_is_upscaled_once(quiet, tmp_path):
    script = tmp_path / "clip.vpy"
    script.write_text(
        f"import logging\nlogging.{quiet}\n"
        "import vapoursynth as vs\n"
        "vs.core.paragon.Upscale(vs.core.std.BlankClip(None, 64, 48, vs.YUV420P8, 3)).set_output()\n"
    )
    done = encode(script, tmp_path / "out.mkv", env=dict(os.environ))  # it changes its process
    assert done.returncode == 0, done.stderr
    assert read(tmp_path / "out.mkv").width == 128


@pytest.mark.parametrize("stored", [False, True], ids=["durations", "times"])
def test_script_gets_the_rest_of_a_film(stored, mkv, tmp_path):
    script, out = tmp_path / "clip.vpy", tmp_path / "out.mkv"
    marked = "clip = clip.std.ModifyFrame(clip, mark)\n" if stored else ""
    script.write_text(f"""
import vapoursynth as vs
found = vs.core.bs.VideoSource({str(mkv)!r}, cachemode=0, exporttimestamps=True)
def mark(n, f):
    f = f.copy()
    f.props["_AbsoluteTime"] = found["timestamps"][n] * found["timebasenum"] / found["timebaseden"]
    return f
clip = found["clip"]
{marked}vs.core.paragon.Upscale(clip).set_output()
""")
    done = encode(script, out, "--rest-from", mkv)
    assert done.returncode == 0, done.stderr
    assert "left out" not in done.stderr
    assert streams(out) == STREAMS
    before, after = times(mkv), times(out)
    assert after["audio"] == pytest.approx(before["audio"], abs=1e-3)
    assert after["video"] == pytest.approx(before["video"], abs=1e-3)
    alone = encode(script, tmp_path / "alone.mkv")
    assert "no audio: a script has only video; --rest-from FILE adds" in alone.stderr
    assert [kind for kind, _ in streams(tmp_path / "alone.mkv")] == ["video"]


def test_rest_of_more_than_a_day_is_told_in_hours(monkeypatch):
    now = iter([0.0, 10.0, 10.0, 10.0, 10.0])
    monkeypatch.setattr("time.monotonic", lambda: next(now))
    told = io.StringIO()
    lines = Lines(told)
    lines.begin(total=200_001, done=0)
    lines.advance(10, 0)
    assert "1.00 fps, 55:33:11 left" in told.getvalue()


def test_name_that_the_console_cannot_show_is_no_error(mkv, tmp_path):
    environment = os.environ | {"PYTHONIOENCODING": "cp1252", "PYTHONUTF8": "0"}
    done = encode(mkv, tmp_path / "アニメ.mkv", env=environment)
    assert done.returncode == 0, done.stderr
    assert r"\u30a2\u30cb\u30e1.mkv: " in done.stdout


def test_progress_is_a_bar_on_a_terminal(mkv, tmp_path):
    pty = pytest.importorskip("pty", reason="needs a POSIX terminal")
    termios = pytest.importorskip("termios", reason="sets the size of the terminal")
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 100))
    arguments = command(mkv, tmp_path / "out.mkv", "--segment-frames", "24")  # sizes are shown from the second one on
    process = subprocess.Popen(arguments, stderr=theirs, stdout=subprocess.PIPE, text=True)
    os.close(theirs)
    shown = b""
    while True:
        try:
            chunk = os.read(ours, 4096)
        except OSError:
            break
        if not chunk:
            break
        shown += chunk
    assert process.wait() == 0
    os.close(ours)
    assert b"100%" in shown
    assert b"49/49" in shown
    assert b"MiB" in shown
