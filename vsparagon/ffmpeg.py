"""Find ffmpeg, and build the options for what a y4m pipe from vspipe does not carry.

The pipe's header lacks matrix, primaries, transfer, range, sample aspect ratio and chroma location. Whoever encodes
from it has to give all of them on ffmpeg's command line.
"""

import importlib
import re
import shutil
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from fractions import Fraction
from typing import Final

from vsparagon.errors import ParagonError

LARGEST_RATIO: Final = 65535  # largest number of a sample aspect ratio in H.264 and HEVC
PATIENCE: Final = 60  # seconds until an ffmpeg that does not answer is given up
_BANNERS: Final = ("Svt[", "x265 [")  # how the encoders' own messages begin
# Frame property -> (ffmpeg's option, what to add to VapourSynth's number, VapourSynth's number for "unspecified").
# Matrix, primaries and transfer are code points of ITU-T H.273 in both; ffmpeg counts the others from one.
_OPTIONS: Final[dict[str, tuple[str, int, int | None]]] = {
    "_Matrix": ("-colorspace", 0, 2),
    "_Primaries": ("-color_primaries", 0, 2),
    "_Transfer": ("-color_trc", 0, 2),
    "_Range": ("-color_range", 1, None),
    "_ChromaLocation": ("-chroma_sample_location", 1, None),
}


def find_ffmpegs() -> list[str]:
    """Return the paths of all ffmpegs found: the one on PATH first, then the one in the package imageio-ffmpeg.

    Raises:
        ParagonError: there is none.
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
    """Return the path of the first ffmpeg found, for when any will do.

    Raises:
        ParagonError: there is none.
    """
    return find_ffmpegs()[0]


def ffmpeg_version(program: str) -> str:
    """Return the version that an ffmpeg reports, for example "7.1".

    Raises:
        ParagonError: it does not run, or reports no version.
    """
    words = answer_of(program, "-version").removeprefix("ffmpeg version ").split(maxsplit=1)
    if not words:
        raise ParagonError(f"{program} does not report its version; install another ffmpeg")
    return words[0]


def answer_of(program: str, *question: str) -> str:
    """Return what an ffmpeg prints to stdout when it is run with these arguments.

    Raises:
        ParagonError: it does not run, fails, or does not end within `PATIENCE` seconds.
    """
    try:
        return subprocess.run(
            [program, *question], capture_output=True, text=True, errors="replace", check=True, timeout=PATIENCE
        ).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise ParagonError(f"{program} does not run ({error}); install another ffmpeg") from error


def lines_said(log: bytes) -> list[str]:
    """Return the lines that an ffmpeg wrote to stderr, without prefixes, full stops and the encoders' banners."""
    lines = log.decode(errors="replace").splitlines()
    said = [re.sub(r"^(\[[^]]*\] )+", "", line).strip().rstrip(".") for line in lines]
    return [line for line in said if line and not line.startswith(_BANNERS)]


def colour_arguments(props: Mapping[str, object]) -> list[str]:
    """Return the ffmpeg options that label a picture with the colours in its frame properties.

    Put them before the pipe's `-i` and again before the output's name. Given for the output only, ffmpeg 9 assumes
    another source and converts the picture; given for the input only, ffmpeg 4 drops them. Given twice, both versions
    write the labels and leave the samples unchanged.

    Args:
        props: properties of a frame in the pipe's format. Those that are missing or unspecified give no option.
    """
    arguments: list[str] = []
    for name, (option, offset, unspecified) in _OPTIONS.items():
        value = props.get(name)
        if isinstance(value, int) and value != unspecified:
            arguments += [option, str(value + offset)]
    return arguments


def sample_aspect_ratio(props: Mapping[str, object]) -> Fraction | None:
    """Return the ratio in a frame's properties `_SARNum` and `_SARDen`; None if it is unknown."""
    across, down = props.get("_SARNum"), props.get("_SARDen")
    if not isinstance(across, int) or not isinstance(down, int) or across < 1 or down < 1:
        return None
    return Fraction(across, down)


def aspect_arguments(props: Mapping[str, object]) -> list[str]:
    """Return the output option that sets the sample aspect ratio, or nothing if it is unknown.

    It is a filter: ffmpeg's option for the display aspect ratio rounds to numbers below 256.

    Args:
        props: properties of a frame in the pipe's format; `_SARNum` and `_SARDen` are used.
    """
    ratio = sample_aspect_ratio(props)
    return [] if ratio is None else ["-vf", f"setsar={ratio.numerator}/{ratio.denominator}:max={LARGEST_RATIO}"]
