"""Measure a GPU without VapourSynth: the graph of a frame alone, the bus alone, its memory alone."""

from __future__ import annotations

import copy
import time
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from benchmarking.jobs import Job
from vsparagon.backends.base import FrameBackend
from vsparagon.backends.torch.cuda import Eager, Prepared
from vsparagon.backends.torch.trial import fill, seconds
from vsparagon.choice import Choice, make_choice
from vsparagon.colours.layout import Layout
from vsparagon.device.lanes import Lane
from vsparagon.errors import BackendUnavailable
from vsparagon.geometry.extension import Extension, extension_for
from vsparagon.lookup import find_model
from vsparagon.models.frame import FrameNetwork
from vsparagon.pipelines.frame import network_of

LAYOUTS = {
    "YUV420P8": Layout(family="yuv", bits=8, subsampling_w=1, subsampling_h=1, matrix=1),
    "float RGB": Layout(family="rgb", bits=32, is_float=True),
}
COPIES = 10  # copies within the device's memory per turn


def opened(job: Job) -> tuple[dict[str, float], Any]:
    """Open the load of the job's kind, and return its opening figures and a function that measures one turn."""
    given = dict(job.arguments)
    if job.kind == "bus":
        return bus(**given, frames=job.settings.frames)
    if job.kind == "device_memory":
        return device_memory(**given)
    layout = LAYOUTS[given.pop("layout")]
    names = {name: given.pop(name) for name in ("backend", "precision", "device_id")}
    choice = make_choice(find_model(scale=job.settings.scale, **given), **names)
    torchs = job.kind == "torch_graph"
    return graph(choice, layout, job.height, job.width, frames=job.settings.frames, by_torchs_kernels=torchs)


def graph(
    choice: Choice, layout: Layout, height: int, width: int, *, frames: int, by_torchs_kernels: bool = False
) -> tuple[dict[str, float], Any]:
    """Run the network and the conversions around it on planes that stay on the device.

    Args:
        choice: what to run.
        layout: of the planes, of both source and result.
        height, width: of the source in pixels.
        frames: number of frames per turn.
        by_torchs_kernels: whether the backend torch uses torch's kernels even if ours are faster.

    Returns:
        The bytes per frame that cross the bus to the device (`up`) and back (`down`), and the bytes that must be moved
        in the device's memory (`moved`); and a function that measures one turn, as seconds per frame (`wall`).

    Raises:
        BackendUnavailable: the backend runs on the CPU.
    """
    backend, model = choice.backend, choice.model
    if not isinstance(backend, FrameBackend):
        raise BackendUnavailable(f"{backend.name} runs on {backend.place}; name a backend that runs on the GPU.")
    extension = extension_for(height, width, model.sizes)
    network = network_of(model, choice.precision)
    moved = moved_bytes(network, extension)
    frame = FrameNetwork(
        network, model.scale, source=layout, target=layout, extension=extension, name=model.name
    ).eval()
    lane = Lane(backend.device, frame.inputs(), frame.outputs())
    prepared = backend.prepare(frame, choice.options)
    if by_torchs_kernels:
        prepared = Prepared(frame=frame, maker=Eager)
    fill(lane, layout)
    with lane.current():
        executor = backend.open_executor(prepared, lane.inputs, lane.outputs)
    lane.finish()

    def turn() -> dict[str, float]:
        return {"wall": seconds(lane, executor, frames)}

    up, down = (sum(plane.nbytes for plane in planes.values()) for planes in (lane.inputs, lane.outputs))
    return {"up": up, "down": down, "moved": moved + up + down}, turn


def moved_bytes(network: nn.Module, extension: Extension) -> int:
    """Return the bytes that the network's convolutions must read and write if each is a step of its own.

    This assumes that everything between two convolutions is fused with them, and that weights stay in the cache.

    Args:
        network: maps N,3,H,W to N,3,scale*H,scale*W.
        extension: of the pictures.
    """
    total = 0

    def count(_conv: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal total
        total += inputs[0].nbytes + output.nbytes

    network = copy.deepcopy(network).to("meta")
    for part in network.modules():
        if isinstance(part, nn.Conv2d):
            part.register_forward_hook(count)
    with torch.no_grad():
        network(torch.empty(1, 3, extension.extended_height, extension.extended_width, device="meta"))
    return total


def bus(device: str, up: int, down: int, *, frames: int) -> tuple[dict[str, float], Any]:
    """Copy between pinned memory and the device, in both directions at once, and do nothing else.

    Args:
        device: such as "cuda:0".
        up, down: bytes per frame to the device and back.
        frames: number of frames per turn.

    Returns:
        No figures, and a function that measures one turn, as seconds per frame (`wall`).
    """
    cuda = torch.device(device).type == "cuda"
    sizes = (up, down)
    here = [torch.zeros(size, dtype=torch.uint8, pin_memory=cuda) for size in sizes]
    there = [torch.zeros(size, dtype=torch.uint8, device=device) for size in sizes]
    upwards, downwards = _stream(device), _stream(device)

    def turn() -> dict[str, float]:
        begin = time.perf_counter()
        for _ in range(frames):
            with upwards:
                there[0].copy_(here[0], non_blocking=True)
            with downwards:
                here[1].copy_(there[1], non_blocking=True)
        _finish(device)
        return {"wall": (time.perf_counter() - begin) / frames}

    turn()
    return {}, turn


def device_memory(device: str, size: int) -> tuple[dict[str, float], Any]:
    """Copy within the device's memory.

    Args:
        device: such as "cuda:0".
        size: bytes per copy.

    Returns:
        No figures, and a function that measures one turn, as `bytes_per_second` read and written.
    """
    source = torch.randint(256, (size,), dtype=torch.uint8, device=device)
    target = torch.empty_like(source)

    def turn() -> dict[str, float]:
        begin = time.perf_counter()
        for _ in range(COPIES):
            target.copy_(source)
        _finish(device)
        return {"bytes_per_second": 2 * size * COPIES / (time.perf_counter() - begin)}

    turn()
    return {}, turn


def _stream(device: str) -> AbstractContextManager[Any]:
    """Return a context that makes a new CUDA stream the current one; on the CPU, one that does nothing."""
    if torch.device(device).type != "cuda":
        return nullcontext()
    return torch.cuda.stream(torch.cuda.Stream(device))  # type: ignore[no-untyped-call, unused-ignore]


def _finish(device: str) -> None:
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)
