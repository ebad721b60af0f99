"""Failing runs of `vsparagon encode`: one clear line, and no partial output."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from fractions import Fraction
from pathlib import Path

import imageio_ffmpeg
import pytest

pytest.importorskip("ffmpeg", reason="command lines of ffmpeg are built with ffmpeg-python")

from films import encode, ffmpeg, make_film, needs_svtav1, start_until

from vsparagon.device.gpus import gpus
from vsparagon.encode.join import join, timing_of_file
from vsparagon.encode.process import FedProcess
from vsparagon.errors import EncodeFailure


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    return make_film(tmp_path_factory.mktemp("film") / "film.mkv", seconds=1)


def fails_with(done, *parts):
    assert done.returncode == 1
    assert done.stdout == ""
    last = done.stderr.splitlines()[-1]
    assert last.startswith("vsparagon: ")
    assert "Traceback" not in done.stderr
    for part in parts:
        assert part in last


@pytest.mark.skipif(bool(gpus()), reason="there is an NVIDIA GPU")
def test_encoder_of_a_gpu_that_is_not_there_is_refused_before_the_work(film, tmp_path):
    done = encode(film, tmp_path / "out.mkv", "--codec", "hevc_nvenc")
    fails_with(done, "hevc_nvenc needs an NVIDIA GPU, and there is none; choose another --codec.")


def test_existing_output_is_kept_without_y_and_replaced_with_it(film, tmp_path):
    out = tmp_path / "out.mkv"
    out.write_bytes(b"precious")
    fails_with(encode(film, out), "out.mkv exists", "-y")
    assert out.read_bytes() == b"precious"
    assert encode(film, out, "-y").returncode == 0
    assert out.stat().st_size > 1000


@pytest.mark.skipif(sys.platform == "win32", reason="symbolic links need a privilege there")
def test_output_that_is_a_link_becomes_the_file_that_it_points_to(film, tmp_path):
    link, out = tmp_path / "link.mkv", tmp_path / "elsewhere" / "out.mkv"
    out.parent.mkdir()
    link.symlink_to(out)
    done = encode(film, link)
    assert done.returncode == 0, done.stderr
    fails_with(encode(film, link), "out.mkv exists; add -y")
    first = out.stat()
    assert encode(film, link, "-y").returncode == 0
    assert (link.readlink(), out.stat().st_ino == first.st_ino) == (out, False)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["elsewhere", "link.mkv", "out.mkv"]


def test_output_that_appears_meanwhile_is_kept_and_replaced_with_y(film, tmp_path):
    out, script = tmp_path / "out.mkv", tmp_path / "meanwhile.vpy"
    script.write_text(
        "import pathlib\n"
        "def write(n, f):\n"
        "    if n == 20:\n"
        f"        pathlib.Path({str(out)!r}).write_bytes(b'precious')\n"
        "    return f\n"
        "clip.std.ModifyFrame(clip, write).set_output()\n"
    )
    arguments = (film, out, "--filter-script", script)
    fails_with(encode(*arguments), "out.mkv appeared during the encode; run the command again with -y")
    assert out.read_bytes() == b"precious"
    fails_with(encode(*arguments), "out.mkv exists; add -y")
    done = encode(*arguments, "-y")
    assert done.returncode == 0, done.stderr
    assert "resuming: 30 of 30 frames done" in done.stderr
    assert out.stat().st_size > 1000
    assert sorted(path.name for path in tmp_path.iterdir()) == ["meanwhile.vpy", "out.mkv"]


def test_folder_of_somebody_else_is_no_place_for_the_work_and_stays(film, tmp_path):
    notes, out = tmp_path / "out.mkv.parts" / "notes.txt", tmp_path / "out.mkv"
    notes.parent.mkdir()
    notes.write_text("precious")
    message = f"an encode to this output uses the folder {notes.parent}, but that has other files in it; rename it, or"
    fails_with(encode(film, out), message)
    out.write_bytes(b"precious")
    fails_with(encode(film, out), "out.mkv exists; add -y")
    assert notes.read_text() == "precious"


def test_existing_output_is_kept_when_its_replacement_fails(film, tmp_path):
    out = tmp_path / "out.mkv"
    out.write_bytes(b"precious")
    script = tmp_path / "fail.vpy"
    script.write_text(
        "import vapoursynth as vs\n"
        "def choose(n):\n"
        "    if n == 20:\n"
        "        raise ValueError('bad luck')\n"
        "    return clip\n"
        "clip.std.FrameEval(choose).set_output()\n"
    )
    fails_with(encode(film, out, "-y", "--filter-script", script), "frame 20 cannot be made", "bad luck")
    assert out.read_bytes() == b"precious"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fail.vpy", "out.mkv"]


@pytest.fixture(scope="module")
def inputs(film, tmp_path_factory):
    """A folder with inputs and scripts that cannot be encoded, or only with some options."""
    folder = tmp_path_factory.mktemp("inputs")
    blank = (
        "import vapoursynth as vs\nclip = vs.core.std.BlankClip(width=64, height=48, format=vs.YUV420P8, length=3)\n"
    )
    (folder / "text.mkv").write_text("not a video")
    ffmpeg("-f", "lavfi", "-i", "sine=d=1", folder / "sound.mka")
    ffmpeg("-i", film, "-map", "0:v", "-map", "0:a", "-c:v", "copy", "-c:a", "libopus", folder / "opus.mkv")
    (folder / "folder.mkv").mkdir()
    (folder / "leaving.vpy").write_text("import sys\nsys.exit(3)\n")
    (folder / "silent.vpy").write_text("")
    (folder / "broken.vpy").write_text("clip = (\n")
    (folder / "plain.vpy").write_text(f"{blank}clip.set_output()\n")
    (folder / "double.vpy").write_text(f"{blank}vs.core.paragon.Upscale(clip).set_output()\n")
    varying = "vs.core.std.Splice([clip, clip.std.Crop(left=2)], mismatch=True).set_output()\n"
    (folder / "varying.vpy").write_text(f"{blank}{varying}")
    unlucky = "def choose(n):\n    raise ValueError('bad luck')\nclip.std.FrameEval(choose).set_output()\n"
    (folder / "unlucky.vpy").write_text(f"{blank}{unlucky}")
    (folder / "interlaced.vpy").write_text(f"{blank}clip.std.SetFieldBased(2).set_output()\n")
    return folder


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["none.mkv", "out.mkv"], ["there is no file", "none.mkv"]),
        (["text.mkv", "out.mkv"], ["text.mkv cannot be read"]),
        (["sound.mka", "out.mkv"], ["has no video"]),
        (["FILM", "out.avi"], ["out.avi", ".mkv, .mp4"]),
        (["FILM", "no/such/out.mkv"], ["there is no folder", str(Path("no/such"))]),
        (["FILM", "FILM", "-y"], ["the output is the input"]),
        (["FILM", "folder.mkv", "-y"], ["folder.mkv is a folder; give the name of a file"]),
        (["FILM", "caf\udce9.mkv"], ["caf?.mkv is not UTF-8; rename"]),
        (["leaving.vpy", "out.mkv"], ["leaving.vpy failed: SystemExit: 3"]),
        (["opus.mkv", "out.mov"], ["the audio cannot be written to the output", "opus", "Use an .mkv output"]),
        (["plain.vpy", "FILM", "--rest-from", "FILM", "-y"], ["the output is the input"]),
        (["FILM", "out.mkv", "--pix-fmt", "yuv420p9"], ["yuv420p9", "yuv420p10"]),
        pytest.param(
            ["FILM", "out.mkv", "--codec", "libsvtav1", "--pix-fmt", "yuv444p"],
            ["libsvtav1", "yuv420p10"],
            marks=needs_svtav1,
        ),
        (["FILM", "out.mkv", "--variant", "giant"], ["giant", "nano"]),
        (["FILM", "out.mkv", "--preset", "hasty"], ["ffmpeg", "hasty"]),
        (["FILM", "out.mkv", "--crf", "51.5"], ["--crf is 51.5; libx264 takes 0 (best) to 51"]),
        pytest.param(
            ["FILM", "out.mkv", "--codec", "libsvtav1", "--crf", "-1"],
            ["--crf is -1; libsvtav1 takes 0 (best) to 63"],
            marks=needs_svtav1,
        ),
        (["FILM", "out.mkv", "--encoder-option", "tune"], ["--encoder-option is tune", "NAME=VALUE"]),
        (["FILM", "out.mkv", "--encoder-option", "crf=3"], ["--encoder-option crf cannot be given; use --crf instead"]),
        (
            ["FILM", "out.mkv", "--encoder-option", "format=mp4"],
            ["format cannot be given; use OUTPUT's suffix instead"],
        ),
        (["FILM", "out.mkv", "--encoder-option", "c:v=ffv1"], ["c:v cannot be given; use --codec instead"]),
        (
            ["FILM", "out.mkv", "--encoder-option", "frames:v=3"],
            ["frames:v would change the frames; change them in a --filter-script instead"],
        ),
        (["FILM", "out.mkv", "--encoder-option", "f=mp4"], ["f cannot be given; use OUTPUT's suffix instead"]),
        (["FILM", "out.mkv", "--encoder-option", "filename=own.mkv"], ["filename cannot be given; use OUTPUT instead"]),
        (
            ["FILM", "out.mkv", "--encoder-option", "colorspace=bt709"],
            ["colorspace cannot be given; use --matrix instead"],
        ),
        (
            ["FILM", "out.mkv", "--encoder-option", "color_range=tv"],
            ["color_range is taken from the frames; set _Range by std.SetFrameProps in a --filter-script"],
        ),
        (["FILM", "out.mkv", "--encoder-option", "color_primaries=bt709"], ["is taken from the frames", "_Primaries"]),
        (["FILM", "out.mkv", "--encoder-option", "color_trc=bt709"], ["is taken from the frames", "_Transfer"]),
        (["FILM", "out.mkv", "--encoder-option", "chroma_sample_location=left"], ["set _ChromaLocation by"]),
        (["FILM", "out.mkv", "--encoder-option", "aspect=16:9"], ["set _SARNum and _SARDen by"]),
        (["FILM", "out.mkv", "--encoder-option", "a=1", "--encoder-option", "a=2"], ["a is given twice"]),
        (["FILM", "out.mkv", "--encoder-option", "tune=slow"], ["ffmpeg", "tune"]),
        (["FILM", "out.mkv", "--rest-from", "FILM"], ["--rest-from is for scripts"]),
        (["plain.vpy", "out.mkv", "--rest-from", "text.mkv"], ["text.mkv cannot be read"]),
        (["FILM", "out.mkv", "--start", "0.5", "--end", "0.2"], ["--end is 0.2, which is not after --start"]),
        (
            ["FILM", "out.mkv", "--start", "1:00"],
            ["there is no frame between --start and --end; the last one of", "is at"],
        ),
        (["plain.vpy", "out.mkv", "--start", "1"], ["--start and --end are for video files"]),
        (["FILM", "out.mkv", "--segment-frames", "0"], ["--segment-frames is 0"]),
        (["FILM", "out.mkv", "--memory-mb", "-5"], ["--memory-mb is -5"]),
        (["FILM", "out.mkv", "--tilesize", "32by32"], ["--tilesize is 32by32", "512x384"]),
        (["FILM", "out.mkv", "--tilesize", "64", "--overlap", "40"], ["overlap"]),
        (["FILM", "out.mkv", "--filter-script", "none.vpy"], ["there is no file", "none.vpy"]),
        (["FILM", "out.mkv", "--filter-script", "silent.vpy"], ["silent.vpy outputs no video"]),
        (["FILM", "out.mkv", "--filter-script", "broken.vpy"], ["broken.vpy failed", "line 1"]),
        (["silent.vpy", "out.mkv"], ["silent.vpy outputs no video"]),
        (["varying.vpy", "out.mkv"], ["the clip that", "varying.vpy outputs has variable format or size"]),
        (["silent.vpy", "out.mkv", "--filter-script", "silent.vpy"], ["a script already"]),
        (["double.vpy", "out.mkv", "--variant", "micro"], ["calls core.paragon.Upscale itself"]),
        (["double.vpy", "out.mkv", "--num-streams", "2"], ["calls core.paragon.Upscale itself"]),
        (["interlaced.vpy", "out.mkv"], ["interlaced", "deinterlace"]),
        (["unlucky.vpy", "out.mkv"], ["the first frame cannot be made: ValueError: bad luck"]),
        (["FILM", "out.webm"], ["the audio is aac", ".mkv"]),
        (
            ["plain.vpy", "out.webm", "--codec", "libx264"],
            ["webm cannot hold the video of libx264", "--codec libsvtav1"],
        ),
        (["FILM", "out.mov", "--codec", "libsvtav1"], ["mov cannot hold the video of libsvtav1", "--codec libx265"]),
    ],
)
def test_error_is_one_line_and_leaves_no_file(arguments, parts, film, inputs, monkeypatch):
    monkeypatch.chdir(inputs)
    before = sorted(inputs.iterdir())
    done = encode(*(film if a == "FILM" else a for a in arguments))
    fails_with(done, *parts)
    assert sorted(inputs.iterdir()) == before


def fake_ffmpeg(folder: Path, text: str) -> dict[str, str]:
    """Create a shell script in place of ffmpeg, and return the environment in which it is found first."""
    program = folder / "bin" / "ffmpeg"
    program.parent.mkdir()
    real = imageio_ffmpeg.get_ffmpeg_exe()
    program.write_text(f'#!/bin/sh\ncase "$*" in *rawvideo*) {text};; *) exec {real} "$@";; esac\n')
    program.chmod(0o755)
    return os.environ | {"PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}"}


@pytest.mark.skipif(sys.platform == "win32", reason="the failing ffmpeg is a shell script")
@pytest.mark.parametrize(
    ("script", "parts"),
    [
        ("echo '[x @ 0x1] Error: No space left on device' >&2; exit 228", ["cannot write", "No space left on device"]),
        (
            "cat >/dev/null; echo 'Error writing trailer of x.mkv: No space left on device' >&2; exit 0",
            ["ffmpeg cannot write: Error writing trailer", "free some space"],
        ),
        ("head -c 40000 >/dev/null; echo '[a] [b @ 0x2] Bad.' >&2; exit 3", ["failed with exit code 3: Bad "]),
        ("cat >/dev/null; exit 0", ["part-", "damaged"]),
        (
            '(head -c 61440; cat >/dev/null) | REAL "$@"',
            ["segment 0 has 3 frames instead of 30", "run the command again"],
        ),
    ],
    ids=["disk full", "disk full at the end", "dies", "writes nothing", "loses frames"],
)
def test_failing_ffmpeg_is_told(script, parts, film, tmp_path):
    script = script.replace("REAL", imageio_ffmpeg.get_ffmpeg_exe())
    done = encode(film, tmp_path / "out.mkv", env=fake_ffmpeg(tmp_path, script))
    fails_with(done, *parts)
    assert [path.name for path in tmp_path.iterdir()] == ["bin"]


@pytest.mark.parametrize(
    ("second", "frames", "message"),
    [
        (["-g", 5, "-bf", 0], 6, "1.mkv was made by another version of the encoder; remove"),
        ([], 7, "the segments have 6 frames instead of 7; remove"),
    ],
    ids=["another encoder", "a frame too few"],
)
def test_segments_that_do_not_fit_each_other_are_not_joined(second, frames, message, tmp_path):
    segments = [tmp_path / f"{n}.mkv" for n in range(2)]
    for path, options in zip(segments, ([], second), strict=True):
        ffmpeg("-f", "lavfi", "-i", "testsrc2=s=64x48:r=10:d=0.3", "-pix_fmt", "yuv420p", *options, path)
    out = str(tmp_path / "out.mkv")
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", "-f", "nut", "-i", "pipe:0", "-c", "copy", out]
    with pytest.raises(EncodeFailure, match=message):
        join(command, segments, timing_of_file(range(frames), Fraction(1, 10)), {})


@pytest.mark.skipif(sys.platform == "win32", reason="the other ffmpeg is a shell script")
def test_ffmpeg_is_the_first_that_has_the_encoder(film, tmp_path):
    environment = fake_ffmpeg(tmp_path, "exit 3")
    program = tmp_path / "bin" / "ffmpeg"
    program.write_text('#!/bin/sh\necho "Codec is not recognized by FFmpeg."\n')
    done = encode(film, tmp_path / "out.mkv", env=environment)
    assert done.returncode == 0, done.stderr
    environment["PYTHONPATH"] = str(tmp_path / "none")
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "imageio_ffmpeg.py").write_text("raise ImportError\n")
    done = encode(film, tmp_path / "other.mkv", "--codec", "libx265", env=environment)
    fails_with(done, f"there is no encoder libx265 in {program}; choose another --codec, or install an ffmpeg that")


@pytest.mark.skipif(sys.platform == "win32", reason="an open file cannot be removed there")
def test_input_that_vanishes_is_told_and_what_is_done_is_kept(tmp_path):
    source = make_film(tmp_path / "in.mkv", seconds=2)
    slow = tmp_path / "slow.vpy"
    slow.write_text(
        "import time\n"
        "def wait(n, f):\n"
        "    time.sleep(0.03)\n"
        "    return f\n"
        "clip.std.ModifyFrame(clip, wait).set_output()\n"
    )
    out = tmp_path / "out.mkv"
    arguments = (source, out, "--segment-frames", 20, "--filter-script", slow)
    process = start_until(out, 1, *arguments)
    moved = source.rename(tmp_path / "elsewhere.mkv")
    stderr = process.communicate(timeout=60)[1]
    assert process.returncode == 1
    assert stderr.splitlines()[-1] == f"vsparagon: {source} no longer exists."
    assert not out.exists()
    moved.rename(source)
    done = encode(*arguments)
    assert done.returncode == 0
    assert "resuming: " in done.stderr


@pytest.fixture
def joined(film):
    """Return a function that joins the packets of a film, with a stand-in for ffmpeg that only reads them."""

    def call():
        take = [sys.executable, "-c", "import sys; sys.stdin.buffer.read()"]
        join(take, [film], timing_of_file(range(30), Fraction(1, 30)), {})

    return call


def test_missing_folder_for_temporary_files_is_one_line(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    with pytest.raises(EncodeFailure, match="no temporary file can be made: No such file or directory; set TMPDIR"):
        FedProcess([sys.executable])


def test_ffmpeg_that_fails_while_joining_says_why(joined, monkeypatch):
    write, written = FedProcess.write, []

    def fail(self, data):
        if len(written) > 5:
            raise EncodeFailure("ffmpeg cannot write: no space; free some space and run the command again.")
        written.append(write(self, data))
        return written[-1]

    monkeypatch.setattr(FedProcess, "write", fail)
    with pytest.raises(
        EncodeFailure, match=r"^ffmpeg cannot write: no space; free some space and run the command again\.$"
    ):
        joined()


@pytest.mark.skipif(sys.platform == "win32", reason="sends a signal")
@pytest.mark.parametrize("last", [False, True], ids=["meanwhile", "at the end"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_while_joining_is_not_lost_and_cuts_nothing_in_two(number, last, joined, monkeypatch):
    write, lengths = FedProcess.write, []

    def interrupted(self, data):
        if len(lengths) == (count - 1 if last else count // 2):
            signal.raise_signal(number)
        lengths.append(len(bytes(data)))
        return write(self, data)

    monkeypatch.setattr(FedProcess, "write", lambda self, data: lengths.append(len(data)) or write(self, data))
    joined()
    count = len(lengths)
    lengths.clear()
    monkeypatch.setattr(FedProcess, "write", interrupted)
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt):
        joined()
    assert signal.getsignal(number) is before
    assert last or len(lengths) < count, "it stops where it is"


@pytest.mark.parametrize("what", ["film", "script"])
def test_input_that_changes_meanwhile_makes_no_output(what, tmp_path):
    source, script = make_film(tmp_path / "in.mkv", seconds=0.5), tmp_path / "script.vpy"
    changed = source if what == "film" else script
    script.write_text(
        "import os, pathlib\n"
        "def change(n, f):\n"
        "    if n == 10:\n"
        f"        path = pathlib.Path({str(changed)!r})\n"
        "        path.write_bytes(path.read_bytes() + b' ')\n"
        "    return f\n"
        "clip.std.ModifyFrame(clip, change).set_output()\n"
    )
    out = tmp_path / "out.mkv"
    fails_with(encode(source, out, "--filter-script", script), "in.mkv or a script changed during the encode; run the")
    assert not out.exists()
