"""The Python side of the native library: each function of `core.paragon` is implemented by a Python function.

`call` is the entry point. It hands that function to VapourSynth, which calls it with the script's arguments and
converts its result. `native/paragon.c` describes the steps of a call.
"""

import logging
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
    """Return one line per backend: its name, and what it runs on or why it cannot be used; then what "auto" chooses."""
    from vsparagon.backends import describe

    return describe()


def models() -> list[str]:
    """Return one line per bundled model, for example "nano x2 clean"."""
    from vsparagon.models.bundled import describe

    return describe()


def _upscale(**arguments: Any) -> vs.VideoNode:
    from vsparagon.filter import upscale

    for name, value in arguments.items():
        if isinstance(value, bytes):  # not UTF-8, for example the name of a file
            arguments[name] = value.decode(errors="surrogateescape")  # on Windows, os.fsdecode would raise
    return upscale(**arguments)


# The name in core.paragon, the Python function, and the key of its result as declared in native/paragon.c.
_FUNCTIONS: Final[dict[str, tuple[Callable[..., object], str]]] = {
    "Upscale": (_upscale, "clip"),
    "Version": (version, "version"),
    "Backends": (backends, "backends"),
    "Models": (models, "models"),
}


def call(name: str) -> None:
    """Answer the call of `core.paragon.<name>` that is waiting on this thread.

    Errors of the function itself reach the script through VapourSynth and are not raised here.

    Args:
        name: "Upscale", "Version", "Backends" or "Models".

    Raises:
        RuntimeError: the current VapourSynth environment is not the one that called. The message is a complete sentence
            without the function's name, which the native library prepends.
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
    """Wrap a function for VapourSynth: it returns its result under its key, or a one-line message under "error".

    If an exception reached VapourSynth, the script's error message would contain a traceback. Only KeyboardInterrupt
    and SystemExit pass: VapourSynth raises them again in the script.
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
        prefix = f"paragon.{name}: "  # already present if the error comes from a nested call of the same function
        said = " ".join(reason.split()).removeprefix(prefix).replace("\0", "\\0")
        return {"error": prefix + printable(said)}

    return answer
