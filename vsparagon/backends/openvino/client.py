"""The worker process that runs OpenVINO where this process cannot load it, and the channel to it.

A process can hold only one OpenVINO of a version: once vs-mlrt's plugin has loaded its own, Python's cannot be
imported. One worker serves all filters of this process and ends with it.
"""

from __future__ import annotations

import itertools
import os
import pickle
import subprocess
import sys
import threading
import weakref
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from vsparagon.errors import BackendFailure, BackendUnavailable, ParagonError
from vsparagon.system.interrupt import own_process_group
from vsparagon.system.machine import python_executable
from vsparagon.system.waiting import Answer

SERVER: Final = "vsparagon.backends.openvino.server"


class WorkerProcess:
    """The worker and the channel to it. Thread-safe.

    Raises:
        BackendUnavailable: it cannot be started.
    """

    def __init__(self) -> None:
        flags = own_process_group()
        if sys.platform == "win32":
            flags["creationflags"] |= subprocess.CREATE_NO_WINDOW
        # Appended, not put first: the folder of the packages may hold some with the names of Python's own modules.
        start = f"import sys; sys.path.append({str(Path(__file__).parents[3])!r}); from {SERVER} import main; main()"
        try:
            self._process = subprocess.Popen(
                [python_executable(), "-P", "-c", start],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                **flags,
            )
        except OSError as error:
            raise BackendUnavailable(f"a process for OpenVINO cannot be started: {error}.") from error
        self._owner, self._end = os.getpid(), ""
        self._tickets = itertools.count()
        self._answers: dict[int, Answer[Any]] = {}
        self._released: deque[int] = deque()
        self._lock = threading.Lock()
        threading.Thread(target=self._listen, name="paragon worker", daemon=True).start()

    @property
    def pid(self) -> int:
        """The worker's process id."""
        return self._process.pid

    @property
    def ended(self) -> str:
        """Why it answers no longer, as an error message; "" while it does."""
        if os.getpid() != self._owner:
            return "OpenVINO's own process answers only the one that started it, not its forks; open the clip again."
        return self._end

    def kill(self) -> None:
        """End the worker at once; calls that wait for an answer raise `BackendFailure`."""
        self._process.kill()
        self._process.wait()

    def call(self, method: str, *arguments: Any) -> Any:
        """Call a method of the worker's `vsparagon.backends.openvino.server.Server` and return its result.

        Arguments and result are pickled.

        Raises:
            ParagonError: the method raised it.
            BackendFailure: the worker has ended.
        """
        return self._answer(method, arguments).wait()

    def _answer(self, method: str, arguments: tuple[Any, ...]) -> Answer[Any]:
        assert self._process.stdin is not None
        answer = Answer[Any]()
        self._check()  # in a fork, the lock may be held by a thread that does not exist there
        with self._lock:
            self._check()
            ticket = next(self._tickets)
            released = [self._released.popleft() for _ in range(len(self._released))]
            message = pickle.dumps((ticket, released, method, arguments))
            self._answers[ticket] = answer
            try:
                self._process.stdin.write(message)
                self._process.stdin.flush()
            except OSError:  # the worker has ended: `_listen` answers
                pass
        return answer

    def _check(self) -> None:
        if self.ended:
            raise BackendFailure(self.ended)

    def release_with(self, owner: object, handle: int) -> None:
        """Release a handle in the worker once `owner` is garbage-collected."""
        # Sent with the next message: the garbage collector may run in the middle of one.
        weakref.finalize(owner, self._released.append, handle).atexit = False

    def _listen(self) -> None:
        assert self._process.stdout is not None
        with suppress(Exception):  # the stream has ended, or an answer is unreadable, as all later ones would be
            while True:
                self._deliver(*pickle.load(self._process.stdout))  # noqa: S301 -- ours
        self._process.kill()
        code = self._process.wait()
        with self._lock:
            self._end = f"OpenVINO's own process ended (exit status {code}); open the clip again."
            for answer in self._answers.values():
                answer.fail(BackendFailure(self._end))

    def _deliver(self, ticket: int, result: Any, error: ParagonError | None) -> None:
        answer = self._answers.pop(ticket)
        if error is None:
            answer.deliver(result)
        else:
            answer.fail(error)


_worker: WorkerProcess | None = None
_starting = threading.Lock()


def worker_process() -> WorkerProcess:
    """Return this process's worker; start one if none runs.

    Raises:
        BackendUnavailable: it cannot be started.
    """
    global _worker
    with _starting:
        if _worker is None or _worker.ended:
            _worker = WorkerProcess()
        return _worker


def trouble_in_worker() -> str:
    """Return why the worker cannot import OpenVINO either, or "" if it can."""
    try:
        trouble: str = worker_process().call("trouble")
    except (BackendUnavailable, BackendFailure) as error:
        return str(error).rstrip(".")
    return trouble
