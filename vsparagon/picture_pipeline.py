"""Picture in, picture out, on the CPU: opens a model for pictures of one size. Knows no VapourSynth."""

from __future__ import annotations

from collections.abc import Sequence

from vsparagon.backends.base import PictureBackend
from vsparagon.layout import Plane
from vsparagon.runtime import Runtime
from vsparagon.tiles.choice import TileChoice
from vsparagon.tiles.extension import extension_for


class PicturePipeline:
    """A model opened for pictures of one size. `enlarge` may be called from several threads.

    A network for one plane is run on one after the other.

    Args:
        runtime: what to run.
        height, width: of the pictures.
        tiles: what the caller wants of tiles.

    Attributes:
        in_flight: calls of `enlarge` that make progress at once; more of them wait.

    Raises:
        InvalidInput: the model cannot be run on the tiles that are wanted.
        BackendFailure: the runtime refused the model.
    """

    def __init__(self, runtime: Runtime, *, height: int, width: int, tiles: TileChoice | None = None) -> None:
        model = runtime.model
        self.scale = model.scale
        self.extension = extension_for(height, width, model.sizes)
        options = runtime.options
        self.way = (tiles or TileChoice()).way(model, self.extension, streams=options.streams, cache=options.cache)
        assert isinstance(runtime.backend, PictureBackend)
        self.way.open(runtime.backend, runtime.precision, options)
        self.in_flight = self.way.in_flight
        self._channels = model.channels

    def enlarge(self, source: Sequence[Plane], target: Sequence[Plane]) -> None:
        """Write the enlarged picture.

        Args:
            source: red, green and blue, each H,W, nominal range 0..1; any planes for a network that takes one.
            target: the same, each scale*H,scale*W; written, not clamped.

        Raises:
            BackendFailure: the runtime failed.
        """
        for first in range(0, len(source), self._channels):
            planes = slice(first, first + self._channels)
            self.way.enlarge(source[planes], target[planes])
