"""What the caller asked for: the arguments `tilesize`, `overlap` and `memory_mb`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from vsparagon.errors import InvalidInput

SMALLEST_TILE: Final = 64  # least side of a tile, in source pixels


@dataclass(frozen=True, kw_only=True)
class TileChoice:
    """The caller's choice of tiles; by default, none.

    Attributes:
        size: height and width of a tile in source pixels, overlap included, at least 64; a network that is cut into
            stages takes larger tiles if its reach demands it.
        overlap: least overlap of neighbouring tiles in source pixels, vertical and horizontal; at most half of `size`,
            without which it cannot be given.
        memory_mb: memory limit for all tiles in flight, in MiB; 0 for the default. On the CPU, networks that look at
            the whole frame by default take it whole if that needs at most a quarter of the available memory (or if they
            have no checkpoint that could be cut into stages); the others take tiles that need `FAST_MEMORY` together
            or, if those would be smaller, tiles of `FAST_AREA` (`vsparagon.tiles.planning`).

    Raises:
        InvalidInput: a value is out of range, or the values contradict each other.
    """

    size: tuple[int, int] | None = None
    overlap: tuple[int, int] | None = None
    memory_mb: int = 0

    def __post_init__(self) -> None:
        if self.size and min(self.size) < SMALLEST_TILE:
            raise InvalidInput(
                f"tilesize is {self.size[1]}x{self.size[0]}; each side must be at least {SMALLEST_TILE}."
            )
        if self.overlap:
            overlap = f"{self.overlap[1]}x{self.overlap[0]}"
            if min(self.overlap) < 0:
                raise InvalidInput(f"overlap is {overlap}; it must be at least 0.")
            if not self.size:
                raise InvalidInput(f"overlap is {overlap}, but there is no tilesize; give tilesize=, too.")
            if any(2 * o > s for o, s in zip(self.overlap, self.size, strict=True)):
                raise InvalidInput(
                    f"overlap is {overlap}, more than half of tilesize, {self.size[1]}x{self.size[0]}; give a smaller "
                    "overlap= or a larger tilesize=."
                )
        if self.memory_mb < 0:
            raise InvalidInput(f"memory_mb is {self.memory_mb}; it must be 0 (default) or more.")
        if self.memory_mb and self.size:
            raise InvalidInput(
                f"memory_mb is {self.memory_mb} and tilesize is {self.size[1]}x{self.size[0]}; both set the size of "
                "the tiles, so give only one of them."
            )
