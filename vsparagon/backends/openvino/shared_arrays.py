"""Arrays in memory that two processes share."""

from __future__ import annotations

import math
import mmap
import os
import sys
from collections.abc import Mapping
from uuid import uuid4

import numpy as np

from vsparagon.colours.layout import Array

ALIGNMENT = 64  # bytes


class SharedArrays:
    """Float32 arrays by name, in one block of shared memory.

    Args:
        shapes: the arrays' shapes by name; the same, in the same order, in both processes.
        place: the other process's `place`, to attach to its memory; "" allocates new memory.

    Attributes:
        arrays: by name; zero-filled in new memory.
        place: where the other process finds the memory, until `attached` is called.

    Raises:
        OSError: the memory cannot be allocated or attached to.
    """

    def __init__(self, shapes: Mapping[str, tuple[int, ...]], place: str = "") -> None:
        starts, size = {}, 0
        for name, shape in shapes.items():
            starts[name] = size
            size += -(-math.prod(shape) * np.float32().itemsize // ALIGNMENT) * ALIGNMENT
        if sys.platform == "win32":
            self.place = place or f"vsparagon-{uuid4()}"
            memory = mmap.mmap(-1, size, tagname=self.place)
        else:
            self._file = os.fdopen(os.open(place, os.O_RDWR) if place else os.memfd_create("vsparagon"), "r+b")
            if not place:
                self._file.truncate(size)
            self.place = f"/proc/{os.getpid()}/fd/{self._file.fileno()}"
            memory = mmap.mmap(self._file.fileno(), size)  # keeps a descriptor of its own
        self.arrays: dict[str, Array] = {
            name: np.frombuffer(memory, np.float32, math.prod(shape), starts[name]).reshape(shape)
            for name, shape in shapes.items()
        }

    def attached(self) -> None:
        """Note that the other process has attached: from now on no third one can."""
        if sys.platform != "win32":
            self._file.close()
