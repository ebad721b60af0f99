"""Being asked to end."""

from __future__ import annotations

import signal
import sys
from types import FrameType


def end_tidily_on_sigterm() -> None:
    """Have SIGTERM end the command as Ctrl-C does, so that nothing is left behind."""
    signal.signal(signal.SIGTERM, _interrupt)
    if sys.platform == "win32":  # where no other process can send SIGTERM
        signal.signal(signal.SIGBREAK, _interrupt)


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
