"""PyTorch on the CPU: runs the checkpoint itself, without ONNX."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np

from vsparagon.backends.base import BuildOptions, PictureBackend, RunOptions, Session, Slot
from vsparagon.errors import BackendFailure, BackendUnavailable
from vsparagon.library import Model

if TYPE_CHECKING:
    import torch


class _TorchSlot(Slot):
    def __init__(self, network: torch.nn.Module, scale: int, build: BuildOptions, threads: int) -> None:
        import torch

        self._torch = torch
        self._network = network
        self._threads = threads
        self.input = np.zeros((1, 3, build.height, build.width), np.float32)
        self.output = np.zeros((1, 3, build.height * scale, build.width * scale), np.float32)

    def run(self) -> None:
        torch = self._torch
        if torch.get_num_threads() != self._threads:  # torch keeps the number for each calling thread
            torch.set_num_threads(self._threads)
        try:
            with torch.inference_mode():
                x = torch.from_numpy(self.input).contiguous(memory_format=torch.channels_last)
                self.output = self._network(x).contiguous().numpy()
        except RuntimeError as error:
            raise BackendFailure(f"torch failed while running the network: {error}") from error


class Torch(PictureBackend):
    """torch's eager mode on the CPU, channels last."""

    name = "torch"
    extra = "torch"
    precisions = ("fp32",)

    def missing(self) -> str:
        missing = [name for name in ("torch", "safetensors") if not find_spec(name)]
        return f'{" and ".join(missing)} not installed; pip install "vsparagon[{self.extra}]"' if missing else ""

    def default_streams(self, threads: int) -> int:
        return threads

    def open(self, model: Model, build: BuildOptions, run: RunOptions) -> Session:
        if model.checkpoint is None:
            raise BackendUnavailable(
                f"the backend 'torch' runs checkpoints, and {model.name} is an ONNX file; "
                'use backend="openvino" or "onnxruntime".'
            )
        import torch

        from vsparagon.checkpoint import load_generator
        from vsparagon.models.inference import inference_form

        network = inference_form(load_generator(model.checkpoint)).to(memory_format=torch.channels_last)
        threads = max(1, run.threads // run.streams)
        return Session([_TorchSlot(network, model.scale, build, threads) for _ in range(run.streams)])
