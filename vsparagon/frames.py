"""Frames as planes of samples."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import vapoursynth as vs

from vsparagon.colours.layout import AnyPlane
from vsparagon.errors import InvalidInput, reason_of


def first_frame(clip: vs.VideoNode) -> vs.VideoFrame:
    """Return frame 0.

    Raises:
        InvalidInput: the frame cannot be produced.
    """
    try:
        return clip.get_frame(0)
    except vs.Error as error:
        raise InvalidInput(f"the first frame cannot be made: {reason_of(error)}") from error


def planes(frame: vs.VideoFrame) -> list[AnyPlane]:
    """Return the planes of a frame as H,W arrays that share its memory; writable if the frame is."""
    return [np.asarray(frame[i]) for i in range(frame.format.num_planes)]


def frame_function(
    enlarge: Callable[[list[AnyPlane], list[AnyPlane]], None], blank: vs.VideoNode, *, keep: Sequence[str] = ()
) -> Callable[[vs.VideoFrame], vs.VideoFrame]:
    """Return a function that upscales a frame to a new frame.

    Args:
        enlarge: takes the planes of the source, H,W each, and those of the result, which it writes.
        blank: gives the format and size of the result.
        keep: names of the frame properties that the result gets from the source.
    """
    core, shape = vs.core.core, (blank.format, blank.width, blank.height)

    def enlarged(frame: vs.VideoFrame) -> vs.VideoFrame:
        result = core.create_video_frame(*shape)
        enlarge(planes(frame), planes(result))
        for name in keep:
            if name in frame.props:
                result.props[name] = frame.props[name]
        return result

    return enlarged
