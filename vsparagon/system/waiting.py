"""Wait so that Ctrl-C can interrupt it, also on Windows, where it cannot interrupt a wait without a timeout."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from contextlib import suppress
from typing import Any, Final

POLL: Final = 0.1  # seconds
PATIENCE: Final = 2.0  # seconds after which `when_slow` is called

_left: list[threading.Thread] = []


def wait_for(process: subprocess.Popen[Any]) -> int:
    """Wait for the end of a process and return its exit code."""
    while True:
        with suppress(subprocess.TimeoutExpired):
            return process.wait(POLL)


def result_of[T](future: Future[T]) -> T:
    """Wait for a future and return its result, or raise its error."""
    while not wait([future], POLL).done:
        pass
    try:
        return future.result()
    finally:
        del future  # an error's traceback holds this frame: it would hold the error, and all the other frames with it


def call_in_thread[T](
    call: Callable[[], T],
    *,
    when_slow: Callable[[], object] | None = None,
    on_interrupt: Callable[[], object] | None = None,
) -> T:
    """Call a slow function that Ctrl-C does not interrupt, on a thread of its own, and return its result.

    Python raises KeyboardInterrupt on its main thread only, in whatever Python code runs there next, which may be a
    callback in the middle of a library. Called from another thread, this just calls the function.

    Args:
        call: the function; what it raises is raised here.
        when_slow: called once if the function takes longer than `PATIENCE` seconds.
        on_interrupt: called at Ctrl-C to make the function end, which is then waited for; a second Ctrl-C ends the
            waiting. Without it, Ctrl-C leaves the thread behind, running.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed.
    """
    if threading.current_thread() is not threading.main_thread():
        return call()
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(call())
        except BaseException as error:  # raised again below
            future.set_exception(error)

    # Not an executor, because Python waits for its threads at exit; not Thread.join, because after Ctrl-C it reports a
    # running thread as finished.
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
    """Return whether a function that Ctrl-C left behind still runs; the exit of the process would wait for it."""
    return any(thread.is_alive() for thread in _left)
