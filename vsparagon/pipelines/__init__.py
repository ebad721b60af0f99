"""From source to result, independent of VapourSynth: open the pipeline that suits a backend.

picture.py   pictures as arrays, on the CPU
frame.py     frames on a device, with their colours
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vsparagon.backends.base import FrameBackend
from vsparagon.choice import Choice
from vsparagon.pipelines.picture import PicturePipeline
from vsparagon.tiles.choice import TileChoice

if TYPE_CHECKING:
    from vsparagon.pipelines.frame import FramePipeline

type AnyPipeline = PicturePipeline | FramePipeline


def open_pipeline(
    choice: Choice, *, height: int, width: int, tiles: TileChoice | None = None, gray: bool = False, steps: int = 0
) -> AnyPipeline:
    """Return the pipeline for the chosen backend. Both kinds upscale pictures with their method `enlarge`.

    Args:
        choice: what to run.
        height, width: of the source pictures or frames, in pixels.
        tiles: the caller's choice of tiles; None for the default.
        gray: whether `enlarge` takes and returns single planes instead of RGB.
        steps: number of equal steps from black to white in the samples of the source, at most 255; 0 if they are finer.

    Raises:
        InvalidInput, ModelError, BackendUnavailable, BackendFailure: as the pipelines document.
    """
    if isinstance(choice.backend, FrameBackend):
        from vsparagon.pipelines.frame import FramePipeline  # needs torch

        return FramePipeline(choice, height=height, width=width, tiles=tiles, gray=gray)
    return PicturePipeline(choice, height=height, width=width, tiles=tiles, gray=gray, steps=steps)
