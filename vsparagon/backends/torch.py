"""PyTorch on the CPU, which runs the checkpoint itself, without ONNX; for GPUs see `vsparagon.backends.torch_cuda`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from vsparagon.backends.base import BuildOptions, FrameBackend, RunOptions, Session, Slot, StageSlot, stage_session
from vsparagon.backends.cuda import gpus
from vsparagon.backends.either import EitherBackend
from vsparagon.errors import BackendFailure, BackendUnavailable, InvalidInput, first_line_of
from vsparagon.extras import trouble_without
from vsparagon.models.model import Model
from vsparagon.models.plan import Plan

if TYPE_CHECKING:
    import torch

    from vsparagon.models.stages import StageModule


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
        with _computing(self._threads):
            x = torch.from_numpy(self.input).contiguous(memory_format=torch.channels_last)
            self.output = self._network(x).contiguous().numpy()


class _TorchStageSlot(StageSlot):
    def __init__(self, part: StageModule, plan: Plan, index: int, build: BuildOptions, threads: int) -> None:
        self._part, self._threads = part, threads
        shapes = plan.input_shapes(index, build.height, build.width)
        self.inputs = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}

    def run(self) -> None:
        import torch

        with _computing(self._threads):
            given = [torch.from_numpy(array) for array in self.inputs.values()]
            given = [x.contiguous(memory_format=torch.channels_last) for x in given]
            results = self._part.module(given)
            names = self._part.stage.outputs
            self.outputs = {name: x.contiguous().numpy() for name, x in zip(names, results, strict=True)}


@contextmanager
def _computing(threads: int) -> Iterator[None]:
    """Compute without gradients, on this number of threads.

    Raises:
        BackendFailure: torch failed.
    """
    import torch

    if torch.get_num_threads() != threads:  # torch keeps a number per calling thread
        torch.set_num_threads(threads)
    try:
        with torch.inference_mode():
            yield
    except RuntimeError as error:
        raise BackendFailure(f"torch failed while running the network: {error}") from error


class Torch(EitherBackend):
    """torch's eager mode on the CPU, channels-last; `on` returns its GPU form where a GPU works. Runs checkpoints."""

    name = title = "torch"
    extra = "torch"
    precisions = ("fp32",)

    def missing(self) -> str:
        return trouble_without("torch", "safetensors", extra=self.extra)

    def trouble_with(self, device_id: int) -> str:
        return trouble_with(device_id)

    def on_gpu(self, device: str, place: str) -> FrameBackend:
        from vsparagon.backends.torch_cuda import TorchCuda

        return TorchCuda(device, place)

    def open(self, model: Model, build: BuildOptions, run: RunOptions) -> Session[Slot]:
        if model.checkpoint is None:
            raise BackendUnavailable(
                f"the backend 'torch' runs checkpoints, and {model.name} is an ONNX file; "
                'use backend="openvino" or backend="onnxruntime".'
            )
        import torch

        from vsparagon.checkpoint import load_generator
        from vsparagon.models.inference import inference_form

        network = inference_form(load_generator(model.checkpoint)).to(memory_format=torch.channels_last)
        threads = max(1, run.threads // run.streams)
        return Session([_TorchSlot(network, model.scale, build, threads) for _ in range(run.streams)])

    def open_stages(self, plan: Plan, build: BuildOptions, run: RunOptions) -> list[Session[StageSlot]]:
        import torch

        from vsparagon.checkpoint import load_generator
        from vsparagon.models.inference import InferenceForm, inference_form
        from vsparagon.models.stages import cut

        form = inference_form(load_generator(plan.checkpoint)).to(memory_format=torch.channels_last)
        assert isinstance(form, InferenceForm)
        threads = max(1, run.threads // run.streams)
        return [
            stage_session(plan, run, partial(_TorchStageSlot, part, plan, index, build, threads))
            for index, part in enumerate(cut(form))
        ]


def trouble_with(device_id: int) -> str:
    """Return why torch cannot compute on a GPU, or "" if it can.

    Raises:
        InvalidInput: there is no GPU of that number.
    """
    found = gpus()
    if not 0 <= device_id < len(found):
        names = ", ".join(f"{number}: {gpu.name}" for number, gpu in enumerate(found)) or "none"
        raise InvalidInput(f"device_id is {device_id}; the NVIDIA GPUs of this machine are {names}.")
    import torch

    if torch.version.cuda is None:
        return "this torch was built for the CPU only; install one for CUDA (https://pytorch.org/get-started)"
    if not torch.cuda.is_available():
        return f"torch was built for CUDA {torch.version.cuda}, which the driver does not support; update the driver"
    gpu = found[device_id]
    built = [int(arch.rpartition("_")[2].rstrip("af")) for arch in torch.cuda.get_arch_list()]
    oldest = min(built, default=0)
    if gpu.capability < divmod(oldest, 10):
        major, minor = gpu.capability
        return (
            f"{gpu.name} has compute capability {major}.{minor}, and this torch is for {oldest / 10} and later; "
            "install one that was built for it"
        )
    try:
        torch.ones(1, device=f"cuda:{device_id}").item()
    except RuntimeError as error:
        return f"{gpu.name} does not respond: {first_line_of(error)}"
    return ""
