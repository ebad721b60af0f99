"""Microsoft's ONNX Runtime.

cpu.py       its CPU provider
cuda.py      its CUDA provider
library.py   imports it with its telemetry off
"""

from __future__ import annotations

from vsparagon.backends.base import EitherRuntime, FrameBackend, PictureBackend
from vsparagon.device.gpus import torch_trouble
from vsparagon.extras import trouble_without


class OnnxRuntime(EitherRuntime):
    """ONNX Runtime, by its CUDA provider where a GPU works."""

    name = "onnxruntime"
    title = "ONNX Runtime"
    extra = "onnxruntime"

    def missing(self) -> str:
        return trouble_without("onnxruntime", extra=self.extra)

    def cpu(self, why: str = "") -> PictureBackend:
        from vsparagon.backends.onnxruntime.cpu import OnnxRuntimeCpu

        return OnnxRuntimeCpu(why)

    def trouble_with(self, device_id: int) -> str:
        if missing := trouble_without("onnx", "torch", extra="onnxruntime-gpu") or torch_trouble(device_id):
            return missing
        from vsparagon.backends.onnxruntime.cuda import provider_trouble

        return provider_trouble(device_id)

    def gpu(self, device: str, place: str) -> FrameBackend:
        from vsparagon.backends.onnxruntime.cuda import OnnxRuntimeCuda

        return OnnxRuntimeCuda(device, place)
