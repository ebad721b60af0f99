"""The errors of vsparagon: one base, and one class for each answer a caller may want to give.

`vsparagon.plugin` turns every `ParagonError` into a `vapoursynth.Error`. Its message is one line that says
what was given, what is wanted and what to do.
"""

import re
from pathlib import Path
from typing import Final

OUT_OF_MEMORY: Final = re.compile(
    "out[ _]?of[ _]?memory|failed to allocate memory|alloc(ation)?_failed|insufficient gpu memory", re.IGNORECASE
)


class ParagonError(Exception):
    """Base of every error that vsparagon raises on purpose."""


class InvalidInput(ParagonError, ValueError):
    """An argument or a clip that cannot be used as given."""


class ModelError(ParagonError, ValueError):
    """A model that is unknown, damaged or of an unsupported design."""


class BackendUnavailable(ParagonError, RuntimeError):
    """A backend whose packages, driver or device are missing on this machine."""


class BackendFailure(ParagonError, RuntimeError):
    """A backend that is present but failed while loading a model or computing."""


class OutOfDeviceMemory(BackendFailure):
    """The device has not enough memory for what was asked of it."""


class EncodeFailure(ParagonError, RuntimeError):
    """Something that ended an encode: ffmpeg, the disk, the input. What is finished is kept."""


def runtime_failure(message: str) -> BackendFailure:
    """Return the error for what a runtime says: of lack of memory, if that is what it says."""
    if OUT_OF_MEMORY.search(message):
        return OutOfDeviceMemory(
            f"{message}; close other programs that use the GPU, or set num_streams=1 or tilesize=."
        )
    return BackendFailure(message)


def reason_of(error: BaseException) -> str:
    """Return the last filled line of a foreign error: libraries put the place first and the reason last."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


def printable(text: str) -> str:
    """Return a text that may hold names of files which are no UTF-8, as UTF-8 can write it."""
    return text.encode(errors="replace").decode()


def check_name(path: Path) -> None:
    """Raise InvalidInput for the name of a file that VapourSynth and libvips, which know UTF-8 alone, cannot open."""
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise InvalidInput(
            f"the name of {printable(str(path))} is not UTF-8; rename the file, or link to it."
        ) from error


def first_line_of(error: BaseException) -> str:
    """Return the first line of an error of torch or Triton: the reason; advice for those who write kernels follows."""
    return str(error).strip().partition("\n")[0] or type(error).__name__
