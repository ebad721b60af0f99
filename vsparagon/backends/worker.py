"""The process that computes for another one: `python -m vsparagon.backends.worker`.

Messages come by standard input, and answers go by standard output, as `vsparagon.backends.apart` sends and wants them.
It ends when its input does.
"""

from __future__ import annotations

import itertools
import os
import pickle
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO

from vsparagon.backends.apart import INPUT, OUTPUT
from vsparagon.backends.base import BuildOptions, RunOptions, Session, Slot, StageSlot
from vsparagon.backends.openvino import OpenVINO, import_trouble
from vsparagon.errors import BackendFailure, ParagonError, reason_of
from vsparagon.model_file import read_graph
from vsparagon.models.model import Model
from vsparagon.models.plan import Plan
from vsparagon.shared_arrays import SharedArrays

MOST_AT_ONCE = 512  # messages; each waits for no other


class Taken:
    """A slot that the other process has taken, and the arrays it knows it by."""

    def __init__(self, session: Session[Any], shared: SharedArrays) -> None:
        self._stack = ExitStack()
        self._slot: Slot | StageSlot = self._stack.enter_context(session.slot())
        self._arrays = shared.arrays
        self.close = self._stack.close

    def run(self) -> None:
        """Compute from the shared inputs; outputs of a stage are shared as well."""
        if isinstance(self._slot, Slot):
            self._slot.input[:] = self._arrays[INPUT]
            self._slot.run()
            return
        for name, array in self._slot.inputs.items():
            array[:] = self._arrays[name]
        self._slot.run()
        for name, array in self._slot.outputs.items():
            self._arrays[name][:] = array

    def write(self, rows: slice, columns: slice) -> None:
        """Copy a part of the output to the beginning of the shared one."""
        assert isinstance(self._slot, Slot)
        height, width = rows.stop - rows.start, columns.stop - columns.start
        self._slot.write(list(self._arrays[OUTPUT][0, :, :height, :width]), rows, columns)


class Keeper:
    """What the other process has opened, by handles. Its methods are the verbs of the messages."""

    def __init__(self) -> None:
        self._backend = OpenVINO()
        self._handles = itertools.count()
        self._opened: dict[int, list[Session[Any]]] = {}
        self._taken: dict[int, Taken] = {}

    def trouble(self) -> str:
        """Return why OpenVINO cannot be used here, "" if it can."""
        return import_trouble()

    def read_graph(self, graph: Path, name: str, checkpoint: Path | None) -> Model:
        """See `vsparagon.model_file.read_graph`."""
        return read_graph(graph, name, checkpoint)

    def open(self, model: Model | Plan, build: BuildOptions, run: RunOptions) -> tuple[int, list[int]]:
        """Open a model, or the stages of one; return its handle, and how many slots each of its sessions has."""
        sessions: list[Session[Any]]
        if isinstance(model, Model):
            sessions = [self._backend.open(model, build, run)]
        else:
            sessions = [*self._backend.open_stages(model, build, run)]
        handle = next(self._handles)
        self._opened[handle] = sessions
        return handle, [session.slots for session in sessions]

    def take(self, opened: int, index: int, place: str, shapes: dict[str, tuple[int, ...]]) -> int:
        """Take a slot of a session for the arrays at a place; return its handle."""
        taken = Taken(self._opened[opened][index], SharedArrays(shapes, place))
        handle = next(self._handles)
        self._taken[handle] = taken
        return handle

    def run(self, taken: int) -> None:
        """See `Taken.run`."""
        self._taken[taken].run()

    def write(self, taken: int, rows: slice, columns: slice) -> None:
        """See `Taken.write`."""
        self._taken[taken].write(rows, columns)

    def drop(self, handle: int) -> None:
        """Forget what was opened or taken."""
        self._opened.pop(handle, None)
        if taken := self._taken.pop(handle, None):
            taken.close()


def serve(keeper: Keeper, messages: BinaryIO, answers: BinaryIO) -> None:
    """Do what the messages ask for, side by side, until they end."""
    lock = threading.Lock()

    def answer(ticket: int, verb: str, arguments: tuple[Any, ...]) -> None:
        result, error = None, None
        try:
            result = getattr(keeper, verb)(*arguments)
        except ParagonError as raised:
            error = raised
        except Exception as raised:
            error = BackendFailure(f"OpenVINO's own process failed: {reason_of(raised)}")
        with lock:
            pickle.dump((ticket, result, error), answers)
            answers.flush()

    with ThreadPoolExecutor(MOST_AT_ONCE) as pool:
        while True:
            try:
                ticket, dropped, verb, arguments = pickle.load(messages)  # noqa: S301 -- ours
            except EOFError:
                return
            for handle in dropped:
                keeper.drop(handle)
            pool.submit(answer, ticket, verb, arguments)


def main() -> None:
    """Serve on standard input and output; what libraries print goes to standard error."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    serve(Keeper(), sys.stdin.buffer, answers)


if __name__ == "__main__":
    main()
