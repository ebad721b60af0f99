"""torch's eager mode on the CPU."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import numpy as np
import torch

from vsparagon.backends.base import PictureBackend
from vsparagon.backends.options import BuildOptions, RunOptions
from vsparagon.backends.session import Session, Slot, StageSlot, stage_session
from vsparagon.errors import BackendFailure, BackendUnavailable
from vsparagon.models.checkpoint import load_generator
from vsparagon.models.inference import InferenceForm, inference_form
from vsparagon.models.model import Model
from vsparagon.models.plan import Plan
from vsparagon.models.stages import StageModule, cut
from vsparagon.system.forks import check_process

_process = 0  # the first one in which this module opened a network


class _TorchSlot(Slot):
    def __init__(self, network: torch.nn.Module, scale: int, build: BuildOptions, threads: int) -> None:
        self._network = network
        self._threads = threads
        self.input = np.zeros((1, 3, build.height, build.width), np.float32)
        self.output = np.zeros((1, 3, build.height * scale, build.width * scale), np.float32)

    def run(self) -> None:
        with _computing(self._threads):
            x = torch.from_numpy(self.input).contiguous(memory_format=torch.channels_last)
            self.output = self._network(x).contiguous().numpy()


class _TorchStageSlot(StageSlot):
    def __init__(self, part: StageModule, plan: Plan, index: int, build: BuildOptions, threads: int) -> None:
        self._part, self._threads = part, threads
        shapes = plan.input_shapes(index, build.height, build.width)
        self.inputs = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}

    def run(self) -> None:
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
    if torch.get_num_threads() != threads:  # torch keeps a number per calling thread
        torch.set_num_threads(threads)
    try:
        with torch.inference_mode():
            yield
    except RuntimeError as error:
        raise BackendFailure(f"torch failed while running the network: {error}") from error


def _check_first_process() -> None:
    """Check that no network was opened before this process was forked: torch's threads are the same for all of them.

    Raises:
        BackendFailure: one was.
    """
    global _process
    _process = _process or os.getpid()
    check_process(_process)


class TorchCpu(PictureBackend):
    """torch on the CPU, channels-last. Runs checkpoints only."""

    name = "torch"
    precisions = ("fp32",)

    def open(self, model: Model, build: BuildOptions, run: RunOptions) -> Session[Slot]:
        if model.checkpoint is None:
            raise BackendUnavailable(
                f"the backend 'torch' runs checkpoints, and {model.name} is an ONNX file; "
                'use backend="openvino" or backend="onnxruntime".'
            )
        _check_first_process()
        network = inference_form(load_generator(model.checkpoint)).to(memory_format=torch.channels_last)
        threads = max(1, run.threads // run.streams)
        return Session([_TorchSlot(network, model.scale, build, threads) for _ in range(run.streams)])

    def open_stages(self, plan: Plan, build: BuildOptions, run: RunOptions) -> list[Session[StageSlot]]:
        _check_first_process()
        form = inference_form(load_generator(plan.checkpoint)).to(memory_format=torch.channels_last)
        assert isinstance(form, InferenceForm)
        threads = max(1, run.threads // run.streams)
        return [
            stage_session(plan, run, partial(_TorchStageSlot, part, plan, index, build, threads))
            for index, part in enumerate(cut(form))
        ]
