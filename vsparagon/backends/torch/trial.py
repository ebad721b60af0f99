"""Chooses between our own kernels and torch's for a network, by trying both on the GPU."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Final

import torch
from torch import Tensor

from vsparagon.backends.torch.crashes import answers
from vsparagon.colours.layout import Layout
from vsparagon.device.executor import Executor
from vsparagon.device.failures import lack_of_memory
from vsparagon.device.lanes import Lane
from vsparagon.errors import first_line_of
from vsparagon.models.frame import FrameNetwork

log = logging.getLogger(__name__)

Maker = Callable[[FrameNetwork, dict[str, Tensor], dict[str, Tensor]], Executor]

ROUNDS: Final = 3  # the best one counts
TURNS: Final = 10  # frames per round
# Largest mean difference allowed, as a fraction of full range. On noise, in float16, correct kernels differ by up to
# 0.0011 (swift_plus, where single samples differ by 0.035); wrong ones differ by far more.
AGREEMENT: Final = 1 / 128
REPORT: Final = "Please report this, with the versions of torch, triton and the driver."


def faster(
    frame: FrameNetwork, device: str, *, ours: Maker, torchs: Maker, recorded: Callable[[Executor], Executor]
) -> Maker:
    """Try our kernels and torch's on noise and return the maker of the faster executor.

    Returns `torchs` where our kernels fail or are wrong, and `ours` where torch's need too much memory. The choice and
    its reason are logged, as a warning if our kernels are at fault. The caller holds
    `vsparagon.device.lanes.QUEUING`.

    Args:
        frame: the frame graph, on the device.
        device: in torch's notation.
        ours, torchs: make an executor that uses our kernels, or torch's.
        recorded: turns an executor into one that replays its CUDA graph.

    Raises:
        RuntimeError: torch failed on the device.
        Exception: our kernels ran out of memory, or the device no longer responds after their error.
    """
    lane = Lane(device, frame.inputs(), frame.outputs())
    fill(lane, frame.source)
    try:
        with lane.current():
            own = recorded(ours(frame, lane.inputs, lane.outputs))
        own_result = _result(lane, own, frame.target)
    except Exception as error:  # errors of the compiler and of the driver share no narrower base
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
    if not difference <= AGREEMENT:  # True for NaN, too
        text = "%s: using torch's kernels, because ours are wrong by %.2g of full range on this GPU. %s"
        log.warning(text, frame.name, difference, REPORT)
        return torchs
    own_time, other_time = (1000 * min(times) for times in zip(*rounds, strict=True))
    chosen, name = (ours, "our") if own_time < other_time else (torchs, "torch's")
    log.info("%s: using %s kernels: ours take %.2f ms, torch's %.2f ms", frame.name, name, own_time, other_time)
    return chosen


def tell_unfit(frame: FrameNetwork, error: Exception) -> None:
    """Warn that torch's kernels are used for a frame graph because ours raised this error."""
    text = "%s: using torch's kernels, because ours do not run on this GPU: %s. %s"
    log.warning(text, frame.name, first_line_of(error), REPORT)


def fill(lane: Lane, layout: Layout) -> None:
    """Fill a lane's inputs with noise within the format's range, the same every time."""
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
    """Run an executor and return its planes in float32, where integers are scaled to 0..1."""
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
    """Return the mean absolute difference of the plane where it is largest; NaN if any sample is NaN."""
    return float(torch.stack([(own - other).abs().mean() for own, other in zip(ours, theirs, strict=True)]).max())


def seconds(lane: Lane, executor: Executor, frames: int) -> float:
    """Return the time per frame in seconds, as the mean over this number of frames."""
    begin = time.perf_counter()
    with lane.current():
        for _ in range(frames):
            executor.enqueue()
    lane.finish()
    return (time.perf_counter() - begin) / frames
