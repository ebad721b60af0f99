"""What decides an encode's pictures beside its job: two machines that agree in it make the same."""

from __future__ import annotations

from collections.abc import Iterable

import vapoursynth as vs

from vsparagon import __version__
from vsparagon.ffmpeg import ffmpeg_version
from vsparagon.runtime import Runtime


def environment(clip: vs.VideoNode, choices: Iterable[Runtime], program: str) -> dict[str, str]:
    """Return what decides the result beside the job: on other machines it may be something else.

    Args:
        clip: what is encoded.
        choices: what `vsparagon.runtime.noted_choices` noted while it was opened.
        program: ffmpeg.
    """
    return {
        "output": f"{clip.num_frames} frames of {clip.width}x{clip.height}",
        "computed by": computed_by(choices),
        "vsparagon": __version__,
        "ffmpeg": ffmpeg_version(program),
    }


def computed_by(choices: Iterable[Runtime]) -> str:
    """Return which networks were opened, on which backend and in which precision.

    On which device, and how many frames at once, does not decide the result.
    """
    return "; ".join(f"{choice.model.name} on {choice.backend.name}, {choice.precision}" for choice in choices)
