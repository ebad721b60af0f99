"""CUDA graphs: the work of a frame, recorded once and started as one."""

from __future__ import annotations

import gc
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from vsparagon.backends.executor import Executor
from vsparagon.errors import OutOfDeviceMemory

log = logging.getLogger(__name__)


class Recorded(Executor):
    """A CUDA graph of an executor's work: one launch for all of its kernels, and no allocation.

    Args:
        executor: whose work is recorded, on the stream that is current.
        pool: whose memory the work takes; None for its own.
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
    """Keep Python from collecting garbage: a graph or a kernel that is freed meanwhile would spoil the recording."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@contextmanager
def exact_convolutions() -> Iterator[None]:
    """Let cuDNN try which kernels are fastest, but none of TensorFloat-32, which would round the colours to 10 bits."""
    cudnn = torch.backends.cudnn
    if not hasattr(cudnn, "conv"):  # as before torch 2.9, whose way newer ones refuse where somebody uses theirs
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
    """Return an executor of another library recorded; as it is where the library does things that graphs cannot hold.

    Args:
        executor: has run once.
        name: what it runs, for the log.
    """
    try:
        return Recorded(executor)
    except (OutOfDeviceMemory, torch.OutOfMemoryError):
        raise
    except RuntimeError as error:
        log.warning("%s cannot be captured as a CUDA graph and is launched separately for each frame: %s", name, error)
        return executor
