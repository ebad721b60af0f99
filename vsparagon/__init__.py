"""Neural video upscaling for VapourSynth, by ParagonSR2 and Swift networks.

The way of a frame, and of a model to what runs it:

    clip -> plugin -> filter -> frames (to RGB) -> stream -> picture_pipeline (tiles, backends) -> frames -> clip
    clip -> plugin -> filter -> stream -> frame_pipeline (models.frame, backends.device, fused) -> clip     on a GPU
    name or file -> library, model_file (receptive_field), checkpoint (recognise) -> models -> export (onnx) -> graph
    graph -> engines -> backends.tensorrt

`input`, `encode`, `preview`, `compare` and `image` are what the command line (`cli`) builds on that; `training` makes
weights.
The names below are loaded on first use, so that `import vsparagon` costs nothing and pulls in no runtime.
"""

from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from vsparagon.errors import (
        BackendFailure,
        BackendUnavailable,
        InvalidInput,
        ModelError,
        OutOfDeviceMemory,
        ParagonError,
    )
    from vsparagon.filter import upscale
    from vsparagon.upscaler import Upscaler

__all__ = [
    "BackendFailure",
    "BackendUnavailable",
    "InvalidInput",
    "ModelError",
    "OutOfDeviceMemory",
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
    "OutOfDeviceMemory": "vsparagon.errors",
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
