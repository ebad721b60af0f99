"""Log the progress of an engine build."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

log = logging.getLogger(__name__)

INTERVAL: Final = 5.0  # seconds between two lines of the log


@dataclass
class _Phase:
    parent: str | None
    steps: int
    done: int = 0


class BuildProgress:
    """Receives a library's reports on its nested phases, and logs the overall progress. Thread-safe.

    A phase begins with `start` (its name, its parent's name or None, its number of steps) and ends with `finish`.

    Args:
        title: what is being done, for the log.
        clock: returns the time in seconds.
    """

    def __init__(self, title: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._title = title
        self._clock = clock
        self._told = clock()
        self._most = 0.0
        self._phases: dict[str, _Phase] = {}
        self._lock = threading.Lock()
        self._stopped = False

    def start(self, phase: str, parent: str | None, steps: int) -> None:
        with self._lock:
            self._phases[phase] = _Phase(parent, max(steps, 1))

    def step(self, phase: str, step: int) -> bool:
        """Note that a step, counted from 0, is done; return False if the build should stop."""
        with self._lock:
            if phase in self._phases:
                self._phases[phase].done = step + 1
            if self._clock() - self._told >= INTERVAL:
                self._told = self._clock()
                self._most = max(self._most, self._fraction(None))  # a repeated phase starts at 0 again
                log.info("%s: %.0f %%, %s", self._title, 100 * self._most, phase)
            return not self._stopped

    def finish(self, phase: str) -> None:
        with self._lock:
            self._phases.pop(phase, None)

    def stop(self) -> None:
        """Make the build stop at its next step."""
        log.info("stopping the build")
        self._stopped = True

    def _fraction(self, parent: str | None) -> float:
        """Return the finished fraction, 0 to 1, of the build (None) or of a phase, whose steps count equally."""
        parts = (
            min(1.0, (phase.done + self._fraction(name)) / phase.steps)
            for name, phase in self._phases.items()
            if phase.parent == parent
        )
        return max(parts, default=0.0)
