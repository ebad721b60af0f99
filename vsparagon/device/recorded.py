"""CUDA graphs: a frame's work, captured once and launched as a whole."""

from __future__ import annotations

import gc
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from vsparagon.device.executor import Executor
from vsparagon.errors import OutOfDeviceMemory

log = logging.getLogger(__name__)


class Recorded(Executor):
    """A CUDA graph of an executor's work: one launch for all kernels, and no allocation.

    The work is captured on the current stream. The caller holds `vsparagon.device.lanes.QUEUING`.

    Args:
        executor: its work is captured.
        pool: the memory pool that the work uses; None for one of its own.

    Raises:
        RuntimeError: the work cannot be captured, or the device has not enough memory.
    """

    def __init__(self, executor: Executor, pool: Any = None) -> None:
        self._executor = executor  # owns the weights that the graph reads
        self._graph = torch.cuda.CUDAGraph()
        stream = torch.cuda.current_stream()
        with exact_convolutions():
            executor.enqueue()  # chooses kernels and allocates what they keep
            stream.synchronize()
            with (
                no_collection(),
                torch.cuda.graph(self._graph, pool=pool, stream=stream, capture_error_mode="thread_local"),
            ):
                executor.enqueue()

    def enqueue(self) -> None:
        self._graph.replay()


@contextmanager
def no_collection() -> Iterator[None]:
    """Disable garbage collection: freeing a CUDA graph or a kernel during a capture would break it."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@contextmanager
def exact_convolutions() -> Iterator[None]:
    """Let cuDNN benchmark its kernels, but without TensorFloat-32, which would round the colours to 10 bits."""
    cudnn = torch.backends.cudnn
    if not hasattr(cudnn, "conv"):  # before torch 2.9; newer versions refuse the old settings once the new are used
        with cudnn.flags(enabled=True, benchmark=True, allow_tf32=False):
            yield
        return
    before = cudnn.conv.fp32_precision, cudnn.benchmark
    cudnn.conv.fp32_precision, cudnn.benchmark = "ieee", True
    try:
        yield
    finally:
        cudnn.conv.fp32_precision, cudnn.benchmark = before


def recorded_if_possible(executor: Executor, name: str) -> Executor:
    """Capture another library's executor as a CUDA graph; return it unchanged where it cannot be captured.

    Args:
        executor: has run once.
        name: what it runs, for the log.

    Raises:
        OutOfDeviceMemory, torch.OutOfMemoryError: the device has not enough memory.
    """
    try:
        return Recorded(executor)
    except (OutOfDeviceMemory, torch.OutOfMemoryError):
        raise
    except RuntimeError as error:
        log.warning("%s cannot be captured as a CUDA graph and is launched separately for each frame: %s", name, error)
        return executor
