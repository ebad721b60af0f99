"""The ways from a picture to its enlargement: the whole at once, in exact tiles, or in blended tiles.

Each is made for pictures of one size, says which size of input the network is to be opened for, and may be used from
several threads at once.
"""

from __future__ import annotations

import queue
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt

from vsparagon.backends.base import Array, Session
from vsparagon.extend import MARGIN, Extension
from vsparagon.library import Model
from vsparagon.tiling import BlendedTiles, ExactTiles

Plane = npt.NDArray[np.float32]


class Way(ABC):
    """From the planes of a picture to those of its enlargement.

    Attributes:
        height, width: of the network's input.
    """

    def __init__(self, model: Model, extension: Extension, *, height: int, width: int) -> None:
        self.model, self.extension = model, extension
        self.height, self.width = height, width
        self._buffers: queue.SimpleQueue[Array] = queue.SimpleQueue()

    @abstractmethod
    def enlarge(self, session: Session, source: Sequence[Plane], target: Sequence[Plane]) -> None:
        """Write the enlargement of `source`, as many planes as the model has channels, into `target`."""

    def _extend(self, source: Sequence[Plane], extended: Array) -> None:
        for plane, given in zip(self.extension.picture(extended), source, strict=True):
            plane[:] = given
        self.extension.fill(extended)

    @contextmanager
    def _extended(self, source: Sequence[Plane]) -> Iterator[Array]:
        """Lend the extended picture: channels, extended height, extended width."""
        try:
            extended = self._buffers.get_nowait()  # used before: its memory is mapped already
        except queue.Empty:
            size = (self.extension.extended_height, self.extension.extended_width)
            extended = np.empty((self.model.channels, *size), np.float32)
        self._extend(source, extended)
        yield extended
        self._buffers.put(extended)

    def _cut(self, extended: Array, y: int, x: int) -> Array:
        return extended[:, y : y + self.height, x : x + self.width]

    def _enlarged(self, first: int, last: int, start: int = 0) -> slice:
        """Where pixels first to last of the picture lie in the result of an input that starts at `start`."""
        offset = (MARGIN - start) * self.model.scale - self.model.shift
        return slice(first * self.model.scale + offset, last * self.model.scale + offset)


class Whole(Way):
    """The extended picture at once."""

    def __init__(self, model: Model, extension: Extension) -> None:
        super().__init__(model, extension, height=extension.extended_height, width=extension.extended_width)

    def enlarge(self, session: Session, source: Sequence[Plane], target: Sequence[Plane]) -> None:
        rows, columns = self._enlarged(0, self.extension.height), self._enlarged(0, self.extension.width)
        with session.slot() as slot:
            self._extend(source, slot.input[0])
            slot.run()
            slot.write(target, rows, columns)


class Exact(Way):
    """Tiles with all around them that the network looks at: the same picture as from the whole."""

    def __init__(self, model: Model, extension: Extension, rows: ExactTiles, columns: ExactTiles) -> None:
        super().__init__(model, extension, height=rows.size, width=columns.size)
        self._rows, self._columns = rows.parts, columns.parts

    def enlarge(self, session: Session, source: Sequence[Plane], target: Sequence[Plane]) -> None:
        s = self.model.scale
        with self._extended(source) as extended, session.slot() as slot:
            for y, top, bottom in self._rows:
                rows = self._enlarged(top, bottom, y)
                for x, left, right in self._columns:
                    slot.input[0] = self._cut(extended, y, x)
                    slot.run()
                    place = [plane[top * s : bottom * s, left * s : right * s] for plane in target]
                    slot.write(place, rows, self._enlarged(left, right, x))


class Blended(Way):
    """Overlapping tiles that fade into each other, for networks of which nothing is known."""

    def __init__(self, model: Model, extension: Extension, rows: BlendedTiles, columns: BlendedTiles) -> None:
        super().__init__(model, extension, height=rows.size, width=columns.size)
        self._rows, self._columns = rows, columns

    def enlarge(self, session: Session, source: Sequence[Plane], target: Sequence[Plane]) -> None:
        s, size = self.model.scale, (self.extension.extended_height, self.extension.extended_width)
        blended = np.zeros((self.model.channels, size[0] * s, size[1] * s), np.float32)
        tile = np.empty((self.model.channels, self.height * s, self.width * s), np.float32)
        every = slice(0, self.height * s), slice(0, self.width * s)
        with self._extended(source) as extended, session.slot() as slot:
            for y, down in zip(self._rows.starts, self._rows.weights, strict=True):
                for x, across in zip(self._columns.starts, self._columns.weights, strict=True):
                    slot.input[0] = self._cut(extended, y, x)
                    slot.run()
                    slot.write(list(tile), *every)
                    place = blended[:, y * s : (y + self.height) * s, x * s : (x + self.width) * s]
                    place += tile * down[:, None] * across
        rows, columns = self._enlarged(0, self.extension.height), self._enlarged(0, self.extension.width)
        for plane, result in zip(target, blended, strict=True):
            plane[:] = result[rows, columns]
