"""The geometry of tiles: their positions, and what each contributes. Involves no device and no picture.

There are three kinds. `exact_tiles` are for a network of known reach: each tile is computed with a margin of that many
pixels, and the parts fit together to the whole picture's result. Those of a `Grid` are for the stages of a network that
looks at the whole picture. `blended_tiles` are for a network of unknown reach: neighbours are blended.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from vsparagon.geometry.extension import MARGIN, Extension

SMALLEST_PART = 32  # least side of what a tile is kept for, in pixels
BLOCK = 8  # side of the blocks over which means are taken first; divides both sides of an extended picture


class Part(NamedTuple):
    """A tile along one axis, and the part of it that is kept. Positions are pixels of the extended picture.

    Attributes:
        start: first pixel of the tile.
        first, end: first pixel of the part that is kept, and one past its last.
    """

    start: int
    first: int
    end: int

    def in_result(self, scale: int, shift: int) -> slice:
        """Return the position of the part in the tile's result, which lacks `shift` pixels at its start."""
        return slice((self.first - self.start) * scale - shift, (self.end - self.start) * scale - shift)

    def in_picture(self, scale: int) -> slice:
        """Return the position of the part in the upscaled picture, which has no margin."""
        return slice((self.first - MARGIN) * scale, (self.end - MARGIN) * scale)


def whole_parts(extension: Extension) -> tuple[Part, Part]:
    """Return row and column of a single tile that is the whole extended picture."""
    return Part(0, MARGIN, MARGIN + extension.height), Part(0, MARGIN, MARGIN + extension.width)


@dataclass(frozen=True, kw_only=True)
class ExactTiles:
    """Tiles along one axis, of one size.

    Attributes:
        size: of each tile, margins included, in pixels.
        parts: position of each tile and of the part of it that is kept, in order.
    """

    size: int
    parts: tuple[Part, ...]


def exact_tiles(pixels: int, extended: int, *, reach: int, count: int) -> ExactTiles:
    """Divide one axis of a picture evenly into tiles.

    Args:
        pixels: length of the picture.
        extended: length of the extended picture, which begins `vsparagon.geometry.extension.MARGIN` before the picture.
        reach: how far the network looks, in pixels.
        count: number of tiles, at most `pixels`; fewer are returned if fewer cover the axis.
    """
    part = -(-pixels // count)
    if part + 2 * reach >= extended:  # one tile covers everything
        part = pixels
    size = min(part + 2 * reach, extended)
    parts = []
    end = MARGIN + pixels
    for first in range(MARGIN, end, part):
        start = min(max(first - reach, 0), extended - size)
        parts.append(Part(start, first, min(first + part, end)))
    return ExactTiles(size=size, parts=tuple(parts))


def exact_tiles_of(extension: Extension, reach: int, rows: int, columns: int) -> tuple[ExactTiles, ExactTiles]:
    """Divide both axes of a picture evenly, into `rows` by `columns` tiles; arguments as in `exact_tiles`."""
    return (
        exact_tiles(extension.height, extension.extended_height, reach=reach, count=rows),
        exact_tiles(extension.width, extension.extended_width, reach=reach, count=columns),
    )


def tile_counts(height: int, width: int, *, reach: int, area: int) -> tuple[int, int]:
    """Return the numbers of rows and columns of tiles with which the fewest pixels are computed.

    Args:
        height, width: of the picture, in pixels.
        reach: how far the network looks, in pixels: the margin of a tile on each side.
        area: most pixels of a tile, margin included; exceeded if even the smallest tiles are larger.
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
                break  # more columns would only compute more pixels twice
    return min(fitting)[1:] if fitting else (most_rows, most_columns)


@dataclass(frozen=True, kw_only=True)
class Grid:
    """The possible positions of tiles for stages: they start at multiples of `step`; sides are multiples of it plus 8.

    The sides of the extended picture follow the same rule. The part of a tile that is kept ends at a multiple of 8, or
    at the end of the axis. All sizes are in source pixels.

    Attributes:
        step: 24 if tiles must be aligned with the attention's windows, else 8.
        reach: how far a stage looks, at most.
    """

    step: int
    reach: int

    @property
    def smallest(self) -> int:
        """The smallest side with which a part of every tile is kept, wherever the tile lies."""
        return self.side_within(2 * self.reach + 2 * self.step + 2 * BLOCK)

    def side_within(self, pixels: int) -> int:
        """Return the largest possible side of at most `pixels`."""
        return (pixels - BLOCK) // self.step * self.step + BLOCK

    def tiles(self, extended: int, *, size: int, first: int = 0, end: int | None = None) -> ExactTiles:
        """Cover an axis with tiles.

        Args:
            extended: length of the extended picture.
            size: of a tile, at least `smallest` or the whole axis.
            first, end: range of the extended picture to keep; all of it by default.
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
        """Return height and width of the tiles with which the fewest pixels are computed.

        Args:
            height, width: of the extended picture.
            area: most pixels of a tile; exceeded if even the smallest tile is larger.
        """
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
    """Overlapping tiles along one axis, of one size.

    Attributes:
        size: of each tile, in pixels of the extended picture.
        starts: first pixel of each tile in the extended picture.
        weights: (tiles, size * scale), float32: weight of each tile in each of its result pixels. At every pixel of the
            result, the weights of the tiles that cover it sum to 1.
    """

    size: int
    starts: tuple[int, ...]
    weights: npt.NDArray[np.float32]


def blended_tiles(pixels: int, *, size: int, overlap: int, scale: int) -> BlendedTiles:
    """Cover an axis with overlapping tiles of one size.

    Neighbours overlap by at least `overlap`. In the overlap, the outer quarter of each tile has weight 0, because a
    tile is worst at its own border; over the half between, one tile fades linearly into the other.

    Args:
        pixels: length of the axis, at least `size`.
        size: of a tile.
        overlap: least overlap, at most half of `size`.
        scale: enlargement of the result.
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
    for tile, start in enumerate(starts):  # where three tiles overlap, the ramps alone do not sum to 1
        weights[tile] /= total[start * scale : (start + size) * scale]
    return BlendedTiles(size=size, starts=tuple(int(start) for start in starts), weights=weights.astype(np.float32))


def _ramp(distance: npt.NDArray[np.floating], shared: int) -> npt.NDArray[np.floating]:
    """Return the weight at each distance from a tile's border, given the width of the overlap (`shared`)."""
    if not shared:
        return np.ones_like(distance)
    ramp: npt.NDArray[np.floating] = np.clip((distance - shared / 4) / (shared / 2), 0.0, 1.0)
    return ramp
