"""Overlapping tiles along one axis, and how their results are blended. Pure geometry: no device, no picture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, kw_only=True)
class AxisTiles:
    """Tiles along one axis.

    Attributes:
        starts: first pixel of each tile in the source.
        weights: (tiles, size * scale) share of each tile in each pixel of the result; they sum to 1 over the tiles.
    """

    starts: tuple[int, ...]
    weights: npt.NDArray[np.float32]


def overlapping_tiles(pixels: int, *, size: int, overlap: int, scale: int) -> AxisTiles:
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
    return AxisTiles(starts=tuple(int(start) for start in starts), weights=weights.astype(np.float32))


def _ramp(distance: npt.NDArray[np.floating], shared: int) -> npt.NDArray[np.floating]:
    """Weight at a distance from a tile's border, of which `shared` pixels lie in the neighbour too."""
    ramp: npt.NDArray[np.floating] = np.clip((distance - shared / 4) / (shared / 2), 0.0, 1.0)
    return ramp
