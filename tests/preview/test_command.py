"""`vsparagon preview` as a command: players, viewers and errors."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import vapoursynth as vs
from PIL import ImageGrab

pytest.importorskip("imageio_ffmpeg", reason="films are made with its ffmpeg")

from clips import arrays
from films import UNEVEN, make_film, read, stamps

import vsparagon

# A player: it reads `most` bytes from an address.
PLAYER = """#!{python}
import sys, urllib.request
with urllib.request.urlopen(sys.argv[-1]) as answer:
    answer.read({most})
sys.exit({code})
"""
# A player that prints what it is given.
DECODER = """#!{python}
import sys, av
with av.open(sys.argv[-1]) as film:
    frames = list(film.decode(video=0))
first = frames[0]
sys.stderr.write(f"player: {{len(frames)}} frames, {{first.width}}x{{first.height}} {{first.format.name}}, ")
sys.stderr.write(f"{{int(first.colorspace)}} {{int(first.color_primaries)}} {{int(first.color_trc)}}\\n")
"""
# A viewer, called like vsview and vspreview: it runs the script and prints what it is given.
VIEWER = """
import runpy, sys
runpy.run_path(sys.argv[1])
"""
SET_OUTPUT = """
import sys
def set_output(clip, number, name):
    props = clip.get_frame(0).props
    tags = [int(props[f"_{tag}"]) for tag in ("Matrix", "Primaries", "Transfer")]
    sys.stderr.write(f"viewer: {number} {name} {clip.width}x{clip.height} {tags}\\n")
"""


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    return make_film(tmp_path_factory.mktemp("film") / "a film.mkv", seconds=2)


def write_player(folder: Path, most: int | None = None, code: int = 0) -> Path:
    player = folder / "player"
    player.write_text(PLAYER.format(python=sys.executable, most=most, code=code))
    player.chmod(0o755)
    return player


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "vsparagon", "preview", *map(str, arguments)]


def run(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments), capture_output=True, text=True, timeout=120, env=os.environ | environment
    )


needs_posix = pytest.mark.skipif(sys.platform == "win32", reason="the player is a script that begins with #!")


@needs_posix
def test_any_program_that_takes_an_address_plays(film, tmp_path):
    player = write_player(tmp_path)
    player.write_text(DECODER.format(python=sys.executable))
    done = run(film, "--player", player, "--ab")
    assert done.returncode == 0, done.stderr
    assert "player: 60 frames, 128x96 yuv420p, 1 5 13\n" in done.stderr  # as the film is labelled
    assert done.stdout.startswith(f"{film}: 60 frames to player, with nano")
    assert not list(film.parent.glob("*index*"))


@needs_posix
def test_error_in_a_frame_ends_the_player_and_is_told(film, tmp_path):
    script = tmp_path / "fail.vpy"
    script.write_text(
        "def choose(n):\n"
        "    if n == 40:\n"
        "        raise ValueError('bad luck')\n"
        "    return clip\n"
        "clip.std.FrameEval(choose).set_output()\n"
    )
    done = run(film, "--player", write_player(tmp_path), "--filter-script", script)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines()[-1].startswith("vsparagon: a frame cannot be made: ")
    assert "bad luck" in done.stderr.splitlines()[-1]


@needs_posix
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["none.mkv"], "there is no file"),
        (["-"], "standard input and addresses cannot be read: save the video as a file."),
        (["https://example.org/film.mkv"], "standard input and addresses cannot be read: save the video as a file."),
        (["."], "is a folder; give one video file or script."),
        (["/dev/null"], "is a pipe or a device; save the video as a file, which can be read at any place."),
        (["FILM", "--start", "99s"], "lasts 2.0 s"),
        (["FILM", "--start", "soon"], "'soon' is not a time"),
        (["FILM", "--variant", "giant"], "giant"),
        (["own.vpy", "--ab"], "calls core.paragon.Upscale itself; leave --ab out"),
    ],
)
def test_error_is_one_line(arguments, said, film, tmp_path, monkeypatch, capsys):
    from vsparagon.cli import main

    (tmp_path / "own.vpy").write_text(
        "import vapoursynth as vs\nvs.core.paragon.Upscale(vs.core.std.BlankClip(format=vs.YUV420P8)).set_output()\n"
    )
    monkeypatch.chdir(tmp_path)
    arguments = [str(film) if a == "FILM" else a for a in arguments]
    assert main(["preview", *arguments, "--player", str(write_player(tmp_path))]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert said in captured.err.splitlines()[-1]
    assert captured.err.splitlines()[-1].startswith("vsparagon: ")


@needs_posix
@pytest.mark.parametrize("read", [0, 100_000])
def test_player_that_fails_is_told(read, film, tmp_path):
    done = run(film, "--player", write_player(tmp_path, most=read, code=3))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines()[-1].endswith("failed with exit code 3; its output is above.")


@needs_posix
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("kind", ["player", "viewer"])
def test_ends_with_its_player_when_asked(kind, number, film, tmp_path):
    pid = tmp_path / "pid"
    player, temporary = tmp_path / "player", tmp_path / "temporary"
    temporary.mkdir()
    player.write_text(f"#!/bin/sh\necho $$ > {pid}\nexec sleep 60\n")
    player.chmod(0o755)
    (tmp_path / "vsview.py").write_text(f"import os\nos.execv({str(player)!r}, ['player'])\n")
    process = subprocess.Popen(
        command(film, "--player", player if kind == "player" else "vsview"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(tmp_path), "TMPDIR": str(temporary)},
    )
    deadline = time.monotonic() + 60
    while not pid.exists() or not pid.read_text().strip():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    time.sleep(0.5)  # until the command knows that its player runs
    process.send_signal(number)
    process.communicate(timeout=20)
    assert process.returncode == 130
    with suppress(psutil.NoSuchProcess):
        psutil.Process(int(pid.read_text())).wait(timeout=20)  # raises if it goes on
    assert not list(temporary.iterdir())  # the viewer's script


def test_no_player_and_no_viewer_says_what_to_install(film, monkeypatch, capsys):
    from vsparagon.cli import main
    from vsparagon.preview import viewer

    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(viewer, "VIEWERS", ())
    assert main(["preview", str(film)]) == 1
    assert "install mpv" in capsys.readouterr().err


@needs_posix
def test_player_goes_before_a_viewer(film, tmp_path):
    (tmp_path / "vsview.py").write_text("import sys; sys.stderr.write('viewer'); raise SystemExit(3)\n")
    player = tmp_path / "mpv"
    player.write_text("#!/bin/sh\necho player >&2\nexit 4\n")
    player.chmod(0o755)
    done = run(film, PYTHONPATH=str(tmp_path), PATH=str(tmp_path))
    assert f"{player} failed with exit code 4" in done.stderr
    player.unlink()
    done = run(film, PYTHONPATH=str(tmp_path), PATH=str(tmp_path))
    assert "vsview failed with exit code 3" in done.stderr


@pytest.mark.parametrize("name", ["vsview", "vspreview"])
def test_viewer_gets_source_and_result_of_one_size(name, film, tmp_path):
    (tmp_path / name).mkdir()
    (tmp_path / name / "__init__.py").write_text(SET_OUTPUT)
    (tmp_path / name / "__main__.py").write_text(VIEWER)
    done = run(film, "--ab", "--player", name, PYTHONPATH=str(tmp_path))
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    said = [line for line in done.stderr.splitlines() if line.startswith("viewer: ")]
    tags = "128x96 [1, 5, 13]"  # as the film is labelled
    assert said == [f"viewer: 0 source {tags}", f"viewer: 1 nano {tags}", f"viewer: 2 both {tags}"]


def test_viewer_is_not_started_for_what_cannot_be_shown(film, tmp_path):
    (tmp_path / "vsview.py").write_text("raise SystemExit(3)\n")
    done = run(film, "--variant", "giant", "--player", "vsview", PYTHONPATH=str(tmp_path))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("vsparagon: unknown variant 'giant'")
    done = run(film, "--player", "vsview", PYTHONPATH=str(tmp_path))
    assert done.stderr.endswith(
        "vsview failed with exit code 3; its output is above. You can use --player mpv instead.\n"
    )


@pytest.fixture
def started():
    """A function that starts a process, which is ended after the test if it still runs."""
    processes = []

    def start(*words: object, **environment: str) -> subprocess.Popen[str]:
        processes.append(
            subprocess.Popen(
                list(map(str, words)),
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env=os.environ | environment,
            )
        )
        return processes[-1]

    yield start
    for process in processes:
        if process.poll() is None:
            process.terminate()
            process.communicate()


class Mpv:
    """A running mpv without a window, controlled through its socket."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        deadline = time.monotonic() + 60
        while True:
            try:
                self._socket.connect(str(path))
                break
            except OSError:
                assert time.monotonic() < deadline
                time.sleep(0.02)
        self._file = self._socket.makefile("rw")

    def wait(self, event: str) -> None:
        while json.loads(self._file.readline()).get("event") != event:
            pass

    def do(self, *words: object) -> Any:
        self._file.write(json.dumps({"command": words, "request_id": 1}) + "\n")
        self._file.flush()
        while (answer := json.loads(self._file.readline())).get("request_id") != 1:
            pass
        return answer.get("data")

    def quit(self) -> None:
        self.do("quit")
        self._file.close()
        self._socket.close()


@pytest.fixture
def mpv(tmp_path, started):
    """A function that previews an input in a paused mpv, and returns the process and mpv when it shows a frame."""

    def start(
        *arguments: object, settings: str = "vo=null\nao=null\n", **environment: str
    ) -> tuple[subprocess.Popen[str], Mpv]:
        (tmp_path / "mpv.conf").write_text(f"{settings}pause=yes\ninput-ipc-server={tmp_path}/mpv.sock\n")
        process = started(*command(*arguments, "--player", "mpv"), MPV_HOME=str(tmp_path), **environment)
        mpv = Mpv(tmp_path / "mpv.sock")
        while mpv.do("get_property", "seeking") is not False or not mpv.do("get_property", "video-out-params"):
            time.sleep(0.02)
        return process, mpv

    return start


needs_mpv = pytest.mark.skipif(shutil.which("mpv") is None, reason="there is no mpv")


@needs_mpv
@pytest.mark.parametrize("name", ["even.mkv", "uneven.mkv"])
def test_mpv_plays_in_the_right_colours_with_sound_and_jumps_to_any_frame_at_once(name, tmp_path, mpv):
    film = make_film(tmp_path / name, seconds=10, video=UNEVEN if name.startswith("un") else "setpts=PTS+0.3/TB")
    process, player = mpv(film, "--start", "4")
    assert player.do("get_property", "time-pos") == pytest.approx(4, abs=0.05)
    assert player.do("get_property", "media-title") == name
    shown = player.do("get_property", "video-out-params")
    assert (shown["w"], shown["h"], shown["colormatrix"], shown["primaries"], shown["colorlevels"]) == (
        128, 96, "bt.709", "bt.601-625", "limited",
    )  # fmt: skip
    tracks = player.do("get_property", "track-list")
    assert [track["codec"] for track in tracks if track["selected"]] == ["rawvideo", "aac"]
    assert any(track["type"] == "sub" for track in tracks)
    assert player.do("get_property", "audio-delay") == pytest.approx(-0.3, abs=0.002)
    times = [time - 0.3 for time in stamps(film, "video")]
    for number in (200, 30):
        player.do("seek", times[number], "absolute+exact")
        player.wait("playback-restart")
        assert player.do("get_property", "time-pos") == pytest.approx(times[number], abs=0.002)
    while (player.do("get_property", "demuxer-cache-duration") or 0) < 1:
        time.sleep(0.02)  # a step into a frame that is not there yet would become buffering, and then playing
    for step, number in (("frame-step", 31), ("frame-back-step", 30), ("frame-back-step", 29)):
        player.do(step)
        deadline = time.monotonic() + 20
        while player.do("get_property", "time-pos") != pytest.approx(times[number], abs=0.002):
            assert time.monotonic() < deadline, step
            time.sleep(0.02)
    player.quit()
    stdout, stderr = process.communicate(timeout=30)
    assert process.returncode == 0, stderr
    assert stdout.startswith(f"{film}: ")
    assert "constant" not in stderr


@needs_mpv
def test_mpv_shows_hdr_and_any_chroma_location(tmp_path, mpv):
    (tmp_path / "hdr.vpy").write_text(
        "import vapoursynth as vs\n"
        "clip = vs.core.std.BlankClip(None, 64, 48, vs.YUV420P10, 60, 30, 1, color=[500, 512, 512])\n"
        "clip = clip.std.SetFrameProps(_Matrix=9, _Primaries=9, _Transfer=16, _ChromaLocation=2)\n"
        "clip.std.SetFrameProps(ContentLightLevelMax=1000, ContentLightLevelAverage=400).set_output()\n"
    )
    _process, player = mpv(tmp_path / "hdr.vpy")
    shown = player.do("get_property", "video-out-params")
    assert (shown["pixelformat"], shown["colormatrix"], shown["primaries"], shown["gamma"]) == (
        "yuv420p10", "bt.2020-ncl", "bt.2020", "pq",
    )  # fmt: skip
    assert shown["chroma-location"] == "uhd"
    assert shown["sig-peak"] == pytest.approx(1000 / 203, abs=0.01)
    player.quit()


@needs_mpv
@pytest.mark.skipif(shutil.which("Xvfb") is None, reason="there is no Xvfb")
def test_mpv_shows_both_halves_on_a_display_also_without_a_sound_device(tmp_path, started, mpv):
    film = make_film(tmp_path / "film.mkv", seconds=1.5, size="160x120", video="hue=s=0")
    source = read(film)[6]
    halves = source.resize.Bicubic(320, 240), vsparagon.upscale(source)
    rows, left, right = slice(60, 180), slice(0, 156), slice(164, 320)  # without the names and the line between them
    wanted = [np.dstack(arrays(half.resize.Bicubic(format=vs.RGB24).get_frame(0)))[rows] for half in halves]

    server = started("Xvfb", "-displayfd", "1", "-nolisten", "tcp", "-screen", "0", "400x300x24")
    display = f":{server.stdout.readline().strip()}"
    # mpv would convert the film's transfer and primaries to those of the display.
    settings = "vo=x11\nvf=format=gamma=bt.1886:primaries=bt.709\nao=none-such\nborder=no\ngeometry=0:0\nosc=no\n"
    process, player = mpv(film, "--ab", "--start", "0.2", settings=settings, DISPLAY=display)
    deadline = time.monotonic() + 20
    while True:
        shown = np.asarray(ImageGrab.grab(xdisplay=display).convert("RGB"))[rows, :320]
        bicubic, ours = (np.abs(shown - picture) for picture in wanted)
        if max(bicubic[:, left].mean(), ours[:, right].mean()) < 0.6:
            break
        assert time.monotonic() < deadline, (bicubic[:, left].mean(), ours[:, right].mean())
        time.sleep(0.1)
    assert min(bicubic[:, right].mean(), ours[:, left].mean()) > 1, "or else the halves are not told apart"

    player.do("set_property", "pause", False)
    stdout, stderr = process.communicate(timeout=60)
    assert "[ao] Audio output none-such not found!" in stderr
    assert process.returncode == 0, stderr
    assert re.search(r" frames to mpv, with .+, [\d.]+ of 30 frames per second\n$", stdout)


@pytest.mark.skipif(shutil.which("ffplay") is None, reason="there is no ffplay")
def test_ffplay_plays_to_the_end(film):
    done = run(film, "--player", "ffplay", "--start", "1", SDL_VIDEODRIVER="dummy", SDL_AUDIODRIVER="dummy")
    assert done.returncode == 0, done.stderr
    frames = int(done.stdout.split(": ")[1].split()[0])
    assert 30 <= frames < 60
