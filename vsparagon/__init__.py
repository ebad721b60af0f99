"""ParagonSR2 and MUNet video upscaling for VapourSynth.

The names below are loaded on first use, so that `import vsparagon` costs nothing and pulls in no runtime.
"""

from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from vsparagon.errors import BackendFailure, BackendUnavailable, InvalidInput, ModelError, ParagonError
    from vsparagon.filter import upscale
    from vsparagon.upscaler import Upscaler

__all__ = [
    "BackendFailure",
    "BackendUnavailable",
    "InvalidInput",
    "ModelError",
    "ParagonError",
    "Upscaler",
    "__version__",
    "upscale",
]

_HOMES = {
    "BackendFailure": "vsparagon.errors",
    "BackendUnavailable": "vsparagon.errors",
    "InvalidInput": "vsparagon.errors",
    "ModelError": "vsparagon.errors",
    "ParagonError": "vsparagon.errors",
    "Upscaler": "vsparagon.upscaler",
    "upscale": "vsparagon.filter",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    value: object = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
