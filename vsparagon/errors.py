"""The errors of vsparagon: one base class, and one subclass for each case a caller may want to handle differently.

`vsparagon.plugin` turns every `ParagonError` into a `vapoursynth.Error`. The message is one line that says what was
given and, after a semicolon, what is expected or what to do.
"""

import re
from numbers import Integral
from pathlib import Path
from typing import Final

OUT_OF_MEMORY: Final = re.compile(
    "out[ _]?of[ _]?memory|failed to allocate memory|alloc(ation)?_failed|insufficient gpu memory", re.IGNORECASE
)


class ParagonError(Exception):
    """Base class of every error that vsparagon raises on purpose."""


class InvalidInput(ParagonError, ValueError):
    """An argument or a clip that cannot be used as given."""


class ModelError(ParagonError, ValueError):
    """A model that is unknown, damaged or of an unsupported design."""


class BackendUnavailable(ParagonError, RuntimeError):
    """A backend, or an optional package, that is missing, too old or unusable on this machine."""


class BackendFailure(ParagonError, RuntimeError):
    """A backend that is installed but failed while loading a model or computing."""


class OutOfDeviceMemory(BackendFailure):
    """A device that does not have enough memory for the requested work."""


class EncodeFailure(ParagonError, RuntimeError):
    """A failure that ended an encode: of ffmpeg, the disk or the input. Finished segments are kept."""


class DecodingFailure(EncodeFailure):
    """A frame of the input that BestSource could not decode."""


def runtime_failure(message: str) -> BackendFailure:
    """Return a runtime's error message as an exception: `OutOfDeviceMemory` if it reports a lack of memory."""
    if OUT_OF_MEMORY.search(message):
        return OutOfDeviceMemory(
            f"{message}; close other programs that use the GPU, or set num_streams=1 or tilesize=."
        )
    return BackendFailure(message)


def reason_of(error: BaseException) -> str:
    """Return the last non-empty line of a library's error: libraries put the location first and the reason last."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


def printable(text: str) -> str:
    """Return a text with everything that UTF-8 cannot encode, such as parts of some file names, replaced by "?"."""
    return text.encode(errors="replace").decode()


def check_integers(**values: object) -> None:
    """Check that arguments, given by their names, are integers.

    Raises:
        InvalidInput: one is not.
    """
    for name, value in values.items():
        if not isinstance(value, Integral):
            raise InvalidInput(f"{name} is {value!r}; give an integer.")


def check_name(path: Path) -> None:
    """Raise InvalidInput if a path is not valid UTF-8: VapourSynth and libvips could not open it."""
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise InvalidInput(
            f"the name of {printable(str(path))} is not UTF-8; rename the file, or link to it."
        ) from error


def first_line_of(error: BaseException) -> str:
    """Return the first line of an error of torch or Triton: the reason. Hints for kernel developers follow it."""
    return str(error).strip().partition("\n")[0] or type(error).__name__
