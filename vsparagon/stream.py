"""Compute several frames of a clip at once: a bounded number, in order."""

from __future__ import annotations

from collections.abc import Callable

import vapoursynth as vs

from vsparagon.errors import ParagonError

FrameFunction = Callable[[vs.VideoFrame], vs.VideoFrame]


def map_frames(source: vs.VideoNode, blank: vs.VideoNode, function: FrameFunction, in_flight: int) -> vs.VideoNode:
    """Return a clip in the format of `blank` whose frames are `function(frame)` of those of `source`.

    VapourSynth runs the callback of a ModifyFrame node for one frame at a time. The clip is therefore distributed over
    `in_flight` nodes and interleaved again, so that never more than that many frames are computed at once.

    Args:
        source: the clip that `function` reads.
        blank: gives format, size, length and frame rate of the result; its frames are never rendered.
        function: called from several threads at once; a `ParagonError` becomes an error of the frame.
        in_flight: frames computed at once, at least 1.
    """
    lanes = min(in_flight, len(source))

    def call(n: int, f: vs.VideoFrame) -> vs.VideoFrame:  # noqa: ARG001  (VapourSynth names them)
        try:
            return function(f)
        except ParagonError as error:  # VapourSynth shows a traceback; "from None" keeps it short, message last
            raise vs.Error(f"paragon.Upscale: {error}") from None

    dealt = [without_cache(blank[lane::lanes].std.ModifyFrame([source[lane::lanes]], call)) for lane in range(lanes)]
    return without_cache(vs.core.std.Interleave(dealt))


def without_cache(clip: vs.VideoNode) -> vs.VideoNode:
    """Return the clip with VapourSynth's frame cache switched off: frames are large, and each is requested once."""
    clip.std.SetVideoCache(mode=0)
    return clip
