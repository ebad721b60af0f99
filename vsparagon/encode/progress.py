"""Report progress: a bar on a terminal, lines elsewhere, JSON for programs."""

from __future__ import annotations

import json
import sys
import time
from typing import Any, Final, Protocol, TextIO

from tqdm import tqdm

from vsparagon.system.machine import MEBIBYTE
from vsparagon.system.output import write_out

LINE_SECONDS: Final = 5.0
JSON_SECONDS: Final = 0.5


class Progress(Protocol):
    """Receives the events of an encode. `begin` comes before `advance`; notes may come at any time."""

    def begin(self, *, total: int, done: int) -> None:
        """Begin: the result will have `total` frames, of which an earlier run has encoded `done`."""

    def advance(self, frames: int, size: int) -> None:
        """Count `frames` newly encoded frames; `size` is the size of all finished segments in bytes."""

    def note(self, text: str) -> None:
        """Report something worth knowing, in one line."""

    def close(self) -> None:
        """End, whether or not the work succeeded."""


class Bar:
    """A bar on a terminal."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._bar: Any = None

    def begin(self, *, total: int, done: int) -> None:
        self._bar = tqdm(
            total=total, initial=done, unit=" frames", file=self._stream, dynamic_ncols=True, smoothing=0.1
        )

    def advance(self, frames: int, size: int) -> None:
        self._bar.set_postfix_str(_size(size).removeprefix(", "), refresh=False)
        self._bar.update(frames)

    def note(self, text: str) -> None:
        tqdm.write(text, file=self._stream)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()


class _Clock:
    """Measures speed and remaining time, and decides when to report them.

    Args:
        interval: least time between reports in seconds.
    """

    def __init__(self, interval: float) -> None:
        self._interval = interval

    def begin(self, total: int, done: int) -> None:
        self.total, self.frames, self._before = total, done, done
        self._start = self._told = time.monotonic()

    def advance(self, frames: int) -> bool:
        """Count frames, and return whether a report is due."""
        self.frames += frames
        now = time.monotonic()
        if now - self._told < self._interval and self.frames < self.total:
            return False
        self._told = now
        return True

    @property
    def fps(self) -> float:
        return (self.frames - self._before) / max(time.monotonic() - self._start, 1e-6)

    @property
    def eta(self) -> float:
        return (self.total - self.frames) / max(self.fps, 1e-6)


def _hours(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{seconds:02}"


def _size(size: int) -> str:
    """Return the size of the finished segments, in bytes, for the end of a line; "" before the first one."""
    return f", {size / MEBIBYTE:.1f} MiB" if size else ""


class Lines:
    """A line of text every few seconds."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._clock = _Clock(LINE_SECONDS)

    def begin(self, *, total: int, done: int) -> None:
        self._clock.begin(total, done)

    def advance(self, frames: int, size: int) -> None:
        clock = self._clock
        if clock.advance(frames):
            speed = f"{clock.fps:.2f} fps, {_hours(clock.eta)} left"
            self.note(f"{clock.frames}/{clock.total} frames, {speed}{_size(size)}")

    def note(self, text: str) -> None:
        self._stream.write(f"{text}\n")
        self._stream.flush()

    def close(self) -> None:
        pass


class Json:
    """One JSON object per line for each event: "progress" or "note". The command line adds "done" at the end."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._clock = _Clock(JSON_SECONDS)

    def begin(self, *, total: int, done: int) -> None:
        self._clock.begin(total, done)
        self._tell("progress", frames=done, total=total)

    def advance(self, frames: int, size: int) -> None:
        clock = self._clock
        if clock.advance(frames):
            speed = {"fps": round(clock.fps, 3), "eta_seconds": round(clock.eta, 1)}
            self._tell("progress", frames=clock.frames, total=clock.total, **speed, bytes=size)

    def note(self, text: str) -> None:
        self._tell("note", text=text)

    def close(self) -> None:
        pass

    def _tell(self, event: str, **values: object) -> None:
        write_out(self._stream, json.dumps({"event": event, **values}) + "\n")


def choose_progress(*, as_json: bool) -> Progress:
    """Return JSON on standard output, or a bar (on a terminal) or lines on standard error."""
    if as_json:
        return Json(sys.stdout)
    return Bar(sys.stderr) if sys.stderr.isatty() else Lines(sys.stderr)
