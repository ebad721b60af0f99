"""NVIDIA's TensorRT and TensorRT-RTX.

cuda.py       frame graphs as engines (`vsparagon.engines`), on a GPU
executor.py   runs an engine
"""

from __future__ import annotations

from typing import Final

from vsparagon.backends.base import FrameBackend, Runtime
from vsparagon.device.gpus import cached_unless_out_of_memory, gpus, torch_trouble
from vsparagon.engines.build import LIBRARIES, load_library
from vsparagon.errors import BackendUnavailable
from vsparagon.extras import trouble_without

PACKAGES: Final = ("filelock", "onnx", "safetensors", "torch")
# Compute capability. TensorRT-RTX supports 7.5, too, but slowly and without float32 matrix products.
OLDEST: Final = {"tensorrt": (7, 5), "tensorrt_rtx": (8, 0)}


class TensorRT(Runtime):
    """TensorRT or TensorRT-RTX, on GPUs only.

    Args:
        library: one of `LIBRARIES`.
    """

    def __init__(self, library: str) -> None:
        self.name, self.extra = library, LIBRARIES[library]

    def missing(self) -> str:
        if not gpus():
            return "no NVIDIA GPU was found; if this machine has one, install its driver"
        return trouble_without(self.name, *PACKAGES, extra=self.extra)

    def on(self, device_id: int) -> FrameBackend:
        if trouble := torch_trouble(device_id) or library_trouble(self.name, device_id):
            raise BackendUnavailable(trouble)
        from vsparagon.backends.tensorrt.cuda import TensorRTCuda

        return TensorRTCuda(load_library(self.name), device_id)


@cached_unless_out_of_memory
def library_trouble(name: str, device_id: int) -> str:
    """Return why a library cannot be used on a GPU that torch can use, or "" if it can."""
    try:
        library = load_library(name)
    except BackendUnavailable as error:
        return str(error)
    gpu = gpus()[device_id]
    version = ".".join(map(str, gpu.capability))
    trouble = f"{gpu.name} has compute capability {version}, which {name} {library.version} does not support"
    known = getattr(library.module, "ComputeCapability", None)  # TensorRT-RTX lists what it supports
    if known and f"SM{version.replace('.', '')}" not in known.__members__:
        return trouble
    if gpu.capability < OLDEST[name]:
        return f"{trouble} in full" if known else trouble
    try:
        library.module.Runtime(library.logger)
    except (RuntimeError, TypeError) as error:  # TypeError: how the binding reports that there is no runtime
        return str(library.failure("does not run here", str(error)))
    return ""
