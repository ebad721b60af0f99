"""How a picture is divided for a network, as plain data.

`height` and `width` are those of the network's input, in pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

from vsparagon.geometry.tiling import BlendedTiles, ExactTiles, Grid
from vsparagon.models.plan import Plan


@dataclass(frozen=True, kw_only=True)
class WholeTiling:
    """The whole extended picture at once."""

    height: int
    width: int


@dataclass(frozen=True, kw_only=True)
class _Tiling[Tiles: (ExactTiles, BlendedTiles)]:
    rows: Tiles
    columns: Tiles

    @property
    def height(self) -> int:
        return self.rows.size

    @property
    def width(self) -> int:
        return self.columns.size


class ExactTiling(_Tiling[ExactTiles]):
    """Tiles whose margins contain all that the network looks at; the result is that of the whole picture."""


@dataclass(frozen=True, kw_only=True)
class StagedTiling:
    """One stage after the other, each in tiles over the whole picture: for networks that look at all of it.

    Attributes:
        plan: the stages.
        grid: possible positions and sizes of tiles.
        height, width: of a tile, in pixels.
        frames: pictures computed at once.
    """

    plan: Plan
    grid: Grid
    height: int
    width: int
    frames: int


class BlendedTiling(_Tiling[BlendedTiles]):
    """Overlapping tiles that are blended: for networks of unknown reach."""


type Tiling = WholeTiling | ExactTiling | StagedTiling | BlendedTiling
