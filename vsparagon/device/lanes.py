"""Frames through a device: their memory, their streams and their order.

A lane is room on the device for one frame, with a stream on which its upload, computation and download are queued:
one lane's frame is copied while another's is computed. Frames pass through staging buffers in pinned memory. There
may be more buffers than lanes, so that a lane has its next frame queued while the CPU copies the last one. Lanes are
allocated once, further buffers when they are first needed. `vsparagon.device.executor` is the contract with what
computes.
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

import torch

from vsparagon.colours.layout import INPUTS, OUTPUTS, AnyPlane
from vsparagon.device.executor import Executor
from vsparagon.device.failures import device_errors
from vsparagon.errors import first_line_of

log = logging.getLogger(__name__)

Shapes = Sequence[tuple[tuple[int, ...], torch.dtype]]

# Held to queue work or to open graphs: what another thread queues on a stream during its capture becomes part of that
# CUDA graph. The stream may be the same lane's, whose frames go on while a session for other colours is opened, or
# another filter's, because torch has only 32 streams in total.
QUEUING = threading.Lock()


class Lane:
    """Room on a device for one frame, and the stream for its work. One thread at a time may queue work.

    Args:
        device: in torch's notation.
        inputs, outputs: shape and dtype of each plane.

    Attributes:
        inputs, outputs: the planes' tensors, by the names in `vsparagon.colours.layout.INPUTS` and `OUTPUTS`.
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
        """Make this lane's device and stream the current ones; do nothing on a CPU."""
        if not self._cuda:
            yield
            return
        # The device first: a stream alone, when it restores what was current, would start to use device 0 as well.
        with torch.cuda.device(self._device), torch.cuda.stream(self._stream):
            yield

    def finish(self) -> None:
        """Wait until all work queued on this lane is done."""
        with self.current():
            self._done.set()
        self._done.wait()


class Mark:
    """A point in the work queued on a device's current stream; does nothing on a CPU."""

    def __init__(self, device: str) -> None:
        self._event: Any = None
        if torch.device(device).type == "cuda":
            self._event = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call, unused-ignore]

    def set(self) -> None:
        """Place it after all work queued so far."""
        if self._event:
            self._event.record(torch.cuda.current_stream())

    def wait(self) -> None:
        """Wait until all work before it is done; other threads run meanwhile."""
        if self._event:
            self._event.synchronize()


class Staging:
    """Pinned memory for one frame on its way to a device and back. One thread at a time.

    For each frame: `load` copies the source's planes in, `queue` sends them, `unload` copies the result out.

    Args:
        device, inputs, outputs: as for the lanes.
    """

    def __init__(self, device: str, inputs: Shapes, outputs: Shapes) -> None:
        pinned = torch.device(device).type == "cuda"
        self._up, self._down = (
            [torch.zeros(shape, dtype=dtype, pin_memory=pinned) for shape, dtype in shapes]
            for shapes in (inputs, outputs)
        )
        self._sources, self._results = ([_samples(tensor) for tensor in side] for side in (self._up, self._down))
        self._back = Mark(device)

    def load(self, planes: Sequence[AnyPlane]) -> None:
        for samples, plane in zip(self._sources, planes, strict=True):
            samples[:] = plane

    def queue(self, lane: Lane, executor: Executor) -> None:
        """Queue the frame's upload, computation and download on a lane. The caller holds `QUEUING`."""
        with lane.current():
            for tensor, pinned in zip(lane.inputs.values(), self._up, strict=True):
                tensor.copy_(pinned, non_blocking=True)
            executor.enqueue()
            for pinned, tensor in zip(self._down, lane.outputs.values(), strict=True):
                pinned.copy_(tensor, non_blocking=True)
            self._back.set()

    def unload(self, planes: Sequence[AnyPlane]) -> None:
        """Wait for the result and write it into planes."""
        self._back.wait()
        for plane, samples in zip(planes, self._results, strict=True):
            plane[:] = samples


class Lanes:
    """The lanes and staging buffers of one filter, shared by its sessions for several colour descriptions.

    Args:
        device: in torch's notation.
        place: the device, for people.
        count: number of lanes.
        in_flight: frames on their way at once, each in a staging buffer of its own; at least `count`.
        inputs, outputs: shape and dtype of each plane.

    Attributes:
        every: the lanes.

    Raises:
        OutOfDeviceMemory: the device has not enough memory.
        BackendFailure: the device failed.
    """

    def __init__(self, device: str, place: str, *, count: int, in_flight: int, inputs: Shapes, outputs: Shapes) -> None:
        with QUEUING, device_errors(place):
            self.every = [Lane(device, inputs, outputs) for _ in range(count)]
            buffers = [Staging(device, inputs, outputs) for _ in range(count)]
        self._turns = cycle(self.every)
        self._more = in_flight - count  # buffers still to be made, on demand: pinned memory is expensive
        self._counting = threading.Lock()
        self._device, self._shapes = device, (inputs, outputs)
        self._free: queue.SimpleQueue[Staging] = queue.SimpleQueue()
        for staging in buffers:
            self._free.put(staging)

    @contextmanager
    def staging(self) -> Iterator[Staging]:
        """Lend a staging buffer; wait while all are taken and no more may be made."""
        try:
            staging = self._free.get_nowait()
        except queue.Empty:
            staging = self._made() or self._free.get()
        try:
            yield staging
        finally:
            self._free.put(staging)

    def _made(self) -> Staging | None:
        """Return a new buffer, or None if there may be no more."""
        with self._counting:
            if not self._more:
                return None
            self._more -= 1
        try:
            with QUEUING:
                return Staging(self._device, *self._shapes)
        except RuntimeError as error:  # if it is not for lack of memory, the frames in flight will report it
            with self._counting:
                self._more = 0
            log.warning("not computing more frames at once, because memory is short: %s", first_line_of(error))
            return None

    def next(self) -> Lane:
        """Return the lane whose turn it is. The caller holds `QUEUING`."""
        return next(self._turns)


def release_memory() -> None:
    """Return the memory that torch caches to the GPU. The caller holds `QUEUING`."""
    gc.collect()
    torch.cuda.empty_cache()


def _samples(tensor: torch.Tensor) -> AnyPlane:
    """Return a view of the samples in a CPU tensor, H,W; pairs of bytes become 16-bit numbers."""
    array = tensor.numpy()
    return array.view("<u2")[..., 0] if array.ndim == 3 else array
