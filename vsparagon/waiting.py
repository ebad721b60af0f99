"""Waiting that Ctrl-C ends, on Windows too, where it does not end a wait without a limit."""

from __future__ import annotations

import subprocess
from contextlib import suppress
from typing import Any, Final

POLL: Final = 0.1  # seconds


def wait_for(process: subprocess.Popen[Any]) -> int:
    """Wait for the end of a process and return its exit code."""
    while True:
        with suppress(subprocess.TimeoutExpired):
            return process.wait(POLL)
