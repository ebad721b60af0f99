"""Wait so that Ctrl-C can interrupt it, and so that nothing stays locked then.

Python runs the handler of Ctrl-C between any two instructions of its main thread, even between one that takes a lock
and the `try` that releases it. The locks of Popen, Future, Event and Thread may stay taken like that, and a later wait
would never end. So here, the main thread takes none of them. On Windows, Ctrl-C cannot interrupt a wait without a
timeout.
"""

from __future__ import annotations

import subprocess
import threading
import time
from _thread import start_new_thread
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, Final

POLL: Final = 0.1  # seconds
PATIENCE: Final = 2.0  # seconds after which `when_slow` is called


class Answer[T]:
    """What another thread will deliver: a result or an error.

    Attributes:
        here: whether it has been delivered.
    """

    def __init__(self) -> None:
        self.here = False
        self._results: list[T] = []
        self._error: BaseException | None = None
        self._wake: SimpleQueue[None] = SimpleQueue()  # in C: it has no lock that could stay taken

    def deliver(self, result: T) -> None:
        self._results.append(result)
        self._arrive()

    def fail(self, error: BaseException) -> None:
        self._error = error
        self._arrive()

    def _arrive(self) -> None:
        self.here = True
        self._wake.put(None)

    def sleep(self) -> None:
        """Wait for a moment, or until it is delivered."""
        with suppress(Empty):
            self._wake.get(timeout=POLL)

    def wait_until_here(self) -> None:
        while not self.here:
            self.sleep()

    def wait(self) -> T:
        """Wait until it is delivered, and take it."""
        self.wait_until_here()
        return self.take()

    def take(self) -> T:
        """Return the result or raise the error, once, when it is `here`."""
        if self._error is None:
            return self._results.pop()
        error, self._error = self._error, None  # its traceback holds this object: together, they would be a cycle
        try:
            raise error
        finally:
            del error


_left: list[Answer[Any]] = []


def wait_for(process: subprocess.Popen[Any]) -> int:
    """Wait for the end of a process and return its exit code."""
    return _begin(process.wait).wait()


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
    answer = _begin(call)
    _left.append(answer)
    began, told = time.monotonic(), False
    try:
        while not answer.here:
            if when_slow and not told and time.monotonic() - began > PATIENCE:
                told = True
                when_slow()
            answer.sleep()
    except KeyboardInterrupt:
        if on_interrupt:
            on_interrupt()
            answer.wait_until_here()
        raise
    _left.remove(answer)
    return answer.take()


def _begin[T](call: Callable[[], T]) -> Answer[T]:
    """Call a function on a thread of its own, for which Python does not wait at exit."""
    answer = Answer[T]()

    def run() -> None:
        try:
            answer.deliver(call())
        except BaseException as error:  # raised again by `Answer.take`
            answer.fail(error)

    start_new_thread(run, ())
    return answer


def is_left_behind() -> bool:
    """Return whether a function that Ctrl-C left behind still runs; the exit of the process would wait for it."""
    return any(not answer.here for answer in _left)
