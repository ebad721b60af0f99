"""Tiles: where they lie and what each contributes. Pure geometry: no device, no picture.

Three kinds. `exact_tiles` are for a network that is known to look no further than its reach: each tile is computed
with that much around it, and the parts fit together to the picture of the whole. Those of a `Grid` are for the stages
of a network that looks at the whole picture. `blended_tiles` are for a network of which nothing is known: neighbours
are blended.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from vsparagon.tiles.extension import MARGIN, Extension

SMALLEST_PART = 32
BLOCK = 8  # side of the blocks that means are taken of first; divides both sides of an extended picture


class Part(NamedTuple):
    """What one tile along an axis is kept for. Pixels are counted in the extended picture.

    Attributes:
        start: first pixel of the tile.
        first, end: first pixel that it is kept for, and one past the last.
    """

    start: int
    first: int
    end: int

    def in_result(self, scale: int, shift: int) -> slice:
        """Return where the part lies in the tile's result, which lacks `shift` of its pixels at its start."""
        return slice((self.first - self.start) * scale - shift, (self.end - self.start) * scale - shift)

    def in_picture(self, scale: int) -> slice:
        """Return where the part lies in the enlarged picture."""
        return slice((self.first - MARGIN) * scale, (self.end - MARGIN) * scale)


def whole_parts(extension: Extension) -> tuple[Part, Part]:
    """Return row and column of the only tile, where that is the extended picture."""
    return Part(0, MARGIN, MARGIN + extension.height), Part(0, MARGIN, MARGIN + extension.width)


@dataclass(frozen=True, kw_only=True)
class ExactTiles:
    """Tiles along one axis, of one size.

    Attributes:
        size: of each tile.
        parts: what each of them is kept for, in order.
    """

    size: int
    parts: tuple[Part, ...]


def exact_tiles(pixels: int, extended: int, *, reach: int, count: int) -> ExactTiles:
    """Divide an axis of the picture evenly.

    Args:
        pixels: length of the picture.
        extended: length of the extended picture, `vsparagon.tiles.extension.MARGIN` of it before the picture.
        reach: how far the network looks.
        count: number of tiles, at most `pixels`; fewer are made where one holds all.
    """
    part = -(-pixels // count)
    if part + 2 * reach >= extended:  # a tile is the whole
        part = pixels
    size = min(part + 2 * reach, extended)
    parts = []
    end = MARGIN + pixels
    for first in range(MARGIN, end, part):
        start = min(max(first - reach, 0), extended - size)
        parts.append(Part(start, first, min(first + part, end)))
    return ExactTiles(size=size, parts=tuple(parts))


def exact_tiles_of(extension: Extension, reach: int, rows: int, columns: int) -> tuple[ExactTiles, ExactTiles]:
    """Divide both axes of a picture evenly, into so many rows and columns of tiles."""
    return (
        exact_tiles(extension.height, extension.extended_height, reach=reach, count=rows),
        exact_tiles(extension.width, extension.extended_width, reach=reach, count=columns),
    )


def tile_counts(height: int, width: int, *, reach: int, area: int) -> tuple[int, int]:
    """Return into how many rows and columns of tiles to divide a picture.

    Args:
        height, width: of the picture.
        reach: how far the network looks; every tile is larger by that much on each side.
        area: most pixels of a tile, what it looks at included; exceeded where even the smallest tiles are larger.

    Returns:
        The counts that compute the fewest pixels.
    """

    def side(pixels: int, count: int) -> int:
        return -(-pixels // count) + 2 * reach

    most_rows, most_columns = (max(1, pixels // SMALLEST_PART) for pixels in (height, width))
    fitting = []
    for rows in range(1, most_rows + 1):
        tall = side(height, rows)
        for columns in range(1, most_columns + 1):
            wide = side(width, columns)
            if tall * wide <= area:
                fitting.append((rows * columns * tall * wide, rows, columns))
                break  # with more columns, more is computed twice
    return min(fitting)[1:] if fitting else (most_rows, most_columns)


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Where tiles of stages may lie: they start at multiples of `step`, and their sides are those plus 8.

    So are the sides of the extended picture. What a tile is kept for ends at a multiple of 8, or where the axis does.

    Attributes:
        step: 24 where the attention's windows must be met, else 8.
        reach: how far the network looks.
    """

    step: int
    reach: int

    @property
    def smallest(self) -> int:
        """The smallest side that keeps something, wherever the tile lies."""
        return self.side_within(2 * self.reach + 2 * self.step + 2 * BLOCK)

    def side_within(self, pixels: int) -> int:
        """Return the largest side of at most so many pixels."""
        return (pixels - BLOCK) // self.step * self.step + BLOCK

    def tiles(self, extended: int, *, size: int, first: int = 0, end: int | None = None) -> ExactTiles:
        """Lay tiles over an axis.

        Args:
            extended: length of the extended picture.
            size: of a tile, at least `smallest` or the whole axis.
            first, end: what to keep of the extended picture, all by default.
        """
        end = extended if end is None else end
        size = min(size, extended)
        parts = []
        at = first
        while at < end:
            start = min(max(at - self.reach, 0) // self.step * self.step, extended - size)
            stop = end
            if start + size < extended:
                stop = min(end, (start + size - self.reach) // BLOCK * BLOCK)
            parts.append(Part(start, at, stop))
            at = stop
        return ExactTiles(size=size, parts=tuple(parts))

    def sizes(self, height: int, width: int, *, area: int) -> tuple[int, int]:
        """Return the size of tiles, of at most so many pixels if possible, with which the fewest are computed."""
        rows, columns = (
            [(size, len(self.tiles(side, size=size).parts)) for size in self._sides(side)] for side in (height, width)
        )
        fitting = [
            (tall * down * wide * across, tall, wide)
            for tall, down in rows
            for wide, across in columns
            if tall * wide <= area
        ]
        return min(fitting)[1:] if fitting else (rows[0][0], columns[0][0])

    def _sides(self, extended: int) -> list[int]:
        return [*range(min(self.smallest, extended), extended, self.step), extended]


@dataclass(frozen=True, kw_only=True)
class BlendedTiles:
    """Tiles along one axis, of one size.

    Attributes:
        size: of each tile in the extended picture.
        starts: first pixel of each tile in the extended picture.
        weights: (tiles, size * scale) share of each tile in each pixel of the result; they sum to 1 over the tiles.
    """

    size: int
    starts: tuple[int, ...]
    weights: npt.NDArray[np.float32]


def blended_tiles(pixels: int, *, size: int, overlap: int, scale: int) -> BlendedTiles:
    """Lay tiles of one size over an axis.

    Neighbours overlap by at least `overlap`. Of what they share, the outer quarter on each side counts for nothing,
    since a tile's own border is its worst part; over the half between, one fades linearly into the other.

    Args:
        pixels: length of the axis, at least `size`.
        size: of a tile.
        overlap: at most half of `size`.
        scale: of the result.
    """
    count = 1 if pixels <= size else 1 + -(-(pixels - size) // (size - overlap))
    starts = np.round(np.linspace(0, pixels - size, count)).astype(int)
    weights = np.ones((count, size * scale))
    total = np.zeros(pixels * scale)
    position = np.arange(size * scale, dtype=np.float64) + 0.5
    for tile, start in enumerate(starts):
        if tile > 0:
            shared = int(starts[tile - 1] + size - start) * scale
            weights[tile] *= _ramp(position, shared)
        if tile < count - 1:
            shared = int(start + size - starts[tile + 1]) * scale
            weights[tile] *= _ramp(size * scale - position, shared)
        total[start * scale : (start + size) * scale] += weights[tile]
    for tile, start in enumerate(starts):  # where three tiles meet, the ramps alone do not sum to 1
        weights[tile] /= total[start * scale : (start + size) * scale]
    return BlendedTiles(size=size, starts=tuple(int(start) for start in starts), weights=weights.astype(np.float32))


def _ramp(distance: npt.NDArray[np.floating], shared: int) -> npt.NDArray[np.floating]:
    """Weight at a distance from a tile's border, of which `shared` pixels lie in the neighbour too."""
    if not shared:
        return np.ones_like(distance)
    ramp: npt.NDArray[np.floating] = np.clip((distance - shared / 4) / (shared / 2), 0.0, 1.0)
    return ramp
