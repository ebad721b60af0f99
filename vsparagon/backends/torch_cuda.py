"""torch on an NVIDIA GPU: each lane replays a CUDA graph, of torch's kernels or of our own, whichever is faster."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor

from vsparagon.backends.base import FrameBackend, RunOptions
from vsparagon.backends.device import QUEUING, Lane, release_memory
from vsparagon.backends.executor import Executor
from vsparagon.backends.recorded import Recorded
from vsparagon.layout import Layout
from vsparagon.models.frame import FrameNetwork

log = logging.getLogger(__name__)

Maker = Callable[[FrameNetwork, dict[str, Tensor], dict[str, Tensor]], Executor]

ROUNDS: Final = 3  # of a trial, of which the best counts
TURNS: Final = 10  # frames of a round
# Of full range, between two ways of computing noise in float16; real pictures differ far less, and wrong ones far more.
AGREEMENT: Final = 1 / 32


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A frame graph on the device, and what runs it."""

    frame: FrameNetwork
    maker: Maker


class TorchCuda(FrameBackend):
    """torch on one device.

    Args:
        device: as torch names it; the CPU, too, for tests.
        place: the device, for people.
    """

    name = "torch"
    extra = "torch"
    precisions = ("fp16", "fp32")

    def __init__(self, device: str, place: str) -> None:
        self.device, self.place = device, place
        self._is_gpu = torch.device(device).type == "cuda"
        self._pools: dict[int, Any] = {}
        self._maker: Maker | None = None

    def prepare(self, frame: FrameNetwork, run: RunOptions) -> Prepared:
        for weight in frame.parameters():
            if weight.dtype == torch.float16 and weight.dim() == 4:
                weight.data = weight.contiguous(memory_format=torch.channels_last)
        frame.to(self.device)
        return Prepared(frame=frame, maker=self._maker_for(frame) if self._is_gpu else Eager)

    def open_executor(self, graph: Prepared, inputs: dict[str, Tensor], outputs: dict[str, Tensor]) -> Executor:
        return self._recorded(graph.maker(graph.frame, inputs, outputs))

    def _recorded(self, executor: Executor) -> Executor:
        if not self._is_gpu:
            return executor
        stream = torch.cuda.current_stream().cuda_stream
        # Graphs of one lane never run at once, so those of several colour descriptions share memory.
        return Recorded(executor, self._pools.setdefault(stream, torch.cuda.graph_pool_handle()))

    def _maker_for(self, frame: FrameNetwork) -> Maker:
        """Return what runs frames of this network; tried out once, on the first that our kernels can run."""
        from vsparagon.fused.trouble import trouble_with_kernels

        if why := trouble_with_kernels(frame, torch.device(self.device)):
            log.info("%s: by torch's kernels, as %s", frame.name, why)
            return Eager
        if self._maker is None:
            from vsparagon.fused.executor import FusedExecutor

            self._maker = faster(frame, self.device, FusedExecutor, self._recorded)
            release_memory()
        return self._maker


class Eager(Executor):
    """Calls the module: torch's own kernels."""

    def __init__(self, frame: FrameNetwork, inputs: dict[str, Tensor], outputs: dict[str, Tensor]) -> None:
        self._frame, self._inputs, self._outputs = frame, list(inputs.values()), list(outputs.values())

    def enqueue(self) -> None:
        with torch.inference_mode():
            for output, result in zip(self._outputs, self._frame(self._inputs), strict=True):
                output.copy_(result)


def faster(frame: FrameNetwork, device: str, ours: Maker, recorded: Callable[[Executor], Executor]) -> Maker:
    """Try both ways out on noise and return the faster one; torch's, with a warning, where they do not agree.

    Args:
        frame: on the device.
        device: as torch names it.
        ours: makes an executor of our kernels.
        recorded: makes of an executor what is replayed.

    Raises:
        RuntimeError: what torch raises about a device, for our kernels.
    """
    with QUEUING:
        lane = Lane(device, frame.inputs(), frame.outputs())
        with lane.current():
            for plane in lane.inputs.values():
                _fill(plane, frame.source)
            own = recorded(ours(frame, lane.inputs, lane.outputs))
        own_result = _result(lane, own, frame.target)
        try:
            with lane.current():
                other = recorded(Eager(frame, lane.inputs, lane.outputs))
        except torch.OutOfMemoryError:
            log.info("%s: by our kernels, as torch's need more memory than there is", frame.name)
            return ours
        difference = max(
            float((a - b).abs().max()) for a, b in zip(own_result, _result(lane, other, frame.target), strict=True)
        )
        rounds = [(_seconds(lane, own), _seconds(lane, other)) for _ in range(ROUNDS)]
    if not difference <= AGREEMENT:
        log.warning(
            "%s: our kernels are wrong by %.2g of full range on this GPU; torch's are used. Please report this, with "
            "the versions of torch, triton and the driver.", frame.name, difference,
        )  # fmt: skip
        return Eager
    own_time, other_time = (1000 * min(times) for times in zip(*rounds, strict=True))
    chosen, name = (ours, "our") if own_time < other_time else (Eager, "torch's")
    log.info("%s: by %s kernels: ours take %.2f ms, torch's %.2f ms", frame.name, name, own_time, other_time)
    return chosen


def _fill(plane: Tensor, layout: Layout) -> None:
    """Write noise into a plane."""
    if layout.is_float:
        plane.uniform_()
    else:
        plane.random_(256)
        if layout.bits > 8:
            plane[..., 1] >>= 16 - layout.bits


def _result(lane: Lane, executor: Executor, layout: Layout) -> list[Tensor]:
    """Return the planes that an executor makes, as parts of full range."""
    with lane.current():
        for plane in lane.outputs.values():
            plane.zero_()
        executor.enqueue()
        planes = [plane.to(torch.float32) for plane in lane.outputs.values()]
        if not layout.is_float:
            peak = (1 << layout.bits) - 1
            planes = [(p[..., 0] + 256 * p[..., 1] if layout.bits > 8 else p) / peak for p in planes]
    lane.mark()
    lane.wait()
    return planes


def _seconds(lane: Lane, executor: Executor) -> float:
    """Return the time of a frame."""
    begin = time.perf_counter()
    with lane.current():
        for _ in range(TURNS):
            executor.enqueue()
    lane.mark()
    lane.wait()
    return (time.perf_counter() - begin) / TURNS
