"""What the native library calls: the functions of `core.paragon`, each answered by a Python function.

`call` is the entry. It hands the function back to VapourSynth, which calls it with the arguments that the
script gave and converts its result. See `native/paragon.c` for the way of a call.
"""

import logging
import os
from collections.abc import Callable
from typing import Any, Final

import vapoursynth as vs

from vsparagon.errors import ParagonError, printable

_log = logging.getLogger(__name__)


def version() -> str:
    """Return the version of this package."""
    from vsparagon import __version__

    return __version__


def backends() -> list[str]:
    """Return one line for each backend: its name, and what it runs on or why it cannot be used."""
    from vsparagon.backends import describe

    return describe()


def models() -> list[str]:
    """Return one line for each bundled model."""
    from vsparagon.bundled import describe

    return describe()


def _upscale(**arguments: Any) -> vs.VideoNode:
    from vsparagon.filter import upscale

    for name, value in arguments.items():
        if isinstance(value, bytes):  # what is no UTF-8, as a file's name may be
            arguments[name] = os.fsdecode(value)
    return upscale(**arguments)


# The name in core.paragon, the Python function, and the key of its result as declared in native/paragon.c.
_FUNCTIONS: Final[dict[str, tuple[Callable[..., object], str]]] = {
    "Upscale": (_upscale, "clip"),
    "Version": (version, "version"),
    "Backends": (backends, "backends"),
    "Models": (models, "models"),
}


def call(name: str) -> None:
    """Answer the call of `core.paragon.<name>` that waits on this thread.

    Errors of the function itself reach the script through VapourSynth and are not raised here.

    Raises:
        RuntimeError: The current environment is not the one that called. The message is a finished sentence
            without the function's name, which the native library puts before it.
    """
    try:
        run = vs.core.core.paragon.internal_run
    except (AttributeError, RuntimeError, vs.Error) as error:
        raise RuntimeError(
            f"the Python environment of this thread has no core with this plugin ({error}); "
            "call the filter from the script or environment that owns the core"
        ) from error
    try:
        run(func=_answer(name))
    except vs.Error as error:
        raise RuntimeError(str(error)) from error


def _answer(name: str) -> Callable[..., dict[str, object]]:
    """Wrap the function for VapourSynth: its result under its key, or a one-line message under "error".

    An exception that reached VapourSynth would put a traceback into the message. KeyboardInterrupt and
    SystemExit do go through: VapourSynth raises them again in the script.
    """
    function, key = _FUNCTIONS[name]

    def answer(**arguments: Any) -> dict[str, object]:
        try:
            return {key: function(**arguments)}
        except (ParagonError, vs.Error) as error:
            reason = str(error)
        except Exception as error:
            _log.exception("paragon.%s failed unexpectedly", name)
            reason = f"unexpected {type(error).__name__}: {error}"
        prefix = f"paragon.{name}: "  # already there when the function called itself
        said = " ".join(reason.split()).removeprefix(prefix).replace("\0", "\\0")
        return {"error": prefix + printable(said)}

    return answer
