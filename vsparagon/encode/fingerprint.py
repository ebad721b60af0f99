"""What decides an encode's pictures, apart from the job. Machines that agree on it make the same pictures."""

from __future__ import annotations

from collections.abc import Iterable

import vapoursynth as vs

from vsparagon import __version__
from vsparagon.choice import Choice
from vsparagon.ffmpeg import ffmpeg_version


def fingerprint(clip: vs.VideoNode, choices: Iterable[Choice], program: str) -> dict[str, str]:
    """Return the facts of this machine that decide the result, by their names for people.

    Args:
        clip: the upscaled clip.
        choices: what `vsparagon.choice.noted_choices` recorded while the clip was opened.
        program: path of ffmpeg.

    Raises:
        ParagonError: ffmpeg does not run or does not report its version.
    """
    return {
        "output": f"{clip.num_frames} frames of {clip.width}x{clip.height}",
        "computed by": computed_by(choices),
        "vsparagon": __version__,
        "ffmpeg": ffmpeg_version(program),
    }


def computed_by(choices: Iterable[Choice]) -> str:
    """Return which networks were opened, on which backend and in which precision.

    The device and the number of streams are left out: they do not change the result.
    """
    return "; ".join(f"{choice.model.name} on {choice.backend.name}, {choice.precision}" for choice in choices)
