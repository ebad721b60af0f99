"""`vsparagon preview`: how players read the file, and what happens if the machine is too slow."""

from __future__ import annotations

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
from clips import counted

from vsparagon.cli.options import parse_time
from vsparagon.errors import InvalidInput, OutOfDeviceMemory
from vsparagon.preview import screen as screens
from vsparagon.preview.description import described
from vsparagon.preview.levels import Level
from vsparagon.preview.screen import Screen
from vsparagon.preview.server import served
from vsparagon.preview.virtual_file import VirtualFile

core: Any = vs.core


def file_of(clip):
    times = [round(n * 1_000_000 / clip.fps) for n in range(clip.num_frames)]
    return VirtualFile(clip, described(clip, {}, times, "a film"), lambda _seconds: None)


def fetch(address, **headers):
    with urllib.request.urlopen(urllib.request.Request(address, headers=headers)) as answer:
        return answer.status, dict(answer.headers), answer.read()


def test_server_answers_ranges_and_only_to_those_who_know_the_address():
    begun = []
    file = file_of(counted())
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
    with served(file_of(counted()), lambda: None, pytest.fail) as address:
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
        served(file_of(noted), lambda: None, pytest.fail) as address,
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
