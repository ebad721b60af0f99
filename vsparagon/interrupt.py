"""Being asked to end: by Ctrl-C, and by SIGTERM in the same way."""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
import threading
from types import FrameType, TracebackType
from typing import Any, Self

log = logging.getLogger(__name__)

INTERRUPTED = 130  # what a command returns that Ctrl-C has ended, as shells count

SIGNALS = [signal.SIGINT, signal.SIGTERM]
if sys.platform == "win32":  # where no other process can send SIGTERM
    SIGNALS.append(signal.SIGBREAK)


def own_process_group() -> dict[str, Any]:
    """Return arguments of `subprocess.Popen`: Ctrl-C in the terminal then reaches us alone, who end the process."""
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
    return {"start_new_session": True}


def end_tidily_on_sigterm() -> None:
    """Have SIGTERM end the command as Ctrl-C does, so that nothing is left behind."""
    for number in SIGNALS[1:]:
        signal.signal(number, _interrupt)


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


class Interrupt:
    """Has Ctrl-C and SIGTERM wait until somebody looks at `asked`; a second one does not wait.

    Args:
        waits: whether to. Python tells its main thread alone of signals; on others there is nothing to wait for.
        note: logged at the first.

    Attributes:
        asked: whether the work is to end.
    """

    def __init__(self, *, waits: bool = True, note: str = "") -> None:
        self.asked = False
        self._note = note
        self._signals = SIGNALS if waits and threading.current_thread() is threading.main_thread() else []
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
        if self._note:
            log.info(self._note)
