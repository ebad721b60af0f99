"""Run an open network on pictures of one size, divided by a tiling."""

from __future__ import annotations

import queue
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import product

import numpy as np

from vsparagon.backends.base import PictureBackend
from vsparagon.backends.options import BuildOptions, Precision, RunOptions
from vsparagon.backends.session import Session, Slot, StageSlot
from vsparagon.colours.layout import Array, Plane
from vsparagon.geometry.extension import MARGIN, Extension
from vsparagon.geometry.tiling import BLOCK, Part, whole_parts
from vsparagon.models.model import Model
from vsparagon.models.plan import PICTURE, RESULT
from vsparagon.tiles.tilings import BlendedTiling, ExactTiling, StagedTiling, Tiling, WholeTiling


def open_runner(
    tiling: Tiling,
    model: Model,
    extension: Extension,
    *,
    backend: PictureBackend,
    precision: Precision,
    options: RunOptions,
    steps: int = 0,
) -> AnyRunner:
    """Open a network for a tiling.

    Args:
        tiling: how the pictures are divided.
        model: the network.
        extension: of the pictures.
        backend, precision, options: what opens the network.
        steps: as in `vsparagon.backends.options.BuildOptions`.

    Raises:
        BackendFailure: the runtime refused the model.
    """
    build = BuildOptions(height=tiling.height, width=tiling.width, precision=precision, steps=steps)
    if isinstance(tiling, StagedTiling):
        stages = backend.open_stages(tiling.plan, build, replace(options, streams=tiling.frames))
        return StagedRunner(tiling, model, extension, stages)
    session = backend.open(model, build, options)
    if isinstance(tiling, ExactTiling):
        return ExactRunner(tiling, model, extension, session)
    if isinstance(tiling, BlendedTiling):
        return BlendedRunner(tiling, model, extension, session)
    return WholeRunner(tiling, model, extension, session)


class Runner[AnyTiling: Tiling](ABC):
    """Turns the planes of a picture into those of the upscaled picture. Thread-safe.

    Attributes:
        tiling: how the picture is divided.
        in_flight: pictures that make progress at once; further ones wait.
    """

    tiling: AnyTiling
    in_flight: int

    def __init__(self, tiling: AnyTiling, model: Model, extension: Extension) -> None:
        self.tiling, self.model, self.extension = tiling, model, extension
        self._buffers: queue.SimpleQueue[Array] = queue.SimpleQueue()

    @abstractmethod
    def enlarge(self, source: Sequence[Plane], target: Sequence[Plane]) -> None:
        """Upscale a picture, float32.

        Args:
            source: as many planes as the model has channels, each H,W, nominal range 0..1.
            target: as many planes, each scale*H,scale*W, to write to; not clamped.

        Raises:
            BackendFailure: the runtime failed.
        """

    def _extend(self, source: Sequence[Plane], extended: Array) -> None:
        for plane, given in zip(self.extension.picture(extended), source, strict=True):
            plane[:] = given
        self.extension.fill(extended)

    @contextmanager
    def _extended(self, source: Sequence[Plane]) -> Iterator[Array]:
        """Lend a buffer with the extended picture: channels,extended_height,extended_width."""
        try:
            extended = self._buffers.get_nowait()  # reused, because its memory is mapped already
        except queue.Empty:
            size = (self.extension.extended_height, self.extension.extended_width)
            extended = np.empty((self.model.channels, *size), np.float32)
        self._extend(source, extended)
        yield extended
        self._buffers.put(extended)

    def _cut(self, extended: Array, y: int, x: int) -> Array:
        return extended[:, y : y + self.tiling.height, x : x + self.tiling.width]

    def _in_result(self, row: Part, column: Part) -> tuple[slice, slice]:
        scale, shift = self.model.scale, self.model.shift
        return row.in_result(scale, shift), column.in_result(scale, shift)

    def _in_picture(self, row: Part, column: Part) -> tuple[slice, slice]:
        return row.in_picture(self.model.scale), column.in_picture(self.model.scale)


class _OneSession[AnyTiling: Tiling](Runner[AnyTiling]):
    """Runs the whole network on each tile."""

    def __init__(self, tiling: AnyTiling, model: Model, extension: Extension, session: Session[Slot]) -> None:
        super().__init__(tiling, model, extension)
        self._session, self.in_flight = session, session.slots


class WholeRunner(_OneSession[WholeTiling]):
    """Runs a network on the whole extended picture."""

    def enlarge(self, source: Sequence[Plane], target: Sequence[Plane]) -> None:
        with self._session.slot() as slot:
            self._extend(source, slot.input[0])
            slot.run()
            slot.write(target, *self._in_result(*whole_parts(self.extension)))


class ExactRunner(_OneSession[ExactTiling]):
    """Runs a network on exact tiles."""

    def enlarge(self, source: Sequence[Plane], target: Sequence[Plane]) -> None:
        with self._extended(source) as extended, self._session.slot() as slot:
            for row, column in product(self.tiling.rows.parts, self.tiling.columns.parts):
                slot.input[0] = self._cut(extended, row.start, column.start)
                slot.run()
                place = self._in_picture(row, column)
                slot.write([plane[place] for plane in target], *self._in_result(row, column))


class StagedRunner(Runner[StagedTiling]):
    """Runs one stage after the other.

    Whole-picture statistics are thus computed once, from the same pixels as without tiles, and whatever a stage sees
    beyond its tile has already been computed by an earlier one.
    """

    def __init__(
        self, tiling: StagedTiling, model: Model, extension: Extension, sessions: Sequence[Session[StageSlot]]
    ) -> None:
        super().__init__(tiling, model, extension)
        self._plan, self._sessions, self.in_flight = tiling.plan, sessions, tiling.frames
        whole = (extension.extended_height, extension.extended_width)
        sizes, shown = (tiling.height, tiling.width), (extension.height, extension.width)
        self._tiles = [tiling.grid.tiles(side, size=size) for side, size in zip(whole, sizes, strict=True)]
        self._last_tiles = [
            tiling.grid.tiles(side, size=size, first=MARGIN, end=MARGIN + pixels)
            for side, size, pixels in zip(whole, sizes, shown, strict=True)
        ]
        self._room = threading.BoundedSemaphore(tiling.frames)

    def enlarge(self, source: Sequence[Plane], target: Sequence[Plane]) -> None:
        with self._room, self._extended(source) as extended:
            known: dict[str, Array] = {PICTURE: extended}
            for index in range(len(self._sessions)):
                made = self._stage(index, known, target)
                known = {k: v for k, v in (known | made).items() if self._plan.is_used_after(index, k)}

    def _stage(self, index: int, known: dict[str, Array], target: Sequence[Plane]) -> dict[str, Array]:
        with self._sessions[index].slot() as slot:
            return self._run(index, slot, known, target)

    def _run(self, index: int, slot: StageSlot, known: dict[str, Array], target: Sequence[Plane]) -> dict[str, Array]:
        """Run a stage on all tiles and return its outputs, except the result, which is written to the target."""
        stage, channels = self._plan.stages[index], self._plan.channels
        height, width = self.extension.extended_height, self.extension.extended_width
        maps = {name: np.empty((channels[name], height, width), np.float32) for name in stage.maps_out}
        sums = {name: np.zeros(channels[name]) for name in stage.means_out}
        for name in stage.means_in:
            slot.inputs[name][0, :, 0, 0] = known[name]
        rows, columns = self._last_tiles if stage.makes_result else self._tiles
        for row, column in product(rows.parts, columns.parts):
            for name in stage.maps_in:
                slot.inputs[name][0] = self._cut(known[name], row.start, column.start)
            slot.run()
            for name, whole in maps.items():
                whole[:, row.first : row.end, column.first : column.end] = _kept(slot.outputs[name][0], row, column)
            for name, total in sums.items():
                total += _kept(slot.outputs[name][0], row, column, BLOCK).sum((1, 2), float)
            if stage.makes_result:
                seen, place = self._in_result(row, column), self._in_picture(row, column)
                for plane, values in zip(target, slot.outputs[RESULT][0], strict=True):
                    plane[place] = values[seen]
        return maps | {name: total * BLOCK**2 / (height * width) for name, total in sums.items()}


def _kept(output: Array, row: Part, column: Part, block: int = 1) -> Array:
    """Return the part of a tile's output that is kept.

    Args:
        output: channels,height,width, one value for each block of pixels.
        row, column: of the tile.
        block: side of a block.
    """
    rows, columns = (slice((p.first - p.start) // block, (p.end - p.start) // block) for p in (row, column))
    return output[:, rows, columns]


class BlendedRunner(_OneSession[BlendedTiling]):
    """Runs a network on tiles that are blended."""

    def enlarge(self, source: Sequence[Plane], target: Sequence[Plane]) -> None:
        s, size = self.model.scale, (self.extension.extended_height, self.extension.extended_width)
        blended = np.zeros((self.model.channels, size[0] * s, size[1] * s), np.float32)
        rows, columns = self.tiling.rows, self.tiling.columns
        height, width = self.tiling.height * s, self.tiling.width * s
        tile = np.empty((self.model.channels, height, width), np.float32)
        with self._extended(source) as extended, self._session.slot() as slot:
            for y, down in zip(rows.starts, rows.weights, strict=True):
                for x, across in zip(columns.starts, columns.weights, strict=True):
                    slot.input[0] = self._cut(extended, y, x)
                    slot.run()
                    slot.write(list(tile), slice(0, height), slice(0, width))
                    place = blended[:, y * s : y * s + height, x * s : x * s + width]
                    place += tile * down[:, None] * across
        shown = self._in_result(*whole_parts(self.extension))
        for plane, result in zip(target, blended, strict=True):
            plane[:] = result[shown]


type AnyRunner = WholeRunner | ExactRunner | StagedRunner | BlendedRunner
