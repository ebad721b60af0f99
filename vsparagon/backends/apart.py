"""OpenVINO in a process of its own, where another OpenVINO keeps it out of this one.

A process holds one OpenVINO of a version. Where vs-mlrt's plugin has brought one, Python's cannot be loaded; so it
computes in a worker, `vsparagon.backends.worker`: one for all filters of this process, which ends with it. The worker
does what it is asked to by messages; pictures lie in memory that both share.
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
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from vsparagon.backends.base import BuildOptions, PassingSession, PictureBackend, RunOptions, Session, Slot, StageSlot
from vsparagon.errors import BackendFailure, BackendUnavailable
from vsparagon.layout import Array
from vsparagon.machine import python_executable
from vsparagon.models.model import Model
from vsparagon.models.plan import Plan
from vsparagon.shared_arrays import SharedArrays

WORKER = "vsparagon.backends.worker"
INPUT, OUTPUT = "input", "output"


class Worker:
    """The process, and the way to ask it; from any thread.

    Attributes:
        ended: what became of it; "" while it runs.

    Raises:
        BackendUnavailable: the process cannot be started.
    """

    def __init__(self) -> None:
        apart: dict[str, Any] = {"start_new_session": True}  # Ctrl-C is for us, who then end it
        if sys.platform == "win32":
            apart = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW}
        ours = str(Path(__file__).parents[2])
        paths = os.pathsep.join(filter(None, (ours, os.environ.get("PYTHONPATH"))))
        try:
            self._process = subprocess.Popen(
                [python_executable(), "-P", "-m", WORKER],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env={**os.environ, "PYTHONPATH": paths},
                **apart,
            )
        except OSError as error:
            raise BackendUnavailable(f"a process for OpenVINO cannot be started: {error}.") from error
        self.ended = ""
        self._tickets = itertools.count()
        self._answers: dict[int, Future[Any]] = {}
        self._dropped: deque[int] = deque()
        self._lock = threading.Lock()
        threading.Thread(target=self._listen, name="paragon worker", daemon=True).start()

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._process.pid

    def ask(self, verb: str, *arguments: Any) -> Any:
        """Let the worker do something, and return its answer.

        Args:
            verb: a method of `vsparagon.backends.worker.Keeper`.
            arguments: of that method.

        Raises:
            ParagonError: what the method raised.
            BackendFailure: the worker is gone.
        """
        assert self._process.stdin is not None
        answer: Future[Any] = Future()
        with self._lock:
            if self.ended:
                raise BackendFailure(self.ended)
            dropped = [self._dropped.popleft() for _ in range(len(self._dropped))]
            ticket = next(self._tickets)
            self._answers[ticket] = answer
            try:
                pickle.dump((ticket, dropped, verb, arguments), self._process.stdin)
                self._process.stdin.flush()
            except OSError:  # `_listen` gives the answer
                pass
        return answer.result()

    def drops(self, owner: object, handle: int) -> None:
        """Let the worker forget what a handle stands for, once nobody here holds `owner` any more."""
        # With the next message: this may be called in the midst of one, by the garbage collector.
        weakref.finalize(owner, self._dropped.append, handle).atexit = False

    def _listen(self) -> None:
        assert self._process.stdout is not None
        while True:
            try:
                ticket, result, error = pickle.load(self._process.stdout)  # noqa: S301 -- ours
            except (EOFError, OSError, pickle.UnpicklingError):
                break
            answer = self._answers.pop(ticket)
            if error is None:
                answer.set_result(result)
            else:
                answer.set_exception(error)
        code = self._process.wait()
        with self._lock:
            self.ended = f"OpenVINO's own process ended (exit status {code}); open the clip again."
            for answer in self._answers.values():
                answer.set_exception(BackendFailure(self.ended))


_started: list[Worker] = []
_starting = threading.Lock()


def the_worker() -> Worker:
    """Return this process's worker, a new one where none runs."""
    with _starting:
        if not _started or _started[-1].ended:
            _started[:] = [Worker()]
        return _started[-1]


def trouble_apart() -> str:
    """Return why OpenVINO cannot be used in the worker either, "" if it can."""
    try:
        trouble: str = the_worker().ask("trouble")
    except (BackendUnavailable, BackendFailure) as error:
        return str(error).rstrip(".")
    return trouble


class _Opened:
    """A model that is open in the worker, as long as somebody holds this."""

    def __init__(self, worker: Worker, model: Model | Plan, build: BuildOptions, run: RunOptions) -> None:
        self.worker = worker
        self._handle, self.slots = worker.ask("open", model, build, run)
        worker.drops(self, self._handle)

    def take(self, index: int, shapes: Mapping[str, tuple[int, ...]]) -> tuple[int, SharedArrays]:
        """Take a slot of a session; return its handle, and its arrays."""
        try:
            shared = SharedArrays(shapes)
        except OSError as error:
            raise BackendFailure(f"no memory to share with OpenVINO's own process: {error}.") from error
        return self.worker.ask("take", self._handle, index, shared.place, dict(shapes)), shared


class _ApartSlot(Slot):
    """A slot in the worker. Of its output, what was written last is there, at its beginning."""

    def __init__(self, opened: _Opened, model: Model, build: BuildOptions) -> None:
        size, s = (build.height, build.width), model.scale
        shapes = {INPUT: (1, model.channels, *size), OUTPUT: (1, model.channels, s * size[0], s * size[1])}
        self._opened = opened
        self._handle, self._shared = opened.take(0, shapes)
        self.input, self.output = (self._shared.arrays[name] for name in (INPUT, OUTPUT))
        opened.worker.drops(self, self._handle)

    def run(self) -> None:
        self._opened.worker.ask("run", self._handle)

    def write(self, target: Sequence[Array], rows: slice, columns: slice) -> None:
        self._opened.worker.ask("write", self._handle, rows, columns)
        super().write(target, slice(rows.stop - rows.start), slice(columns.stop - columns.start))


class _ApartStageSlot(StageSlot):
    def __init__(self, opened: _Opened, plan: Plan, index: int, build: BuildOptions) -> None:
        inputs, outputs = (
            shapes(index, build.height, build.width) for shapes in (plan.input_shapes, plan.output_shapes)
        )
        self._opened = opened
        self._handle, self._shared = opened.take(index, inputs | outputs)
        self.inputs, self.outputs = ({name: self._shared.arrays[name] for name in part} for part in (inputs, outputs))
        opened.worker.drops(self, self._handle)

    def run(self) -> None:
        self._opened.worker.ask("run", self._handle)


class Apart(PictureBackend):
    """A backend for pictures, in the worker.

    Args:
        backend: what the worker runs.
    """

    def __init__(self, backend: PictureBackend) -> None:
        self.name, self.extra, self.precisions = backend.name, backend.extra, backend.precisions
        self.place = "CPU, in a process of its own as another OpenVINO, such as vs-mlrt's, is in this one"
        self._backend = backend

    def missing(self) -> str:
        return self._backend.missing()

    def default_streams(self, threads: int) -> int:
        return self._backend.default_streams(threads)

    def open(self, model: Model, build: BuildOptions, run: RunOptions) -> Session[Slot]:
        opened = _Opened(the_worker(), model, build, run)
        return Session([_ApartSlot(opened, model, build) for _ in range(opened.slots[0])])

    def open_stages(self, plan: Plan, build: BuildOptions, run: RunOptions) -> list[Session[StageSlot]]:
        opened = _Opened(the_worker(), plan, build, run)

        def session(index: int) -> Session[StageSlot]:
            if plan.is_long:
                return PassingSession(lambda: _ApartStageSlot(opened, plan, index, build))
            return Session([_ApartStageSlot(opened, plan, index, build) for _ in range(opened.slots[index])])

        return [session(index) for index in range(len(plan.stages))]
