"""Upscale pictures, given as arrays, on the CPU: open a model for one picture size. Independent of VapourSynth."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar, Literal

from vsparagon.backends.base import PictureBackend
from vsparagon.choice import Choice
from vsparagon.colours.layout import Plane
from vsparagon.geometry.extension import extension_for
from vsparagon.tiles.choice import TileChoice
from vsparagon.tiles.planning import plan_tiles
from vsparagon.tiles.runners import open_runner


class PicturePipeline:
    """A model opened for pictures of one size. Thread-safe.

    A network with one channel is run on the planes one after the other.

    Args:
        choice: what to run; its backend must be a `PictureBackend`.
        height, width: of the source pictures, in pixels.
        tiles: the caller's choice of tiles; None for the default.

    Attributes:
        scale: enlargement of both sides.
        extension: of the source pictures.
        tiling: how they are divided.
        in_flight: calls of `enlarge` that make progress at once; further calls wait.
        converts_colours: False: pictures are RGB, or single planes.

    Raises:
        InvalidInput: the model cannot be run in the requested tiles, or the cache folder cannot be written to.
        BackendUnavailable: cutting a checkpoint into stages for the first time needs torch.
        BackendFailure: the runtime refused the model.
    """

    converts_colours: ClassVar[Literal[False]] = False

    def __init__(self, choice: Choice, *, height: int, width: int, tiles: TileChoice | None = None) -> None:
        model = choice.model
        self.scale = model.scale
        self.extension = extension_for(height, width, model.sizes)
        options = choice.options
        assert isinstance(choice.backend, PictureBackend)
        self._runner = open_runner(
            plan_tiles(tiles or TileChoice(), model, self.extension, streams=options.streams, cache=options.cache),
            model,
            self.extension,
            backend=choice.backend,
            precision=choice.precision,
            options=options,
        )
        self.tiling, self.in_flight = self._runner.tiling, self._runner.in_flight
        self._channels = model.channels

    def open_pictures(self) -> Callable[[Sequence[Plane], Sequence[Plane]], None]:
        """Return `enlarge`, for which the constructor has opened everything."""
        return self.enlarge

    def enlarge(self, source: Sequence[Plane], target: Sequence[Plane]) -> None:
        """Upscale a picture, float32.

        Args:
            source: red, green and blue, each H,W, nominal range 0..1; a network with one channel takes any number of
                planes.
            target: as many planes, each scale*H,scale*W, to write to; not clamped.

        Raises:
            BackendFailure: the runtime failed.
        """
        for first in range(0, len(source), self._channels):
            planes = slice(first, first + self._channels)
            self._runner.enlarge(source[planes], target[planes])
