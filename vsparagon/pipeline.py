"""RGB in, enlarged RGB out, whatever the backend takes: pictures as arrays, or frames on a device."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vsparagon.backends.base import FrameBackend
from vsparagon.picture_pipeline import PicturePipeline
from vsparagon.runtime import Runtime
from vsparagon.tiles.choice import TileChoice

if TYPE_CHECKING:
    from vsparagon.frame_pipeline import FramePipeline

type AnyPipeline = PicturePipeline | FramePipeline


def open_pipeline(runtime: Runtime, *, height: int, width: int, tiles: TileChoice | None = None) -> AnyPipeline:
    """Return a pipeline of pictures or of frames, whatever the runtime's backend takes; both enlarge RGB.

    Args:
        runtime: what to run.
        height, width: of the pictures or frames.
        tiles: what the caller wants of tiles.

    Raises:
        InvalidInput, BackendUnavailable, BackendFailure: as the pipelines say.
    """
    if isinstance(runtime.backend, FrameBackend):
        from vsparagon.frame_pipeline import FramePipeline  # needs torch

        return FramePipeline(runtime, height=height, width=width, tiles=tiles)
    return PicturePipeline(runtime, height=height, width=width, tiles=tiles)
