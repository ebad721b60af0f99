"""Frames in flight: several at once, bounded, in order."""

from __future__ import annotations

from collections.abc import Callable

import vapoursynth as vs

from vsparagon.errors import ParagonError

FrameFunction = Callable[[vs.VideoFrame], vs.VideoFrame]


def map_frames(source: vs.VideoNode, blank: vs.VideoNode, function: FrameFunction, in_flight: int) -> vs.VideoNode:
    """Return a clip of `blank`'s format whose frames are `function` of those of `source`.

    VapourSynth runs the callback of one ModifyFrame node for one frame at a time, so the clip is dealt out over
    `in_flight` nodes and interleaved again: that many frames run at once and no more, whatever is requested.

    Args:
        source: the clip that `function` reads.
        blank: gives format, size, length and rate of the result; its frames are never made.
        function: called from several threads at once.
        in_flight: at least 1.
    """
    lanes = min(in_flight, len(source))

    def call(n: int, f: vs.VideoFrame) -> vs.VideoFrame:  # noqa: ARG001  (VapourSynth names them)
        try:
            return function(f)
        except ParagonError as error:  # VapourSynth shows a traceback: a short one, with the message at its end
            raise vs.Error(f"paragon.Upscale: {error}") from None

    if lanes == 1:
        return passing(blank.std.ModifyFrame([source], call))
    dealt = [passing(blank[lane::lanes].std.ModifyFrame([source[lane::lanes]], call)) for lane in range(lanes)]
    return passing(vs.core.std.Interleave(dealt))


def passing(clip: vs.VideoNode) -> vs.VideoNode:
    """Return a clip none of whose frames VapourSynth is to keep: each is asked for once, and they are large."""
    clip.std.SetVideoCache(mode=0)
    return clip
