"""Frames through a device: their memory, their streams and their order.

A lane is room on the device for one frame, and a stream, on which the way up, the work and the way down are queued;
while one lane's frame is copied, another's is computed. Frames are copied through staging buffers, of pinned memory:
there are more of them than lanes, so that a lane has the next frame queued while the processor copies the last. All is
allocated once, and buffers when so many are needed. `vsparagon.backends.executor` says what does the work.
"""

from __future__ import annotations

import gc
import logging
import queue
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import cycle
from typing import Any

import numpy.typing as npt
import torch

from vsparagon.backends.base import FrameBackend
from vsparagon.backends.executor import Executor
from vsparagon.errors import (
    OUT_OF_MEMORY,
    BackendFailure,
    OutOfDeviceMemory,
    ParagonError,
    first_line_of,
    runtime_failure,
)
from vsparagon.layout import INPUTS, OUTPUTS

log = logging.getLogger(__name__)

Plane = npt.NDArray[Any]
Shapes = Sequence[tuple[tuple[int, ...], torch.dtype]]

# One thread at a time queues work, or opens graphs: whatever another queues on a stream whose work is being recorded
# becomes part of the recording. That stream may be this lane's, whose frames go on while further colours are opened, or
# another filter's, as torch has only 32 streams for all.
QUEUING = threading.Lock()


class Lane:
    """Room on a device for one frame. Work is queued by one thread at a time.

    Args:
        device: as torch names it.
        inputs, outputs: shape and type of each plane.

    Attributes:
        inputs, outputs: tensors, by the names that executors know.
    """

    def __init__(self, device: str, inputs: Shapes, outputs: Shapes) -> None:
        self._device = torch.device(device)
        self._cuda = self._device.type == "cuda"
        self._stream: Any = None
        if self._cuda:
            self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call, unused-ignore]
        self._done = Mark(device)
        with self.current():
            self.inputs = dict(zip(INPUTS, (torch.zeros(s, dtype=t, device=device) for s, t in inputs), strict=False))
            self.outputs = dict(
                zip(OUTPUTS, (torch.zeros(s, dtype=t, device=device) for s, t in outputs), strict=False)
            )

    @contextmanager
    def current(self) -> Iterator[None]:
        """Make this lane's device and stream the current ones; nothing on a CPU."""
        if not self._cuda:
            yield
            return
        # The device first: what a stream alone restores would begin to use device 0 as well.
        with torch.cuda.device(self._device), torch.cuda.stream(self._stream):
            yield

    def finish(self) -> None:
        """Return when all that was queued on this lane is done."""
        with self.current():
            self._done.set()
        self._done.wait()


class Mark:
    """A place in what was queued on a device's current stream; nothing on a CPU."""

    def __init__(self, device: str) -> None:
        self._event: Any = None
        if torch.device(device).type == "cuda":
            self._event = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call, unused-ignore]

    def set(self) -> None:
        """Put it behind all that was queued so far."""
        if self._event:
            self._event.record(torch.cuda.current_stream())

    def wait(self) -> None:
        """Return when all before it is done; other threads run meanwhile."""
        if self._event:
            self._event.synchronize()


class Staging:
    """Pinned memory for one frame on its way to a device and back. One thread at a time.

    Args:
        device, inputs, outputs: as those of the lanes.
    """

    def __init__(self, device: str, inputs: Shapes, outputs: Shapes) -> None:
        pinned = torch.device(device).type == "cuda"
        self._up, self._down = (
            [torch.zeros(shape, dtype=dtype, pin_memory=pinned) for shape, dtype in shapes]
            for shapes in (inputs, outputs)
        )
        self._sources, self._results = ([_samples(tensor) for tensor in side] for side in (self._up, self._down))
        self._back = Mark(device)

    def load(self, planes: Sequence[Plane]) -> None:
        for samples, plane in zip(self._sources, planes, strict=True):
            samples[:] = plane

    def queue(self, lane: Lane, executor: Executor) -> None:
        """Queue the frame's way through a lane."""
        with lane.current():
            for tensor, pinned in zip(lane.inputs.values(), self._up, strict=True):
                tensor.copy_(pinned, non_blocking=True)
            executor.enqueue()
            for pinned, tensor in zip(self._down, lane.outputs.values(), strict=True):
                pinned.copy_(tensor, non_blocking=True)
            self._back.set()

    def unload(self, planes: Sequence[Plane]) -> None:
        """Write the result into planes, as soon as it is there."""
        self._back.wait()
        for plane, samples in zip(planes, self._results, strict=True):
            plane[:] = samples


class Lanes:
    """The lanes of one filter, and the ways to them: sessions for several colour descriptions share all.

    Args:
        backend: says where.
        count: of lanes.
        in_flight: frames that are on their way at once, each through a staging buffer of its own.
        inputs, outputs: shape and type of each plane.
    """

    def __init__(self, backend: FrameBackend, count: int, in_flight: int, inputs: Shapes, outputs: Shapes) -> None:
        with QUEUING, device_errors(backend.place):
            self.every = [Lane(backend.device, inputs, outputs) for _ in range(count)]
            buffers = [Staging(backend.device, inputs, outputs) for _ in range(count)]
        self._turns = cycle(self.every)
        self._more = in_flight - count  # buffers that are made when they are needed: pinned memory is dear
        self._counting = threading.Lock()
        self._device, self._shapes = backend.device, (inputs, outputs)
        self._free: queue.SimpleQueue[Staging] = queue.SimpleQueue()
        for staging in buffers:
            self._free.put(staging)

    @contextmanager
    def staging(self) -> Iterator[Staging]:
        """Lend a staging buffer; waits while all that there may be are taken."""
        try:
            staging = self._free.get_nowait()
        except queue.Empty:
            staging = self._made() or self._free.get()
        try:
            yield staging
        finally:
            self._free.put(staging)

    def _made(self) -> Staging | None:
        """Return another buffer, None if there may be no more."""
        with self._counting:
            if not self._more:
                return None
            self._more -= 1
        try:
            with QUEUING:
                return Staging(self._device, *self._shapes)
        except RuntimeError as error:  # what the device lacks otherwise, the frames that are on their way will tell
            with self._counting:
                self._more = 0
            log.warning("not computing more frames at once, for lack of memory: %s", first_line_of(error))
            return None

    def next(self) -> Lane:
        """Return the lane whose turn it is. The caller holds `QUEUING`."""
        return next(self._turns)


class FrameSession:
    """A frame graph opened on every lane. `enlarge` may be called from several threads.

    Args:
        backend: opens the graph.
        graph: what its `prepare` returned.
        lanes: whose planes are those of the graph.

    Raises:
        OutOfDeviceMemory: the device has not enough memory.
        BackendFailure: the runtime refused the graph.
    """

    def __init__(self, backend: FrameBackend, graph: Any, lanes: Lanes) -> None:
        self._place, self._lanes = backend.place, lanes
        self._executors: dict[Lane, Executor] = {}
        with QUEUING, device_errors(backend.place):
            for lane in lanes.every:
                with lane.current():
                    self._executors[lane] = backend.open_executor(graph, lane.inputs, lane.outputs)
                lane.finish()

    def enlarge(self, source: Sequence[Plane], target: Sequence[Plane]) -> None:
        """Write the enlarged frame.

        Args:
            source: its planes, H,W each, in the samples of its format.
            target: those of the result; written.

        Raises:
            BackendFailure: the runtime or the device failed.
        """
        with device_errors(self._place), self._lanes.staging() as staging:
            staging.load(source)
            with QUEUING:
                lane = self._lanes.next()
                staging.queue(lane, self._executors[lane])
            staging.unload(target)


def lack_of_memory(error: BaseException) -> BaseException | None:
    """Return the lack of memory behind an error of torch, if that is what is behind it.

    Lack of memory while work is recorded makes the end of the recording fail, too.
    """
    for behind in (error, error.__context__):
        # cuDNN, cuBLAS, Triton and the start of a graph say it in errors of other kinds.
        if isinstance(behind, torch.OutOfMemoryError) or (
            isinstance(behind, RuntimeError) and OUT_OF_MEMORY.search(str(behind))
        ):
            return behind
    return None


def release_memory() -> None:
    """Give back to the GPU what torch keeps for later. The caller holds `QUEUING`."""
    gc.collect()
    torch.cuda.empty_cache()


@contextmanager
def device_errors(place: str) -> Iterator[None]:
    """Turn what torch raises about a device into one sentence.

    Args:
        place: the device, for people.
    """
    try:
        yield
    except ParagonError:
        raise
    except RuntimeError as error:
        failure = runtime_failure(f"{place} failed: {first_line_of(lack_of_memory(error) or error)}")
        if isinstance(failure, OutOfDeviceMemory):
            raise failure from error
        # CUDA answers every later call of this process with the same error.
        raise BackendFailure(f"{failure}; restart the application. A driver update needs that, too.") from error


def _samples(tensor: torch.Tensor) -> Plane:
    """Return the samples that lie in a tensor of the CPU, H,W, in its memory; pairs of bytes as 16-bit numbers."""
    array = tensor.numpy()
    return array.view("<u2")[..., 0] if array.ndim == 3 else array
