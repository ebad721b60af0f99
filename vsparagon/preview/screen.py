"""Show one clip, which switches to a cheaper level when the machine cannot keep up."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import vapoursynth as vs

from vsparagon.errors import ParagonError
from vsparagon.input.source import rate_of
from vsparagon.preview.levels import Level, with_text

SETTLING_FRAMES: Final = 8  # not measured after a start: decoders go back to a key frame, networks warm up
MEASURED_SECONDS: Final = 2.0  # of computation, after which the speed is judged
SHORTFALL: Final = 0.97  # share of the wanted speed below which viewers notice
NOTE_SECONDS: Final = 5  # that a message stays in the picture


@dataclass
class Pace:
    """Counts frames and the seconds spent on them."""

    frames: int = 0
    seconds: float = 0.0

    def add(self, seconds: float) -> None:
        self.frames += 1
        self.seconds += seconds

    @property
    def fps(self) -> float:
        return self.frames / self.seconds if self.seconds else 0.0


class Screen:
    """A clip that shows the levels one after the other, each until it proves too slow. Its methods are thread-safe.

    Args:
        levels: at least one, the most expensive first.
        tell: called with a message about each switch.

    Attributes:
        clip: what is shown.
        wanted: its frames per second, on average.
        level: name of the level shown now.
        frames: number of frames delivered in all.
    """

    def __init__(self, levels: Sequence[Level], tell: Callable[[str], None]) -> None:
        first, *self._cheaper = levels
        self._tell = tell
        self._lock = threading.Lock()
        self._plain = self._shown = first.open()
        self._note_left = 0
        self._told_slow = False
        self.level = first.name
        self.frames = 0
        self.wanted = float(rate_of(self._plain))
        self.begin()
        self.clip: vs.VideoNode = self._plain.std.FrameEval(self._choose)

    def _choose(self, n: int) -> vs.VideoNode:
        return self._shown

    def begin(self) -> None:
        """Restart the measurement: the player has started or seeked, and the first frames are slower."""
        with self._lock:
            self._restart()
            self._whole = Pace()

    def _restart(self) -> None:
        self._settling, self._recent = SETTLING_FRAMES, Pace()

    def delivered(self, seconds: float) -> None:
        """Count a frame that is delivered, and judge the speed now and then.

        Args:
            seconds: time spent waiting for the frame, without the time in which the player took the one before.
        """
        with self._lock:
            self.frames += 1
            self._note_left -= 1
            if self._note_left == 0:
                self._shown = self._plain
            if self._settling:
                self._settling -= 1
                return
            self._recent.add(seconds)
            self._whole.add(seconds)
            if self._recent.seconds >= MEASURED_SECONDS:
                self._judge()

    def _judge(self) -> None:
        fps, self._recent = self._recent.fps, Pace()
        if fps >= self.wanted * SHORTFALL:
            return
        slow = f"{fps:.1f} of {self.wanted:.5g} frames per second with {self.level}"
        if self._switch():
            self._note(f"{slow}: switching to {self.level}")
            self._restart()
            self._whole = Pace()
        elif not self._told_slow:
            self._told_slow = True
            self._note(f"{slow}: there is no faster setting")

    def _switch(self) -> bool:
        """Go on to the next level that can be opened, and return whether there is one."""
        while self._cheaper:
            cheaper = self._cheaper.pop(0)
            try:
                self._plain, self.level = cheaper.open(), cheaper.name
            except (ParagonError, vs.Error) as error:
                self._tell(f"{cheaper.name} cannot be used: {error}")
            else:
                return True
        return False

    def _note(self, text: str) -> None:
        self._tell(text)
        self._shown = with_text(self._plain, text, 1)
        self._note_left = round(NOTE_SECONDS * self.wanted)

    @property
    def speed(self) -> float:
        """Frames per second since the last switch or seek, at most `wanted`; 0 if there were too few to tell."""
        with self._lock:
            return min(self._whole.fps, self.wanted)
