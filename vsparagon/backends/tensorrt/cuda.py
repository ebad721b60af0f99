"""Frame graphs as engines, built once per GPU and cached."""

from __future__ import annotations

import hashlib
import logging
from typing import TYPE_CHECKING

from vsparagon.backends.base import FrameBackend
from vsparagon.backends.options import RunOptions
from vsparagon.device.executor import Executor
from vsparagon.device.gpus import driver_version, gpus
from vsparagon.engines.build import BUILD_REVISION, TensorRTLibrary, build_engine
from vsparagon.engines.cache import EngineCache, EngineKey
from vsparagon.errors import BackendFailure, OutOfDeviceMemory

if TYPE_CHECKING:
    import torch

    from vsparagon.backends.tensorrt.executor import Engine
    from vsparagon.models.frame import FrameNetwork

log = logging.getLogger(__name__)


class TensorRTCuda(FrameBackend):
    """TensorRT or TensorRT-RTX on one GPU.

    Args:
        library: the loaded library.
        device_id: number of the GPU.
    """

    precisions = ("fp16", "fp32")

    def __init__(self, library: TensorRTLibrary, device_id: int) -> None:
        self.name = library.name
        self._library, self._gpu = library, gpus()[device_id]
        super().__init__(f"cuda:{device_id}", f"cuda:{device_id} ({self._gpu.name})")

    def prepare(self, frame: FrameNetwork, run: RunOptions) -> Engine:
        import torch

        from vsparagon.backends.tensorrt.executor import Engine
        from vsparagon.device.lanes import QUEUING
        from vsparagon.onnx.export import frame_onnx
        from vsparagon.onnx.foreign import computes_half

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
        from vsparagon.device.recorded import recorded_if_possible

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


def _title(frame: FrameNetwork) -> str:
    """Return an engine's description, for people: network, picture size and format."""
    source, extension = frame.source, frame.extension
    return f"{frame.name} for {extension.width}x{extension.height} {source.family} of {source.bits} bit"
