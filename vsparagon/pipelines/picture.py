"""Upscale pictures, given as arrays, on the CPU: open a model for one picture size. Independent of VapourSynth."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import ClassVar, Literal

import numpy as np

from vsparagon.backends.base import PictureBackend
from vsparagon.choice import Choice
from vsparagon.colours.layout import LUMA_OF_RGB, Plane
from vsparagon.geometry.extension import extension_for
from vsparagon.tiles.choice import TileChoice
from vsparagon.tiles.planning import plan_tiles
from vsparagon.tiles.runners import open_runner


class PicturePipeline:
    """A model opened for pictures of one size. Thread-safe.

    A network with one channel is run on the planes of RGB one after the other. A network for RGB takes a single plane
    for a gray picture, and the plane that it returns is the luma of its result.

    Args:
        choice: what to run; its backend must be a `PictureBackend`.
        height, width: of the source pictures, in pixels.
        tiles: the caller's choice of tiles; None for the default.
        gray: whether pictures are single planes instead of RGB.
        steps: number of equal steps from black to white in their samples, at most 255; 0 if they are finer.

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

    def __init__(
        self,
        choice: Choice,
        *,
        height: int,
        width: int,
        tiles: TileChoice | None = None,
        gray: bool = False,
        steps: int = 0,
    ) -> None:
        assert isinstance(choice.backend, PictureBackend)
        model, options = choice.model, choice.options
        if gray and model.foldable and choice.backend.folds:
            model = replace(model, channels=1)
        self.scale = model.scale
        self.extension = extension_for(height, width, model.sizes)
        self._runner = open_runner(
            plan_tiles(tiles or TileChoice(), model, self.extension, streams=options.streams, cache=options.cache),
            model,
            self.extension,
            backend=choice.backend,
            precision=choice.precision,
            options=options,
            steps=steps,
        )
        self.tiling, self.in_flight = self._runner.tiling, self._runner.in_flight
        self._channels = model.channels

    def open_pictures(self) -> Callable[[Sequence[Plane], Sequence[Plane]], None]:
        """Return `enlarge`, for which the constructor has opened everything."""
        return self.enlarge

    def enlarge(self, source: Sequence[Plane], target: Sequence[Plane]) -> None:
        """Upscale a picture, float32.

        Args:
            source: red, green and blue, or a single plane; each H,W, nominal range 0..1.
            target: as many planes, each scale*H,scale*W, to write to; not clamped.

        Raises:
            BackendFailure: the runtime failed.
        """
        if len(source) < self._channels:
            colours = np.empty((self._channels, *target[0].shape), np.float32)
            self._runner.enlarge([*source] * self._channels, list(colours))
            np.einsum("c,chw->hw", LUMA_OF_RGB, colours, out=target[0])
            return
        for first in range(0, len(source), self._channels):
            planes = slice(first, first + self._channels)
            self._runner.enlarge(source[planes], target[planes])
