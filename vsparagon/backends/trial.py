"""Our own kernels beside torch's, on the GPU that is there: which are to be used for a network."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Final

import torch
from torch import Tensor

from vsparagon.backends.crashes import answers
from vsparagon.backends.device import Lane, lack_of_memory
from vsparagon.backends.executor import Executor
from vsparagon.errors import first_line_of
from vsparagon.layout import Layout
from vsparagon.models.frame import FrameNetwork

log = logging.getLogger(__name__)

Maker = Callable[[FrameNetwork, dict[str, Tensor], dict[str, Tensor]], Executor]

ROUNDS: Final = 3  # of which the best counts
TURNS: Final = 10  # frames of a round
# Mean difference, of full range, between two ways of computing noise in float16: up to 0.0011 by swift_plus, where
# single samples differ by 0.035. What is wrong differs by far more.
AGREEMENT: Final = 1 / 128
REPORT: Final = "Please report this, with the versions of torch, triton and the driver."


def faster(
    frame: FrameNetwork, device: str, *, ours: Maker, torchs: Maker, recorded: Callable[[Executor], Executor]
) -> Maker:
    """Try both ways out on noise and return the faster one, or that of torch, where ours fails or is wrong.

    The log says which, and why: a warning where something is wrong with ours. The caller holds
    `vsparagon.backends.device.QUEUING`.

    Args:
        frame: on the device.
        device: as torch names it.
        ours, torchs: make an executor of our kernels, and of torch's.
        recorded: makes of an executor what is replayed.

    Raises:
        RuntimeError: what torch raises about a device.
        Exception: what our kernels raised, where the device does not answer since.
    """
    lane = Lane(device, frame.inputs(), frame.outputs())
    fill(lane, frame.source)
    try:
        with lane.current():
            own = recorded(ours(frame, lane.inputs, lane.outputs))
        own_result = _result(lane, own, frame.target)
    except Exception as error:  # of a compiler, of the driver: they share no narrower base
        if lack_of_memory(error) or not answers(device):
            raise
        tell_unfit(frame, error)
        return torchs
    try:
        with lane.current():
            other = recorded(torchs(frame, lane.inputs, lane.outputs))
        difference = _difference(own_result, _result(lane, other, frame.target))
    except RuntimeError as error:
        if not lack_of_memory(error):
            raise
        log.info("%s: using our kernels, because torch's need more memory than there is", frame.name)
        return ours
    rounds = [(seconds(lane, own, TURNS), seconds(lane, other, TURNS)) for _ in range(ROUNDS)]
    if not difference <= AGREEMENT:  # nor where it is not a number
        text = "%s: using torch's kernels, because ours are wrong by %.2g of full range on this GPU. %s"
        log.warning(text, frame.name, difference, REPORT)
        return torchs
    own_time, other_time = (1000 * min(times) for times in zip(*rounds, strict=True))
    chosen, name = (ours, "our") if own_time < other_time else (torchs, "torch's")
    log.info("%s: using %s kernels: ours take %.2f ms, torch's %.2f ms", frame.name, name, own_time, other_time)
    return chosen


def tell_unfit(frame: FrameNetwork, error: Exception) -> None:
    """Warn that torch's kernels are used for a frame graph, as ours raised this error."""
    text = "%s: using torch's kernels, because ours do not run on this GPU: %s. %s"
    log.warning(text, frame.name, first_line_of(error), REPORT)


def fill(lane: Lane, layout: Layout) -> None:
    """Write noise into a lane's inputs, always the same."""
    with lane.current():
        noise = torch.Generator(next(iter(lane.inputs.values())).device).manual_seed(0)
        for plane in lane.inputs.values():
            if layout.is_float:
                plane.uniform_(generator=noise)
            else:
                plane.random_(256, generator=noise)
                if layout.bits > 8:
                    plane[..., 1] >>= 16 - layout.bits


def _result(lane: Lane, executor: Executor, layout: Layout) -> list[Tensor]:
    """Return the planes that an executor makes, as parts of full range."""
    with lane.current():
        for plane in lane.outputs.values():
            plane.zero_()
        executor.enqueue()
        planes = [plane.to(torch.float32, copy=True) for plane in lane.outputs.values()]
        if not layout.is_float:
            peak = (1 << layout.bits) - 1
            planes = [(p[..., 0] + 256 * p[..., 1] if layout.bits > 8 else p) / peak for p in planes]
    lane.finish()
    return planes


def _difference(ours: Sequence[Tensor], theirs: Sequence[Tensor]) -> float:
    """Return the mean difference in the plane where it is largest; not a number if there is one that is none."""
    return float(torch.stack([(own - other).abs().mean() for own, other in zip(ours, theirs, strict=True)]).max())


def seconds(lane: Lane, executor: Executor, frames: int) -> float:
    """Return the time of a frame, the mean over so many."""
    begin = time.perf_counter()
    with lane.current():
        for _ in range(frames):
            executor.enqueue()
    lane.finish()
    return (time.perf_counter() - begin) / frames
