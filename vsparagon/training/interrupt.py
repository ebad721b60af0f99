"""Ctrl-C while a run is on its way."""

from __future__ import annotations

import logging
import signal
import sys
from types import FrameType, TracebackType
from typing import Any, Self

log = logging.getLogger(__name__)

SIGNALS = [signal.SIGINT, signal.SIGTERM]
if sys.platform == "win32":
    SIGNALS.append(signal.SIGBREAK)


class Interrupt:
    """Has Ctrl-C and SIGTERM wait for the end of an iteration; a second one does not wait.

    Args:
        waits: whether to. Several processes that end at different iterations would wait for each other forever.

    Attributes:
        asked: whether somebody wants the run to end.
    """

    def __init__(self, *, waits: bool) -> None:
        self.asked = False
        self._signals = SIGNALS if waits else []
        self._before: list[Any] = []

    def __enter__(self) -> Self:
        self._before = [signal.signal(number, self._ask) for number in self._signals]
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        for number, handler in zip(self._signals, self._before, strict=True):
            signal.signal(number, handler)

    def _ask(self, _signal: int, _frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
        log.info("ending after this iteration; once more to end at once")
