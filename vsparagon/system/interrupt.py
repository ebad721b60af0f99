"""End tidily on Ctrl-C, and in the same way on SIGTERM and when the terminal is closed."""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any, Self

log = logging.getLogger(__name__)

INTERRUPTED = 130  # exit code of a command that Ctrl-C ended, by the shells' convention: 128 + SIGINT

SIGNALS = [signal.SIGINT, signal.SIGTERM]
if sys.platform == "win32":  # where other processes cannot send SIGTERM
    SIGNALS.append(signal.SIGBREAK)
elif signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as nohup makes it
    SIGNALS.append(signal.SIGHUP)


def own_process_group() -> dict[str, Any]:
    """Return arguments for `subprocess.Popen` that keep Ctrl-C in the terminal away from the child process.

    The caller has to end the child itself.
    """
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
    return {"start_new_session": True}


def end_tidily_on_signals() -> None:
    """Make SIGTERM and SIGHUP, on Windows SIGBREAK, raise KeyboardInterrupt as Ctrl-C does: the command cleans up.

    Call it on the main thread.
    """
    for number in SIGNALS[1:]:
        signal.signal(number, _interrupt)


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


@contextmanager
def ending_on_interrupt(name: str) -> Iterator[None]:
    """Turn Ctrl-C in the block, all that a script does, into one line and the exit code `INTERRUPTED`.

    Args:
        name: of the script.
    """
    try:
        yield
    except KeyboardInterrupt:
        sys.stderr.write(f"{name}: stopped\n")
        sys.exit(INTERRUPTED)


class Interrupt:
    """Context in which a first Ctrl-C, SIGTERM or SIGHUP only sets `asked`; a second one raises KeyboardInterrupt.

    Args:
        waits: False to leave the signals as they are. Outside the main thread they always are, because Python handles
            signals on the main thread only.
        note: message to log at the first signal; "" for none.

    Attributes:
        asked: whether the work should end; the caller checks it.
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
