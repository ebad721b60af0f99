"""Neural video upscaling for VapourSynth, with ParagonSR2 and Swift networks or any super-resolution ONNX file.

How a frame passes through the package, and how a model gets to the code that runs it:

    clip -> plugin -> filter -> chains -> colours (to RGB) -> stream -> pipelines.picture (tiles, backends)
         -> colours (from RGB) -> clip
    clip -> plugin -> filter -> chains -> stream -> pipelines.frame (models.frame, device, fused) -> clip    on a GPU
    name or file -> lookup -> models.bundled, or lookup.model_file -> models.checkpoint -> onnx.graph_cache -> graph
    graph -> engines -> backends.tensorrt

`input`, `encode`, `preview`, `compare` and `image` are the command line's (`cli`) layers on top; `training` produces
weights. The names below are imported on first use, so that `import vsparagon` is cheap and loads no runtime.
"""

from typing import TYPE_CHECKING

from vsparagon.lazy import first_use

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

__getattr__, __dir__ = first_use(
    __name__,
    {
        "BackendFailure": "vsparagon.errors",
        "BackendUnavailable": "vsparagon.errors",
        "InvalidInput": "vsparagon.errors",
        "ModelError": "vsparagon.errors",
        "OutOfDeviceMemory": "vsparagon.errors",
        "ParagonError": "vsparagon.errors",
        "Upscaler": "vsparagon.upscaler",
        "upscale": "vsparagon.filter",
    },
)
