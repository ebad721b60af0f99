"""Picture in, picture out: decides on tiles and opens the model. Knows no VapourSynth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vsparagon.backends.base import BuildOptions, PictureBackend
from vsparagon.errors import InvalidInput
from vsparagon.extend import Extension, extension_for
from vsparagon.library import Model
from vsparagon.runtime import Runtime
from vsparagon.tiling import blended_tiles, exact_tiles, tile_counts
from vsparagon.ways import Blended, Exact, Plane, Way, Whole

SMALLEST = 16
SMALLEST_TILE = 64
# Pixels of a tile that stay in a core's cache from layer to layer: nano needs 20 % less time for them than for a large
# picture, which pays for the borders that are computed twice.
FAST_AREA = 80_000
BLENDED_OVERLAP = 32
BYTES_PER_PIXEL = 1000  # of a tile, in all layers alive at once; 310 were measured for nano, 600 for micro


@dataclass(frozen=True, kw_only=True)
class TileChoice:
    """What the caller wants of tiles; nothing, by default.

    Attributes:
        size: height and width of a tile in source pixels, what it shares with its neighbours included.
        overlap: pixels that neighbours share, along columns and rows.
        memory_mb: most memory that the tiles in flight may take together.
    """

    size: tuple[int, int] | None = None
    overlap: tuple[int, int] | None = None
    memory_mb: int = 0

    def __post_init__(self) -> None:
        if self.size and min(self.size) < SMALLEST_TILE:
            raise InvalidInput(
                f"tilesize is {self.size[1]}x{self.size[0]}; at least {SMALLEST_TILE} each way is needed."
            )
        if self.overlap and (min(self.overlap) < 0 or not self.size):
            raise InvalidInput("overlap goes with tilesize, and is at least 0; give both or leave overlap= out.")
        if self.overlap and self.size and any(2 * o > s for o, s in zip(self.overlap, self.size, strict=True)):
            raise InvalidInput(f"overlap is more than half of tilesize ({self.overlap} of {self.size}, rows first).")
        if self.memory_mb < 0:
            raise InvalidInput(f"memory_mb is {self.memory_mb}; it must be 0 (choose) or more.")

    def way(self, model: Model, extension: Extension, slots: int) -> Way:
        """Return the way for a model and a size of picture.

        Raises:
            InvalidInput: this model cannot be run on the tiles that are wanted.
        """
        if model.reach is not None:
            return self._exact(model, extension, model.reach, slots)
        if self.memory_mb:
            raise InvalidInput(
                f"memory_mb cannot be kept with {model.name}, whose use of memory is not known; use tilesize= instead."
            )
        if model.checkpoint is None:
            return self._blended(model, extension)
        if self.size:
            raise InvalidInput(
                f"{model.name} looks at the whole frame at once: tiles would change the picture; leave tilesize= out."
            )
        return Whole(model, extension)

    def _exact(self, model: Model, extension: Extension, reach: int, slots: int) -> Way:
        needed = 2 * reach
        if self.overlap and min(self.overlap) < needed:
            raise InvalidInput(
                f"overlap is {self.overlap}; {model.name} needs at least {needed}, or leave overlap= out."
            )
        height, width = extension.height, extension.width
        if self.size:
            shared = self.overlap or (needed, needed)
            if any(size <= needed for size in self.size):
                raise InvalidInput(f"tilesize must be more than {needed} each way for {model.name}.")
            rows, columns = (
                -(-side // (size - s)) for side, size, s in zip((height, width), self.size, shared, strict=True)
            )
        else:
            area = FAST_AREA
            if self.memory_mb:
                area = min(area, self.memory_mb * 2**20 // (slots * BYTES_PER_PIXEL))
                if area < SMALLEST_TILE**2:
                    least = -(-(SMALLEST_TILE**2) * slots * BYTES_PER_PIXEL // 2**20)
                    raise InvalidInput(f"memory_mb is {self.memory_mb}; the smallest tiles need {least}.")
            rows, columns = tile_counts(height, width, reach=reach, area=area)
        return Exact(
            model,
            extension,
            exact_tiles(height, extension.extended_height, reach=reach, count=rows),
            exact_tiles(width, extension.extended_width, reach=reach, count=columns),
        )

    def _blended(self, model: Model, extension: Extension) -> Way:
        whole = (extension.extended_height, extension.extended_width)
        size = model.sizes.fixed
        if size is None:
            size = whole if self.size is None else model.sizes.at_least(*map(min, self.size, whole))
        if size == whole:
            return Whole(model, extension)
        rows, columns = (
            blended_tiles(pixels, size=side, overlap=min(shared, side // 2), scale=model.scale)
            for pixels, side, shared in zip(whole, size, self.overlap or (BLENDED_OVERLAP,) * 2, strict=True)
        )
        return Blended(model, extension, rows, columns)


def check_size(height: int, width: int) -> None:
    """Raise InvalidInput unless pictures of this size can be enlarged."""
    if min(height, width) < SMALLEST:
        raise InvalidInput(
            f"the picture is {width}x{height}; at least {SMALLEST}x{SMALLEST} is needed. "
            "Add borders or enlarge it otherwise."
        )


class Pipeline:
    """A model opened for pictures of one size. `enlarge` may be called from several threads.

    A network for one plane is run on red, green and blue in turn.

    Args:
        runtime: what to run.
        height, width: of the pictures, at least 16 each.
        tiles: what the caller wants of tiles.

    Attributes:
        in_flight: calls of `enlarge` that make progress at once; more of them wait.

    Raises:
        InvalidInput: the pictures are too small, or the model cannot be run on the tiles that are wanted.
        BackendFailure: the runtime refused the model.
    """

    def __init__(self, runtime: Runtime, *, height: int, width: int, tiles: TileChoice | None = None) -> None:
        check_size(height, width)
        model = runtime.model
        self.scale = model.scale
        self.extension = extension_for(height, width, model.sizes)
        self.way = (tiles or TileChoice()).way(model, self.extension, runtime.options.streams + 1)
        build = BuildOptions(height=self.way.height, width=self.way.width, precision=runtime.precision)
        assert isinstance(runtime.backend, PictureBackend)
        self._session = runtime.backend.open(model, build, runtime.options)
        self.in_flight = self._session.slots
        self._planes = [slice(first, first + model.channels) for first in range(0, 3, model.channels)]

    def enlarge(self, source: Sequence[Plane], target: Sequence[Plane]) -> None:
        """Write the enlarged picture.

        Args:
            source: red, green and blue, each H,W, nominal range 0..1.
            target: the same, each scale*H,scale*W; written, not clamped.

        Raises:
            BackendFailure: the runtime failed.
        """
        for planes in self._planes:
            self.way.enlarge(self._session, source[planes], target[planes])
