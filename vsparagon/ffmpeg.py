"""ffmpeg beside VapourSynth: which program to run, and the options that a y4m pipe cannot carry.

A y4m header says neither matrix, primaries, transfer nor range, and vspipe writes neither pixel shape nor
chroma location into it. Whoever encodes from such a pipe has to say all of them on ffmpeg's command line.
"""

import importlib
import shutil
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

from vsparagon.errors import ParagonError

PATIENCE: Final = 60  # seconds, for an answer
# Frame property -> (ffmpeg's option, what to add to VapourSynth's number, the number for "unspecified").
# Matrix, primaries and transfer are code points of ITU-T H.273 in both; ffmpeg counts the others from one.
_OPTIONS: Final[dict[str, tuple[str, int, int | None]]] = {
    "_Matrix": ("-colorspace", 0, 2),
    "_Primaries": ("-color_primaries", 0, 2),
    "_Transfer": ("-color_trc", 0, 2),
    "_Range": ("-color_range", 1, None),
    "_ChromaLocation": ("-chroma_sample_location", 1, None),
}


def find_ffmpegs() -> list[str]:
    """Return the ffmpegs that there are: the one on PATH, and the one that the package imageio-ffmpeg brings.

    Raises:
        ParagonError: there is neither.
    """
    found = [program] if (program := shutil.which("ffmpeg")) else []
    with suppress(ImportError, RuntimeError):
        found.append(str(importlib.import_module("imageio_ffmpeg").get_ffmpeg_exe()))
    if not found:
        raise ParagonError(
            "there is no ffmpeg on PATH; install one, or run `pip install imageio-ffmpeg`, which includes one"
        )
    return found


def find_ffmpeg() -> str:
    """Return the ffmpeg to run where any will do.

    Raises:
        ParagonError: there is none.
    """
    return find_ffmpegs()[0]


def ffmpeg_version(program: str) -> str:
    """Return what an ffmpeg calls its version.

    Raises:
        ParagonError: it does not run, or tells none.
    """
    words = answer_of(program, "-version").removeprefix("ffmpeg version ").split(maxsplit=1)
    if not words:
        raise ParagonError(f"{program} does not report its version; install another ffmpeg")
    return words[0]


def answer_of(program: str, *question: str) -> str:
    """Return what an ffmpeg prints.

    Raises:
        ParagonError: it does not run, or does not end.
    """
    try:
        return subprocess.run(
            [program, *question], capture_output=True, text=True, errors="replace", check=True, timeout=PATIENCE
        ).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise ParagonError(f"{program} does not run ({error}); install another ffmpeg") from error


def colour_arguments(props: Mapping[str, object]) -> list[str]:
    """Return the options that label a picture with the colours its frame properties name.

    They belong before the pipe's `-i` and again before the output's name. Given for the output alone, ffmpeg
    9 takes them as a wish and converts the picture, which it believes to be something else; given for the
    input alone, ffmpeg 4 drops them. Given twice, both write the labels and leave the values as they are.

    Args:
        props: Properties of a frame in the pipe's format. What they lack, or call unspecified, stays unsaid.
    """
    arguments: list[str] = []
    for name, (option, offset, unspecified) in _OPTIONS.items():
        value = props.get(name)
        if isinstance(value, int) and value != unspecified:
            arguments += [option, str(value + offset)]
    return arguments


def aspect_arguments(props: Mapping[str, object], width: int, height: int) -> list[str]:
    """Return the output option that gives the picture its shape on the screen, or none for square pixels.

    Args:
        props: Properties of a frame in the pipe's format.
        width: Of that frame, in pixels.
        height: Of that frame, in pixels.
    """
    across, down = props.get("_SARNum"), props.get("_SARDen")
    if not isinstance(across, int) or not isinstance(down, int) or across < 1 or down < 1 or across == down:
        return []
    return ["-aspect", f"{width * across}:{height * down}"]
