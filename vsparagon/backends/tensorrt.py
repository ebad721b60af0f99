"""NVIDIA's TensorRT and TensorRT-RTX: frame graphs as engines, built once per GPU and cached."""

from __future__ import annotations

import hashlib
import logging
from typing import TYPE_CHECKING, Final

from vsparagon.backends.base import Backend, FrameBackend, RunOptions
from vsparagon.backends.cuda import driver_version, gpus, remembered_unless_it_passes
from vsparagon.backends.executor import Executor
from vsparagon.backends.torch import trouble_with
from vsparagon.engines.build import BUILD_REVISION, LIBRARIES, TensorRTLibrary, build_engine, load_library
from vsparagon.engines.cache import EngineCache, EngineKey
from vsparagon.errors import BackendFailure, BackendUnavailable, OutOfDeviceMemory
from vsparagon.extras import trouble_without

if TYPE_CHECKING:
    import torch

    from vsparagon.backends.tensorrt_executor import Engine
    from vsparagon.models.frame import FrameNetwork

log = logging.getLogger(__name__)

PACKAGES: Final = ("filelock", "onnx", "safetensors", "torch")
# Compute capability. TensorRT-RTX supports 7.5, too, but slowly and without float32 matrix products.
OLDEST: Final = {"tensorrt": (7, 5), "tensorrt_rtx": (8, 0)}


class TensorRT(Backend):
    """TensorRT or TensorRT-RTX; `on` returns it on a GPU.

    Args:
        library: one of `LIBRARIES`.
    """

    precisions = ("fp16", "fp32")
    place = "NVIDIA GPU"

    def __init__(self, library: str) -> None:
        self.name, self.extra = library, LIBRARIES[library]

    def missing(self) -> str:
        if missing := trouble_without(self.name, *PACKAGES, extra=self.extra):
            return missing
        return "" if gpus() else "no NVIDIA GPU was found; if this machine has one, install its driver"

    def default_streams(self, threads: int) -> int:
        return 1

    def on(self, device_id: int) -> Backend:
        if trouble := trouble_with(device_id) or _trouble_of_library(self.name, device_id):
            raise BackendUnavailable(trouble)
        return TensorRTCuda(load_library(self.name), device_id)


class TensorRTCuda(FrameBackend):
    """TensorRT or TensorRT-RTX on one GPU.

    Args:
        library: the loaded library.
        device_id: number of the GPU.
    """

    precisions = TensorRT.precisions

    def __init__(self, library: TensorRTLibrary, device_id: int) -> None:
        self.name, self.extra = library.name, LIBRARIES[library.name]
        self._library, self._gpu = library, gpus()[device_id]
        super().__init__(f"cuda:{device_id}", f"cuda:{device_id} ({self._gpu.name})")

    def prepare(self, frame: FrameNetwork, run: RunOptions) -> Engine:
        import torch

        from vsparagon.backends.device import QUEUING
        from vsparagon.backends.tensorrt_executor import Engine
        from vsparagon.export import frame_onnx
        from vsparagon.models.foreign import computes_half

        onnx: bytes = frame_onnx(frame).SerializeToString(deterministic=True)
        half = computes_half(frame.network)
        engines, key, title = EngineCache(run.cache / "engines"), self._key(onnx, half=half), _title(frame)
        kernels = engines.kernels(key, title)
        built = False

        def build() -> bytes:
            nonlocal built
            built = True
            return build_engine(self._library, onnx, name=title, device=self.device)

        with torch.cuda.device(self.device):
            data = engines.get(key, title, build)
            try:
                with QUEUING:
                    return Engine(self._library, data, kernels)
            except OutOfDeviceMemory:
                raise
            except BackendFailure as error:
                if built:
                    raise
                log.warning("the cached engine of %s is not used: %s; building it again", title, error)
            engines.discard(key)
            data = engines.get(key, title, build)
            with QUEUING:
                return Engine(self._library, data, kernels)

    def open_executor(
        self, graph: Engine, inputs: dict[str, torch.Tensor], outputs: dict[str, torch.Tensor]
    ) -> Executor:
        executor = graph.open(inputs, outputs)
        if graph.records_itself or not self.is_gpu:
            return executor
        from vsparagon.backends.recorded import recorded_if_possible

        return recorded_if_possible(executor, f"this engine of {self._library.name}")

    def _key(self, onnx: bytes, *, half: bool) -> EngineKey:
        return EngineKey(
            model=hashlib.sha256(onnx).hexdigest(),
            precision="fp16" if half else "fp32",
            build=BUILD_REVISION,
            library=f"{self._library.name} {self._library.version}",
            gpu=self._gpu.name,
            capability=".".join(map(str, self._gpu.capability)),
            driver=driver_version(),
        )


@remembered_unless_it_passes
def _trouble_of_library(name: str, device_id: int) -> str:
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


def _title(frame: FrameNetwork) -> str:
    """Return an engine's description, for people: network, picture size and format."""
    source, extension = frame.source, frame.extension
    return f"{frame.name} for {extension.width}x{extension.height} {source.family} of {source.bits} bit"
