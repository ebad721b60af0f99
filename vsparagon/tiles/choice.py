"""Choose how to tile a picture from the model, the picture's size and the caller's arguments."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from vsparagon.errors import InvalidInput
from vsparagon.geometry.extension import WHOLE_WINDOWS, Extension
from vsparagon.geometry.tiling import BLOCK, ExactTiles, Grid, blended_tiles, exact_tiles_of, tile_counts
from vsparagon.models.model import Model
from vsparagon.models.plan import FURTHEST, Plan
from vsparagon.onnx.graph_cache import plan_stages
from vsparagon.system.machine import MEBIBYTE, available_memory
from vsparagon.tiles.ways import Blended, Exact, Staged, Way, Whole

log = logging.getLogger(__name__)

SMALLEST_TILE = 64
# Default memory of all tiles in flight, in bytes. The larger a tile is, the smaller is the share that its neighbours
# compute, too: on two EPYCs, pictures of 640x360 were 4 to 14 % faster whole than in tiles of `FAST_AREA`; on one of
# them, 1080p was up to 13 % faster in four tiles.
FAST_MEMORY = 512 * MEBIBYTE
# Default size of a tile, in pixels with its margin, if `FAST_MEMORY` would allow only smaller ones. On a Xeon, a pixel
# in a tile of this size took nano 20 % less time than one in a large picture.
FAST_AREA = 80_000
# For networks with a reach above `FAR` (pixels), overlap is expensive: if the default tiles would compute more than
# `MOST_COMPUTED` pictures' worth of pixels, use tiles as large as memory allows.
FAR = 12
MOST_COMPUTED = 1.1
BLENDED_OVERLAP = 32  # default, in source pixels
SHARE = 4  # the available memory divided by this is the default limit for whole frames, stages and large tiles
FLOAT = 4  # bytes


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
            or, if those would be smaller, tiles of `FAST_AREA`.

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
        if self.overlap and (min(self.overlap) < 0 or not self.size):
            raise InvalidInput(
                "overlap must be at least 0, and tilesize must be given, too; give both, or leave overlap= out."
            )
        if self.overlap and self.size and any(2 * o > s for o, s in zip(self.overlap, self.size, strict=True)):
            raise InvalidInput(
                f"overlap is {self.overlap[1]}x{self.overlap[0]}, more than half of tilesize, "
                f"{self.size[1]}x{self.size[0]}; give a smaller overlap= or a larger tilesize=."
            )
        if self.memory_mb < 0:
            raise InvalidInput(f"memory_mb is {self.memory_mb}; it must be 0 (default) or more.")
        if self.memory_mb and self.size:
            raise InvalidInput(
                f"memory_mb is {self.memory_mb} and tilesize is {self.size[1]}x{self.size[0]}; both set the size of "
                "the tiles, so give only one of them."
            )

    def way(self, model: Model, extension: Extension, *, streams: int, cache: Path) -> Way:
        """Return the way to run a model on pictures of one size, on the CPU.

        Args:
            model: the network.
            extension: of the pictures.
            streams: pictures computed at once, if memory allows; memory for one more, being copied, is reserved.
            cache: cache folder for the stages of a checkpoint.

        Raises:
            InvalidInput: this model cannot be run in the requested tiles, or the cache folder cannot be written to.
            ModelError: the checkpoint cannot be read.
            BackendUnavailable: cutting a checkpoint into stages for the first time needs torch.
        """
        if model.bytes_per_pixel is None:
            if self.memory_mb:
                raise InvalidInput(
                    f"memory_mb cannot be used with {model.name}, whose memory use is not known; use tilesize= instead."
                )
            return self._blended(model, extension)
        wanted = self.size or self.memory_mb
        budget = (self.memory_mb or available_memory() // SHARE) * MEBIBYTE
        per_pixel = model.bytes_per_pixel * (streams + 1)
        area = max(FAST_AREA, FAST_MEMORY // per_pixel)
        tiles = self.exact(model, extension, streams=streams, area=area)
        most = MOST_COMPUTED * extension.height * extension.width
        if tiles and not wanted and (model.reach or 0) > FAR and _computed(*tiles) > most:
            tiles = self.exact(model, extension, streams=streams, area=max(area, budget // per_pixel))
        if tiles:
            return Exact(model, extension, *tiles)
        needed = extension.extended_height * extension.extended_width * per_pixel
        if not self.size and (needed <= budget or not (wanted or model.checkpoint)):
            return Whole(model, extension)
        if model.checkpoint is None:
            raise _needs_whole(model, "leave tilesize= and memory_mb= out")
        return self._staged(
            model, extension, plan_stages(model.checkpoint, cache), model.bytes_per_pixel, budget, streams
        )

    def exact(
        self, model: Model, extension: Extension, *, streams: int, area: int
    ) -> tuple[ExactTiles, ExactTiles] | None:
        """Return rows and columns of tiles that give exactly the whole picture's result; None if the model has none.

        Args:
            model, extension, streams: as in `way`.
            area: most pixels of a tile, margin included, if the caller chose no size; `memory_mb` may lower it.

        Raises:
            InvalidInput: tiles of the chosen size would consist of margins only, or the memory limit is too low for
                the smallest tiles.
        """
        reach, bytes_per_pixel = model.reach, model.bytes_per_pixel
        if reach is None or bytes_per_pixel is None or (reach > FURTHEST and model.checkpoint is not None):
            return None
        height, width = extension.height, extension.width
        if self.size:
            shared = [max(2 * reach, o) for o in self.overlap or (0, 0)]
            if any(size <= s for size, s in zip(self.size, shared, strict=True)):
                raise InvalidInput(f"each side of tilesize must be more than {2 * reach} for {model.name}.")
            rows, columns = (
                -(-side // (size - s)) for side, size, s in zip((height, width), self.size, shared, strict=True)
            )
        else:
            if self.memory_mb:
                bytes_per_pixel *= streams + 1
                room = self.memory_mb * MEBIBYTE // bytes_per_pixel
                area = min(area, room)
                if room < min(SMALLEST_TILE**2, extension.extended_height * extension.extended_width):
                    least = -(-(SMALLEST_TILE**2) * bytes_per_pixel // MEBIBYTE)
                    raise InvalidInput(f"memory_mb is {self.memory_mb}; the smallest tiles need {least}.")
            rows, columns = tile_counts(height, width, reach=reach, area=area)
        return exact_tiles_of(extension, reach, rows, columns)

    def _staged(
        self, model: Model, extension: Extension, plan: Plan, bytes_per_pixel: int, budget: int, streams: int
    ) -> Way:
        most = 1 if plan.is_long else streams
        shared = max(self.overlap or (0,))
        grid = Grid(step=WHOLE_WINDOWS.step if plan.has_windows else BLOCK, reach=max(plan.reach, -(-shared // 2)))
        whole = (extension.extended_height, extension.extended_width)
        if self.size:
            height, width = (
                min(side, max(grid.smallest, grid.side_within(size)))
                for side, size in zip(whole, self.size, strict=True)
            )
            return Staged(model, extension, plan, grid, height=height, width=width, frames=most)
        kept = whole[0] * whole[1] * plan.kept_channels * FLOAT
        if not plan.is_long:
            bytes_per_pixel *= len(plan.stages)
        least = kept + min(grid.smallest, whole[0]) * min(grid.smallest, whole[1]) * bytes_per_pixel
        if self.memory_mb and budget < least:
            raise InvalidInput(
                f"memory_mb is {self.memory_mb}; {model.name} needs {-(-least // MEBIBYTE)} for a frame of this size."
            )
        frames = min(most, max(1, budget // least))
        height, width = grid.sizes(*whole, area=(budget // frames - kept) // bytes_per_pixel)
        return Staged(model, extension, plan, grid, height=height, width=width, frames=frames)

    def _blended(self, model: Model, extension: Extension) -> Way:
        whole = (extension.extended_height, extension.extended_width)
        size = model.sizes.fixed
        if size is None:
            size = whole if self.size is None else model.sizes.at_least(*map(min, self.size, whole))
        if size == whole:
            return Whole(model, extension)
        if model.sight == "statistics":
            log.warning(
                "%s computes statistics of the whole picture; each tile has its own, so seams may show. %s",
                model.name,
                "Export it without a size." if model.sizes.fixed else "Leave tilesize= out, or use larger tiles.",
            )
        if model.sight == "whole":
            raise _needs_whole(model, "export it without a size" if model.sizes.fixed else "leave tilesize= out")
        rows, columns = (
            blended_tiles(pixels, size=side, overlap=min(shared, side // 2), scale=model.scale)
            for pixels, side, shared in zip(whole, size, self.overlap or (BLENDED_OVERLAP,) * 2, strict=True)
        )
        return Blended(model, extension, rows, columns)


def _computed(rows: ExactTiles, columns: ExactTiles) -> int:
    """Return the number of pixels of all tiles together, margins included."""
    return rows.size * len(rows.parts) * columns.size * len(columns.parts)


def _needs_whole(model: Model, otherwise: str) -> InvalidInput:
    return InvalidInput(
        f"{model.name} looks at the whole frame, and an ONNX file cannot be cut into stages for tiles: "
        f"give its checkpoint as model=, or {otherwise}."
    )
