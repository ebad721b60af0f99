"""The worker process, which `vsparagon.backends.openvino.client` starts. It ends when its input ends.

Messages are pickles on standard input: ticket, handles to release, method, arguments. Answers are pickles on standard
output: ticket, result, error.
"""

from __future__ import annotations

import itertools
import os
import pickle
import queue
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from typing import Any, BinaryIO

from vsparagon.backends.openvino.cpu import OpenVINOCpu
from vsparagon.backends.openvino.library import import_trouble
from vsparagon.backends.openvino.remote import INPUT, OUTPUT
from vsparagon.backends.openvino.shared_arrays import SharedArrays
from vsparagon.backends.options import BuildOptions, RunOptions
from vsparagon.backends.session import Session, Slot, StageSlot
from vsparagon.errors import BackendFailure, ParagonError, reason_of
from vsparagon.models.model import Model
from vsparagon.models.plan import Plan


class _Taken[AnySlot: (Slot, StageSlot)]:
    """A slot that the client has taken, and the arrays shared with the client."""

    def __init__(self, session: Session[AnySlot], shared: SharedArrays) -> None:
        stack = ExitStack()
        self._slot: AnySlot = stack.enter_context(session.slot())
        self._arrays = shared.arrays
        self.release = stack.close


class TakenSlot(_Taken[Slot]):
    """A slot for pictures."""

    def run(self) -> None:
        """Compute from the shared input; `write` copies the result."""
        self._slot.input[:] = self._arrays[INPUT]
        self._slot.run()

    def write(self, rows: slice, columns: slice) -> None:
        """Copy a part of the result to the top left of the shared output."""
        height, width = rows.stop - rows.start, columns.stop - columns.start
        self._slot.write(list(self._arrays[OUTPUT][0, :, :height, :width]), rows, columns)


class TakenStageSlot(_Taken[StageSlot]):
    """A slot of a stage."""

    def run(self) -> None:
        """Compute the shared outputs from the shared inputs."""
        for name, array in self._slot.inputs.items():
            array[:] = self._arrays[name]
        self._slot.run()
        for name, array in self._slot.outputs.items():
            self._arrays[name][:] = array


class Server:
    """The sessions and slots that the client holds, by handle. Messages call its methods, several at a time."""

    def __init__(self) -> None:
        self._backend = OpenVINOCpu()
        self._handles = itertools.count()
        self._opened: dict[int, list[Session[Any]]] = {}
        self._taken: dict[int, Any] = {}

    def trouble(self) -> str:
        """Return why OpenVINO cannot be imported here, or "" if it can."""
        return import_trouble()

    def compute(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call a function that uses OpenVINO, and return its result."""
        return function(*arguments)

    def open(self, model: Model | Plan, build: BuildOptions, run: RunOptions) -> tuple[int, int]:
        """Open a model, or the stages of a plan; return a handle and the number of slots of each session."""
        sessions: list[Session[Any]]
        if isinstance(model, Model):
            sessions = [self._backend.open(model, build, run)]
        else:
            sessions = [*self._backend.open_stages(model, build, run)]
        handle = next(self._handles)
        self._opened[handle] = sessions
        return handle, sessions[0].slots

    def take(self, opened: int, index: int, place: str, shapes: dict[str, tuple[int, ...]]) -> int:
        """Take a slot of the session `index`, and attach to the arrays at `place`; return the slot's handle."""
        kind = TakenSlot if INPUT in shapes else TakenStageSlot
        shared = SharedArrays(shapes, place)
        shared.attached()
        taken = kind(self._opened[opened][index], shared)
        handle = next(self._handles)
        self._taken[handle] = taken
        return handle

    def run(self, taken: int) -> None:
        """Run a slot."""
        self._taken[taken].run()

    def write(self, taken: int, rows: slice, columns: slice) -> None:
        """Copy a part of a slot's result to where the client sees it."""
        self._taken[taken].write(rows, columns)

    def release(self, handle: int) -> None:
        """Close what was opened, or return a slot that was taken; unknown handles are ignored."""
        self._opened.pop(handle, None)
        if taken := self._taken.pop(handle, None):
            taken.release()


def serve(server: Server, messages: BinaryIO, answers: BinaryIO) -> None:
    """Answer messages in parallel until their stream ends; errors are answers, too."""
    lock = threading.Lock()
    calls: queue.SimpleQueue[tuple[Any, ...]] = queue.SimpleQueue()
    idle = 0  # threads; there are as many as there were calls at once: a `take` may wait for what another call frees

    def work() -> None:
        nonlocal idle
        while True:
            data = _answer(server, *calls.get())
            with lock, suppress(OSError):  # the client has ended
                idle += 1  # not after the answer, as in an executor: the client may call again at once
                answers.write(data)
                answers.flush()

    for ticket, released, method, arguments in _received(messages):
        for handle in released:
            server.release(handle)
        with lock:
            if idle:
                idle -= 1
            else:
                threading.Thread(target=work, daemon=True).start()
        calls.put((ticket, method, arguments))


def _received(messages: BinaryIO) -> Iterator[tuple[Any, ...]]:
    with suppress(EOFError, pickle.UnpicklingError):  # the client has ended, perhaps in the middle of a message
        while True:
            yield pickle.load(messages)  # noqa: S301 -- ours


def _answer(server: Server, ticket: int, method: str, arguments: tuple[Any, ...]) -> bytes:
    try:
        return pickle.dumps((ticket, getattr(server, method)(*arguments), None))
    except ParagonError as error:
        return pickle.dumps((ticket, None, error))
    except Exception as error:
        failure = BackendFailure(f"OpenVINO's own process failed: {reason_of(error)}")
        return pickle.dumps((ticket, None, failure))


def main() -> None:
    """Serve on standard input and output; redirect what libraries print to standard error."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    serve(Server(), sys.stdin.buffer, answers)
    os._exit(0)  # nobody waits for the answers to calls in progress
