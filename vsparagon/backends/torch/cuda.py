"""torch on an NVIDIA GPU: each lane replays a CUDA graph of torch's kernels or our own, whichever are faster."""

from __future__ import annotations

import logging
from collections.abc import MutableMapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

from vsparagon.backends.base import FrameBackend
from vsparagon.backends.options import RunOptions
from vsparagon.backends.torch.crashes import crash_note, noting_a_crash
from vsparagon.backends.torch.trial import Maker, faster, tell_unfit
from vsparagon.device.executor import Executor
from vsparagon.device.lanes import QUEUING, release_memory
from vsparagon.device.recorded import Recorded
from vsparagon.errors import ParagonError
from vsparagon.models.frame import FrameNetwork

if TYPE_CHECKING:
    from vsparagon.fused.canvas import Room

log = logging.getLogger(__name__)


@dataclass(kw_only=True)
class Prepared:
    """A frame graph on the device, and what runs it.

    Attributes:
        frame: the graph.
        maker: makes a lane's executor; replaced by `Eager`, which uses torch's kernels, if ours fail.
        note: where a crash of our kernels is noted; None where torch's are used.
    """

    frame: FrameNetwork
    maker: Maker
    note: Path | None = None


class TorchCuda(FrameBackend):
    """torch on one device."""

    name = "torch"
    precisions = ("fp16", "fp32")
    runs_graphs = False

    def __init__(self, device: str, place: str) -> None:
        super().__init__(device, place)
        self._pools: dict[int, Any] = {}
        self._rooms: MutableMapping[Tensor, Room] = WeakIdKeyDictionary()  # by the first input of each lane
        self._maker: Maker | None = None
        self._note: Path | None = None  # of a crash

    def prepare(self, frame: FrameNetwork, run: RunOptions) -> Prepared:
        for weight in frame.parameters():
            if weight.dtype == torch.float16 and weight.dim() == 4:
                weight.data = weight.contiguous(memory_format=torch.channels_last)
        with QUEUING:
            frame.to(self.device)
            maker = self._maker_for(frame, run.cache) if self.is_gpu else Eager
            note = None if maker is Eager else self._note
            if maker is Attending:  # one copy for all lanes
                attending = with_our_attention(frame)
                return Prepared(frame=frame, maker=lambda _, *planes: Eager(attending, *planes), note=note)
            return Prepared(frame=frame, maker=maker, note=note)

    def open_executor(self, graph: Prepared, inputs: dict[str, Tensor], outputs: dict[str, Tensor]) -> Executor:
        # Each format has its own kernels, which the trial may not have run.
        noting = noting_a_crash(graph.note, self.device, graph.frame.name) if graph.note else nullcontext()
        try:
            with noting:
                return self._recorded(graph.maker(graph.frame, inputs, outputs))
        except (ParagonError, RuntimeError):
            raise
        except Exception as error:  # errors of Triton share no narrower base
            if graph.note is None:
                raise
            tell_unfit(graph.frame, error)
            graph.maker, graph.note = Eager, None
            return self._recorded(Eager(graph.frame, inputs, outputs))

    def _fused(self, frame: FrameNetwork, inputs: dict[str, Tensor], outputs: dict[str, Tensor]) -> Executor:
        """Make an executor that uses our kernels; it shares memory with the others of its lane."""
        from vsparagon.fused.canvas import Room
        from vsparagon.fused.executor import FusedExecutor

        lane = next(iter(inputs.values()))
        return FusedExecutor(frame, inputs, outputs, self._rooms.setdefault(lane, Room()))

    def _recorded(self, executor: Executor) -> Executor:
        if not self.is_gpu:
            return executor
        stream = torch.cuda.current_stream().cuda_stream
        # Graphs of one lane never run at once, so those of several colour descriptions share memory.
        pool = self._pools.setdefault(stream, torch.cuda.graph_pool_handle())
        try:
            return Recorded(executor, pool)
        except BaseException:
            self._pools.pop(stream, None)  # torch refuses to capture into a pool after a failed capture
            raise

    def _maker_for(self, frame: FrameNetwork, cache: Path) -> Maker:
        """Return what makes executors for this frame graph.

        Our kernels and torch's are compared once, on the first graph that ours can run.
        """
        from vsparagon.fused.support import trouble_with_attention, trouble_with_kernels

        device = torch.device(self.device)
        why = trouble_with_kernels(frame, device)
        if why and trouble_with_attention(frame, device):
            log.info("%s: using torch's kernels, because %s", frame.name, why)
            return Eager
        if self._maker is None:
            self._maker = self._tried(frame, Attending if why else self._fused, cache)
            release_memory()
        return self._maker

    def _tried(self, frame: FrameNetwork, ours: Maker, cache: Path) -> Maker:
        self._note = crash_note(cache, self.device, frame.name)
        if self._note.exists():
            text = (
                "%s: using torch's kernels, because ours crashed on this GPU (to retry: vsparagon cache clear crashes)"
            )
            log.warning(text, frame.name)
            return Eager
        log.info("%s: comparing our kernels with torch's; the first time takes some seconds", frame.name)
        with noting_a_crash(self._note, self.device, frame.name):
            return faster(frame, self.device, ours=ours, torchs=Eager, recorded=self._recorded)


class Eager(Executor):
    """Calls the module, and thus torch's own kernels."""

    def __init__(self, frame: FrameNetwork, inputs: dict[str, Tensor], outputs: dict[str, Tensor]) -> None:
        self._frame, self._inputs, self._outputs = frame, list(inputs.values()), list(outputs.values())

    def enqueue(self) -> None:
        with torch.inference_mode():
            for output, result in zip(self._outputs, self._frame(self._inputs), strict=True):
                output.copy_(result)


class Attending(Eager):
    """Calls the module with our own kernel for attention, and torch's for everything else."""

    def __init__(self, frame: FrameNetwork, inputs: dict[str, Tensor], outputs: dict[str, Tensor]) -> None:
        super().__init__(with_our_attention(frame), inputs, outputs)


def with_our_attention(frame: FrameNetwork) -> FrameNetwork:
    """Return a copy whose attention uses our own kernel. Imports Triton."""
    from vsparagon.fused.attention import with_fused_attention

    return with_fused_attention(frame)
