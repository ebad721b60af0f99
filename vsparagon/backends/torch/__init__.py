"""PyTorch, which runs checkpoints themselves, without ONNX.

cpu.py       its eager mode, on the CPU
cuda.py      CUDA graphs of its kernels or our own, on a GPU
trial.py     chooses between our own kernels (`vsparagon.fused`) and torch's
crashes.py   remembers where our kernels crashed
"""

from __future__ import annotations

from vsparagon.backends.base import EitherRuntime, FrameBackend, PictureBackend
from vsparagon.device.gpus import torch_trouble
from vsparagon.extras import trouble_without


class Torch(EitherRuntime):
    """torch, on a GPU where one works."""

    name = title = "torch"
    extra = "torch"

    def missing(self) -> str:
        return trouble_without("torch", "safetensors", extra=self.extra)

    def cpu(self, why: str = "") -> PictureBackend:
        from vsparagon.backends.torch.cpu import TorchCpu

        return TorchCpu(why)

    def trouble_with(self, device_id: int) -> str:
        return torch_trouble(device_id)

    def gpu(self, device: str, place: str) -> FrameBackend:
        from vsparagon.backends.torch.cuda import TorchCuda

        return TorchCuda(device, place)
