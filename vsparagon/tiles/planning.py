"""Plan the tiles of a picture, from the model, the picture's size and the caller's choice."""

from __future__ import annotations

import logging
from pathlib import Path

from vsparagon.errors import InvalidInput
from vsparagon.geometry.extension import WHOLE_WINDOWS, Extension
from vsparagon.geometry.tiling import BLOCK, Grid, blended_tiles, exact_tiles_of, tile_counts
from vsparagon.models.model import Model
from vsparagon.models.plan import FURTHEST, Plan
from vsparagon.onnx.graph_cache import plan_stages
from vsparagon.system.machine import MEBIBYTE, available_memory
from vsparagon.tiles.choice import SMALLEST_TILE, TileChoice
from vsparagon.tiles.tilings import BlendedTiling, ExactTiling, StagedTiling, Tiling, WholeTiling

log = logging.getLogger(__name__)

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


def plan_tiles(choice: TileChoice, model: Model, extension: Extension, *, streams: int, cache: Path) -> Tiling:
    """Return how to divide pictures of one size for a model on the CPU.

    Args:
        choice: the caller's.
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
        if choice.memory_mb:
            raise InvalidInput(
                f"memory_mb cannot be used with {model.name}, whose memory use is not known; use tilesize= instead."
            )
        return _blended(choice, model, extension)
    budget = (choice.memory_mb or available_memory() // SHARE) * MEBIBYTE
    per_pixel = model.bytes_per_pixel * (streams + 1)
    area = max(FAST_AREA, FAST_MEMORY // per_pixel)
    tiles = exact_tiling(choice, model, extension, streams=streams, area=area)
    most = MOST_COMPUTED * extension.height * extension.width
    if tiles and (model.reach or 0) > FAR and _computed(tiles) > most:
        tiles = exact_tiling(choice, model, extension, streams=streams, area=max(area, budget // per_pixel))
    if tiles:
        return tiles
    needed = extension.extended_height * extension.extended_width * per_pixel
    if not choice.size and (needed <= budget or not (choice.memory_mb or model.checkpoint)):
        return _whole(extension)
    if model.checkpoint is None:
        raise _needs_whole(model, "leave tilesize= and memory_mb= out")
    plan = plan_stages(model.checkpoint, cache)
    return _staged(choice, model, extension, plan, budget=budget, streams=streams)


def exact_tiling(
    choice: TileChoice, model: Model, extension: Extension, *, streams: int, area: int
) -> ExactTiling | None:
    """Return tiles that give exactly the whole picture's result; None if the model has none.

    Args:
        choice, model, extension, streams: as in `plan_tiles`.
        area: most pixels of a tile, margin included, if the caller chose no size; `memory_mb` may lower it.

    Raises:
        InvalidInput: tiles of the chosen size would consist of margins only, or the memory limit is too low for
            the smallest tiles.
    """
    reach, bytes_per_pixel = model.reach, model.bytes_per_pixel
    if reach is None or bytes_per_pixel is None or (reach > FURTHEST and model.checkpoint is not None):
        return None
    height, width = extension.height, extension.width
    if choice.size:
        shared = [max(2 * reach, o) for o in choice.overlap or (0, 0)]
        if any(size <= s for size, s in zip(choice.size, shared, strict=True)):
            raise InvalidInput(f"each side of tilesize must be more than {2 * reach} for {model.name}.")
        rows, columns = (
            -(-side // (size - s)) for side, size, s in zip((height, width), choice.size, shared, strict=True)
        )
    else:
        if choice.memory_mb:
            bytes_per_pixel *= streams + 1
            room = choice.memory_mb * MEBIBYTE // bytes_per_pixel
            area = min(area, room)
            smallest = min(SMALLEST_TILE**2, extension.extended_height * extension.extended_width)
            if room < smallest:
                least = -(-smallest * bytes_per_pixel // MEBIBYTE)
                raise InvalidInput(f"memory_mb is {choice.memory_mb}; the smallest tiles need {least}.")
        rows, columns = tile_counts(height, width, reach=reach, area=area)
    row_tiles, column_tiles = exact_tiles_of(extension, reach, rows, columns)
    return ExactTiling(rows=row_tiles, columns=column_tiles)


def _staged(
    choice: TileChoice, model: Model, extension: Extension, plan: Plan, *, budget: int, streams: int
) -> StagedTiling:
    """Return tiles for the stages of a model.

    Args:
        choice, model, extension, streams: as in `plan_tiles`.
        plan: the stages.
        budget: most memory to use if the caller chose no size of tiles, in bytes.

    Raises:
        InvalidInput: the smallest tiles need more memory than the caller allows.
    """
    assert model.bytes_per_pixel is not None
    most = 1 if plan.is_long else streams
    shared = max(choice.overlap or (0,))
    grid = Grid(step=WHOLE_WINDOWS.step if plan.has_windows else BLOCK, reach=max(plan.reach, -(-shared // 2)))
    whole = (extension.extended_height, extension.extended_width)
    if choice.size:
        height, width = (
            min(side, max(grid.smallest, grid.side_within(size))) for side, size in zip(whole, choice.size, strict=True)
        )
        return StagedTiling(plan=plan, grid=grid, height=height, width=width, frames=most)
    kept = whole[0] * whole[1] * plan.kept_channels * FLOAT
    bytes_per_pixel = model.bytes_per_pixel * (1 if plan.is_long else len(plan.stages))
    least = kept + min(grid.smallest, whole[0]) * min(grid.smallest, whole[1]) * bytes_per_pixel
    if choice.memory_mb and budget < least:
        raise InvalidInput(
            f"memory_mb is {choice.memory_mb}; {model.name} needs {-(-least // MEBIBYTE)} for a frame of this size."
        )
    frames = min(most, max(1, budget // least))
    height, width = grid.sizes(*whole, area=(budget // frames - kept) // bytes_per_pixel)
    return StagedTiling(plan=plan, grid=grid, height=height, width=width, frames=frames)


def _blended(choice: TileChoice, model: Model, extension: Extension) -> WholeTiling | BlendedTiling:
    whole = (extension.extended_height, extension.extended_width)
    size = model.sizes.fixed
    if size is None:
        size = whole if choice.size is None else model.sizes.at_least(*map(min, choice.size, whole))
    if size == whole:
        return _whole(extension)
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
        for pixels, side, shared in zip(whole, size, choice.overlap or (BLENDED_OVERLAP,) * 2, strict=True)
    )
    return BlendedTiling(rows=rows, columns=columns)


def _whole(extension: Extension) -> WholeTiling:
    return WholeTiling(height=extension.extended_height, width=extension.extended_width)


def _computed(tiling: ExactTiling) -> int:
    """Return the number of pixels of all tiles together, margins included."""
    return tiling.height * len(tiling.rows.parts) * tiling.width * len(tiling.columns.parts)


def _needs_whole(model: Model, otherwise: str) -> InvalidInput:
    return InvalidInput(
        f"{model.name} looks at the whole frame, and an ONNX file cannot be cut into stages for tiles: "
        f"give its checkpoint as model=, or {otherwise}."
    )
