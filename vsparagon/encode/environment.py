"""What decides an encode's pictures beside its job: two machines that agree in it make the same."""

from __future__ import annotations

from collections.abc import Iterable

import vapoursynth as vs

from vsparagon import __version__
from vsparagon.ffmpeg import ffmpeg_version
from vsparagon.runtime import choice_in


def environment(clip: vs.VideoNode, messages: Iterable[str], program: str) -> dict[str, str]:
    """Return what decides the result beside the job: on other machines it may be something else.

    Args:
        clip: what is encoded.
        messages: what `vsparagon.log.collected_log` collected while it was opened.
        program: ffmpeg.
    """
    return {
        "output": f"{clip.num_frames} frames of {clip.width}x{clip.height}",
        "computed by": choices(messages),
        "vsparagon": __version__,
        "ffmpeg": ffmpeg_version(program),
    }


def choices(messages: Iterable[str]) -> str:
    """Return which networks were opened, on which backend and in which precision."""
    return "; ".join(filter(None, map(choice_in, messages)))
