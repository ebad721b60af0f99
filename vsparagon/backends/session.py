"""Open models: slots, each with room for one picture or tile."""

from __future__ import annotations

import os
import queue
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from vsparagon.backends.options import RunOptions
from vsparagon.colours.layout import Array
from vsparagon.models.plan import Plan
from vsparagon.system.forks import check_process


class Slot(ABC):
    """Room for one frame. One thread at a time.

    Attributes:
        input: 1,channels,H,W, to be filled before each `run`, which may change it; float32, or float16 where the
            network takes that.
        output: the result, valid from one `run` to the next: 1,channels,scale*H,scale*W, or a layout of the slot's
            own. Read it through `write`, which knows the layout.
    """

    input: Array
    output: Array

    @abstractmethod
    def run(self) -> None:
        """Compute `output` from `input`; return when it is complete.

        Raises:
            BackendFailure: the runtime failed.
        """

    def write(self, target: Sequence[Array], rows: slice, columns: slice) -> None:
        """Copy a part of the result into one array per channel, each as large as the part.

        Args:
            target: H,W arrays; written.
            rows, columns: of the result.

        Raises:
            BackendFailure: the runtime failed.
        """
        for plane, result in zip(target, self.output[0], strict=True):
            plane[:] = result[rows, columns]


class StageSlot(ABC):
    """Room for one tile in one stage of a network. One thread at a time.

    Attributes:
        inputs: float32 arrays by name, shaped as `Plan.input_shapes` says; to be filled before each `run`.
        outputs: float32 arrays by name, shaped as `Plan.output_shapes` says; valid from one `run` to the next.
    """

    inputs: Mapping[str, Array]
    outputs: Mapping[str, Array]

    @abstractmethod
    def run(self) -> None:
        """Compute `outputs` from `inputs`; return when they are complete.

        Raises:
            BackendFailure: the runtime failed.
        """


class Session[AnySlot: (Slot, StageSlot)]:
    """An open model, or one stage of it, which lends each of its slots to one caller at a time. Thread-safe.

    Attributes:
        slots: how many there are.
    """

    def __init__(self, slots: Sequence[AnySlot]) -> None:
        self.slots = len(slots)
        self._process = os.getpid()
        self._free: queue.SimpleQueue[AnySlot] = queue.SimpleQueue()
        for slot in slots:
            self._free.put(slot)

    @contextmanager
    def slot(self) -> Iterator[AnySlot]:
        """Lend a slot; wait while all are taken.

        Raises:
            BackendFailure: this process is a fork of the one that opened the model.
        """
        check_process(self._process)
        slot = self._free.get()
        try:
            yield slot
        finally:
            self._free.put(slot)


class PassingSession(Session[StageSlot]):
    """One stage of many that run one after the other: it makes a slot for each use and drops it afterwards.

    That saves memory. The caller must take one slot at a time.
    """

    def __init__(self, make: Callable[[], StageSlot]) -> None:
        super().__init__([])
        self.slots = 1
        self._make = make

    @contextmanager
    def slot(self) -> Iterator[StageSlot]:
        check_process(self._process)
        yield self._make()


def stage_session(plan: Plan, run: RunOptions, make: Callable[[], StageSlot]) -> Session[StageSlot]:
    """Return the session of a stage. `make` makes its slots: one per stream, or in a long plan one for each use."""
    if plan.is_long:
        return PassingSession(make)
    return Session([make() for _ in range(run.streams)])
