"""`vsparagon preview`: the clip as a file, how players read it, and what happens if the machine is too slow."""

from __future__ import annotations

import io
import socket
import struct
import sys
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

import numpy as np
import pytest
import vapoursynth as vs

pytest.importorskip("imageio_ffmpeg", reason="films are made with its ffmpeg")

import av
from clips import counted
from films import read

from vsparagon.cli.options import parse_time
from vsparagon.errors import InvalidInput, OutOfDeviceMemory
from vsparagon.input.pixel_formats import PIXEL_FORMATS
from vsparagon.preview import screen as screens
from vsparagon.preview.levels import Level
from vsparagon.preview.screen import Screen
from vsparagon.preview.server import served
from vsparagon.preview.y4m import RawFile

core: Any = vs.core


def content(clip):
    """Return what a file of the clip must contain, as VapourSynth itself writes it."""
    out = io.BytesIO()
    clip.output(out, y4m=True)
    _, _, frames = out.getvalue().partition(b"\n")
    return frames


def fetch(address, **headers):
    with urllib.request.urlopen(urllib.request.Request(address, headers=headers)) as answer:
        return answer.status, dict(answer.headers), answer.read()


@pytest.mark.parametrize("name", ["yuv420p", "yuv422p", "yuv444p", "yuv420p10", "yuv444p12"])
def test_file_is_read_by_ffmpeg_as_the_clip(name, tmp_path):
    clip = counted(PIXEL_FORMATS[name], _SARNum=4, _SARDen=3, _ChromaLocation=2)
    taken = []
    file = RawFile(clip, taken.append)
    whole = b"".join(file.read(0))
    assert len(whole) == file.size
    assert whole.partition(b"\n")[2] == content(clip)
    assert len(taken) == clip.num_frames
    (tmp_path / "clip.y4m").write_bytes(whole)
    with av.open(str(tmp_path / "clip.y4m")) as container:
        stream = container.streams.video[0]
        assert stream.pix_fmt.removesuffix("le") == name
        assert stream.average_rate == 30
        assert str(stream.sample_aspect_ratio) == "4/3"
        assert sum(1 for _ in container.decode(stream)) == clip.num_frames


@pytest.mark.parametrize("full", [0, 1])
def test_file_tells_the_range(full, tmp_path):
    path = tmp_path / "it.y4m"
    path.write_bytes(b"".join(RawFile(counted().std.SetFrameProps(_Range=full), lambda _seconds: None).read(0)))
    with read(path).get_frame(0) as frame:
        assert frame.props["_Range"] == full


@pytest.mark.parametrize("first", [0, 1, 40, 41, 66, 4660, 9287, 50_000])
def test_file_can_be_read_from_any_byte(first):
    file = RawFile(counted(), lambda _seconds: None)
    assert b"".join(file.read(first)) == b"".join(file.read(0))[first:]


def test_reading_from_the_middle_makes_no_frame_before_it():
    asked = []
    clip = counted()
    noted = clip.std.FrameEval(lambda n: asked.append(n) or clip)
    file = RawFile(noted, lambda _seconds: None)
    asked.clear()
    next(iter(file.read(file.size - 4 * 4614)))
    assert min(asked) == 16


def test_server_answers_ranges_and_only_to_those_who_know_the_address():
    begun = []
    file = RawFile(counted(), lambda _seconds: None)
    whole = b"".join(file.read(0))
    with served(file, lambda: begun.append(1), pytest.fail) as address:
        status, headers, body = fetch(address)
        assert (status, headers["Accept-Ranges"], body == whole) == (200, "bytes", True)
        status, headers, body = fetch(address, Range="bytes=5000-")
        assert (status, headers["Content-Range"]) == (206, f"bytes 5000-{file.size - 1}/{file.size}")
        assert body == whole[5000:]
        assert fetch(address, Range="bytes=5000-5009")[2] == whole[5000:5010]
        for wrong, code in ((f"{address}x", 404), (address.rpartition("/")[0], 404)):
            with pytest.raises(urllib.error.HTTPError, match=str(code)):
                fetch(wrong)
        with pytest.raises(urllib.error.HTTPError, match="416"):
            fetch(address, Range=f"bytes={file.size}-")
        head = urllib.request.Request(address, method="HEAD")
        with urllib.request.urlopen(head) as answer:
            assert answer.headers["Content-Length"] == str(file.size)
    assert len(begun) == 3
    with pytest.raises(urllib.error.URLError):
        fetch(address)


def test_server_is_silent_about_strange_requests_and_readers_that_break_off(capfd):
    at_once = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)
    with served(RawFile(counted(), lambda _seconds: None), lambda: None, pytest.fail) as address:
        url = urllib.parse.urlsplit(address)
        for request in (b"GET /\xe9 HTTP/1.1\r\n\r\n", b"GET ", f"GET {url.path} HTTP/1.1\r\n\r\n".encode()):
            with socket.create_connection((url.hostname, url.port)) as reader:
                reader.sendall(request)
                reader.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
                if b"\xe9" in request:
                    assert reader.recv(100).startswith(b"HTTP/1.1 404")
        assert fetch(address)[0] == 200
    assert capfd.readouterr().err == ""


def test_reader_that_leaves_stops_the_work():
    asked = []
    clip = counted(width=640, height=480, length=2000)
    noted = clip.std.FrameEval(lambda n: asked.append(n) or clip)
    with (
        served(RawFile(noted, lambda _seconds: None), lambda: None, pytest.fail) as address,
        urllib.request.urlopen(address) as answer,
    ):
        answer.read(1_000_000)
    assert len(asked) < 100


def grays(*levels):
    """Return levels that differ in their brightness."""

    def way(level):
        return core.std.BlankClip(None, 64, 48, vs.GRAY8, 600, 30, 1, color=level)

    return [Level(name=f"way {level}", open=lambda level=level: way(level)) for level in levels]


def shown(screen, n):
    with screen.clip.get_frame(n) as frame:
        return np.asarray(frame[0]).copy()


def deliver(screen, seconds, fps):
    for _ in range(round(seconds * fps)):
        screen.delivered(1 / fps)


def test_slow_machine_goes_from_way_to_way_and_says_so():
    told = []
    screen = Screen(grays(10, 20, 30), told.append)
    settled = screens.SETTLING_FRAMES / 20
    assert (screen.wanted, screen.level, shown(screen, 0)[0, 0]) == (30, "way 10", 10)
    deliver(screen, settled + screens.MEASURED_SECONDS + 0.1, 20)
    assert (screen.level, shown(screen, 100)[0, 0]) == ("way 20", 20)
    assert told == ["20.0 of 30 frames per second with way 10: switching to way 20"]
    assert shown(screen, 101).max() > 200  # the note
    deliver(screen, screens.NOTE_SECONDS + 1, 30)
    assert shown(screen, 400).max() == 20
    assert screen.speed == pytest.approx(30)
    deliver(screen, 3, 25)
    deliver(screen, 9, 25)
    assert screen.level == "way 30"
    assert told[1:] == [
        "25.0 of 30 frames per second with way 20: switching to way 30",
        "25.0 of 30 frames per second with way 30: there is no faster setting",
    ]
    assert screen.speed == pytest.approx(25, abs=0.1)


def test_level_that_cannot_be_opened_is_passed_over():
    def fail():
        raise OutOfDeviceMemory("there is not enough memory.")

    told = []
    first, last = grays(10, 20)
    screen = Screen([first, Level(name="large", open=fail), last], told.append)
    deliver(screen, screens.SETTLING_FRAMES / 20 + screens.MEASURED_SECONDS + 0.1, 20)
    assert told == [
        "large cannot be used: there is not enough memory.",
        "20.0 of 30 frames per second with way 10: switching to way 20",
    ]
    assert (screen.level, shown(screen, 100)[0, 0]) == ("way 20", 20)


def test_fast_machine_stays_and_a_jump_is_not_held_against_it():
    told = []
    screen = Screen(grays(10, 20), told.append)
    deliver(screen, 30, 45)
    for _ in range(20):  # slow decoding after each of many jumps
        screen.begin()
        for _ in range(screens.SETTLING_FRAMES):
            screen.delivered(0.5)
        deliver(screen, 1, 40)
    assert (told, screen.level, screen.speed) == ([], "way 10", 30)


@pytest.mark.parametrize(
    ("text", "seconds"), [("12.5", 12.5), ("12.5s", 12.5), ("1:02.5", 62.5), ("1:00:02", 3602), ("0", 0)]
)
def test_times_are_read_in_the_usual_ways(text, seconds):
    assert parse_time(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "-1", "1:2:3:4", "5m"])
def test_what_is_no_time_is_an_error(text):
    with pytest.raises(InvalidInput, match="is not a time"):
        parse_time(text)
