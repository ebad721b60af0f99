"""Waiting that Ctrl-C ends, on Windows too, where it does not end a wait without a limit."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from contextlib import suppress
from typing import Any, Final

POLL: Final = 0.1  # seconds
PATIENCE: Final = 2.0  # seconds until somebody who waits wants to know what for

_left: list[threading.Thread] = []


def wait_for(process: subprocess.Popen[Any]) -> int:
    """Wait for the end of a process and return its exit code."""
    while True:
        with suppress(subprocess.TimeoutExpired):
            return process.wait(POLL)


def result_of[T](future: Future[T]) -> T:
    """Return what a future comes to hold, or raise its error."""
    while not wait([future], POLL).done:
        pass
    return future.result()


def call_in_thread[T](
    call: Callable[[], T],
    *,
    when_slow: Callable[[], object] | None = None,
    on_interrupt: Callable[[], object] | None = None,
) -> T:
    """Return what a function returns that takes long and heeds no Ctrl-C, from a thread of its own.

    Python tells its main thread alone of Ctrl-C, by an exception in whatever it runs next, which may be a report that
    a library makes from the middle of its own code. On other threads the function is just called.

    Args:
        call: the function.
        when_slow: called once, after some seconds.
        on_interrupt: called at Ctrl-C, to have the function end, which is then waited for; a second Ctrl-C does not
            wait. Without it, Ctrl-C leaves the thread behind.

    Raises:
        KeyboardInterrupt: Ctrl-C.
    """
    if threading.current_thread() is not threading.main_thread():
        return call()
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(call())
        except BaseException as error:  # raised again below
            future.set_exception(error)

    # Neither an executor, whose threads Python waits for when it ends, nor Thread.join, which Ctrl-C leaves with a
    # thread that counts as ended.
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    _left.append(thread)
    began, told = time.monotonic(), False
    try:
        while not wait([future], POLL).done:
            if when_slow and not told and time.monotonic() - began > PATIENCE:
                told = True
                when_slow()
    except KeyboardInterrupt:
        if on_interrupt:
            on_interrupt()
            wait([future])
        raise
    _left.remove(thread)
    return future.result()


def is_left_behind() -> bool:
    """Return whether such a function still runs: the end of the process would wait for it."""
    return any(thread.is_alive() for thread in _left)
