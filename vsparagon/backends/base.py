"""The contract between the pipeline and a runtime.

A backend opens a model for one input size and gives a `Session`: a fixed set of slots, each with an input array to
fill and an output array to read, so that nothing is allocated or copied per frame that the runtime does not need.
"""

from __future__ import annotations

import queue
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from vsparagon.library import Model

Precision = Literal["fp32", "fp16", "bf16"]
Array = npt.NDArray[np.floating]


@dataclass(frozen=True, kw_only=True)
class BuildOptions:
    """What a compiled network depends on, beside the model.

    Attributes:
        height, width: of the input, in pixels.
        precision: arithmetic of the network.
    """

    height: int
    width: int
    precision: Precision


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """How a compiled network is run.

    Attributes:
        streams: frames the runtime works on at once.
        threads: CPU threads the runtime may use in all.
        cache: folder for compiled networks.
    """

    streams: int
    threads: int
    cache: Path


class Slot(ABC):
    """Room for one frame.

    Attributes:
        input: 1,channels,H,W, to be written before `run`; float32, or float16 where the network wants it.
        output: 1,channels,scale*H,scale*W, of the same dtype, valid after `run` until the next.
    """

    input: Array
    output: Array

    @abstractmethod
    def run(self) -> None:
        """Compute `output` from `input`; returns when it is there.

        Raises:
            BackendFailure: the runtime failed.
        """

    def write(self, target: Sequence[Array], rows: slice, columns: slice) -> None:
        """Copy a part of the output, given in its pixels, into one array for each channel."""
        for plane, result in zip(target, self.output[0], strict=True):
            plane[:] = result[rows, columns]


class Session:
    """An open model: its slots are lent to one caller each at a time."""

    def __init__(self, slots: Sequence[Slot]) -> None:
        self.slots = len(slots)
        self._free: queue.SimpleQueue[Slot] = queue.SimpleQueue()
        for slot in slots:
            self._free.put(slot)

    @contextmanager
    def slot(self) -> Iterator[Slot]:
        """Lend a slot; waits while all are taken."""
        slot = self._free.get()
        try:
            yield slot
        finally:
            self._free.put(slot)


class Backend(ABC):
    """A runtime. Its library is imported by `open`, not before.

    Attributes:
        name: as in `backend=`.
        extra: of `pip install vsparagon[...]`, or "" if always installed.
        precisions: what `precision=` may be; the first is what "auto" means.
    """

    name: str
    extra: str
    precisions: tuple[Precision, ...]

    @abstractmethod
    def missing(self) -> str:
        """Return "" when the runtime can be used here, else why not and what to do."""

    @abstractmethod
    def default_streams(self, threads: int) -> int:
        """Return the number of frames at once that was measured best for this many CPU threads."""

    @abstractmethod
    def open(self, model: Model, build: BuildOptions, run: RunOptions) -> Session:
        """Compile or load the model.

        Raises:
            BackendFailure: the runtime refused it.
        """
