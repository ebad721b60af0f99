"""Launches of the network itself, from the picture to the phases of the detail; each step is one kernel.

Phases are the channels that a pixel shuffle turns into pixels; the detail is what the network adds to its base.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from vsparagon.fused import kernels, shapes
from vsparagon.fused.canvas import LEAST_CHANNELS, Canvas, Launch, channels_for, padded, taps
from vsparagon.models.folding import ShiftedConv2d
from vsparagon.models.half import Detail, HalfForm
from vsparagon.models.inference import FoldedBlock, FoldedGroup
from vsparagon.models.paragonsr2 import RMSNorm

# Higher values of the first three would exceed a program's registers and shared memory.
MOST_CHANNELS = 64
MOST_DENSE_CHANNELS = 32  # inputs of a dense convolution larger than 1x1
MOST_DENSE_PIXELS = 8  # width of a dense convolution
MOST_TAPS = 6  # summed in float16 before they are added in float32


class Unfit(Exception):
    """A network has a part that the kernels do not support; the message names it."""


def border_of(network: HalfForm) -> int:
    """Return how far from a pixel any single convolution of a network looks, in pixels."""
    convs = [part for part in network.modules() if isinstance(part, nn.Conv2d)]
    return max(max(conv.kernel_size) for conv in convs) // 2 + 1


def check(network: HalfForm) -> int:
    """Check that the kernels support a network, and return the most channels of its features or phases, padded.

    Raises:
        Unfit: they do not support a part of it.
    """
    for part, _ in _steps(network.detail):
        if isinstance(part, FoldedGroup):
            for block in part.blocks:
                if not isinstance(block, FoldedBlock) or len(block.between):
                    raise Unfit("attention or channel modulation")
                if not isinstance(block.context, nn.Conv2d):
                    raise Unfit("kernels of more than 11 pixels")
        elif not isinstance(part, nn.Conv2d):
            raise Unfit(type(part).__name__)
    convs = [part for part in network.detail.modules() if isinstance(part, nn.Conv2d)]
    most = max(max(conv.in_channels, conv.out_channels) for conv in convs)
    dense = max(conv.in_channels for conv in convs if conv.groups == 1 and conv.kernel_size != (1, 1))
    if most > MOST_CHANNELS or dense > MOST_DENSE_CHANNELS:
        raise Unfit(f"features of {max(most, dense)} channels")
    if any(conv.kernel_size[1] > MOST_DENSE_PIXELS for conv in convs if conv.groups == 1):
        raise Unfit("dense kernels so wide")
    return channels_for(most)


class Features:
    """The steps of one network on one canvas. Memory of features is reused as soon as no later step reads them.

    Args:
        network: one that `check` accepts.
        canvas: of the extended picture.
        picture: `features` of `Reading`, which has a channel for each colour.

    Attributes:
        launches: to run in order.
        phases: their result, float16, height,width,channels (padded).
    """

    def __init__(self, network: HalfForm, canvas: Canvas, picture: Tensor) -> None:
        self._canvas = canvas
        self._free: defaultdict[int, list[Tensor]] = defaultdict(list)
        self.launches: list[Launch] = []
        features = picture
        *steps, (last, _) = _steps(network.detail)
        for part, slopes in steps:
            features = self._next(part, slopes, features)
        assert isinstance(last, nn.Conv2d)
        self.phases = canvas.zeros(canvas.height, canvas.width, channels_for(last.out_channels), dtype=torch.float16)
        self._dense(last, None, features, self.phases, canvas.width, 0)

    def _take(self, channels: int) -> Tensor:
        free = self._free[channels]
        return free.pop() if free else self._canvas.features(channels)

    def _give(self, features: Tensor) -> None:
        self._free[features.shape[-1]].append(features)

    def _add(self, kernel: Any, *arguments: Any, **constants: Any) -> None:
        self.launches.append(self._canvas.launch(kernel, *arguments, **constants))

    def _vector(self, values: Tensor | None, channels: int, otherwise: float = 0.0) -> Tensor:
        vector = torch.full((channels,), otherwise)
        if values is not None:
            vector[: values.numel()] = values.detach().float()
        return self._canvas.numbers(vector)

    def _next(self, part: nn.Module, slopes: Tensor | None, features: Tensor) -> Tensor:
        if isinstance(part, FoldedGroup):
            return self._group(part, features)
        assert isinstance(part, nn.Conv2d)
        target = self._take(channels_for(part.out_channels))
        self._dense(part, slopes, features, target, self._canvas.pitch, self._canvas.origin())
        self._give(features)
        return target

    def _dense(
        self, conv: nn.Conv2d, slopes: Tensor | None, source: Tensor, target: Tensor, pitch: int, origin: int
    ) -> None:
        canvas, channels, results = self._canvas, source.shape[-1], target.shape[-1]
        above, left = conv.pads[:2] if isinstance(conv, ShiftedConv2d) else (k // 2 for k in conv.kernel_size)
        wide, abreast = _window(conv.kernel_size[1], channels)
        kernel = padded(conv.weight.permute(2, 3, 1, 0), wide, channels, results)  # height, width, in, out
        # One copy of the kernel for each of the pixels abreast, shifted to its place in the window that they share.
        kernel = torch.stack([kernel.roll(pixel, 1) for pixel in range(abreast)], 3)
        self._add(
            kernels.dense, source, canvas.numbers(kernel, torch.float16),
            self._vector(conv.bias, results).tile(abreast), self._vector(slopes, results, 1.0).tile(abreast), target,
            canvas.height, canvas.width, canvas.pitch, canvas.origin(above=above, left=left), pitch, origin,
            TALL=conv.kernel_size[0], WIDE=wide, CHANNELS=channels, RESULTS=results, ABREAST=abreast,
            ACTIVE=slopes is not None, shape=shapes.dense(abreast, results),
        )  # fmt: skip

    def _group(self, group: FoldedGroup, first: Tensor) -> Tensor:
        features = first
        for block in group.blocks:
            assert isinstance(block, FoldedBlock)
            after = first if block is group.blocks[-1] else None
            given = features
            kept = self._take(given.shape[-1])
            assert isinstance(block.context, nn.Conv2d)
            hidden = self._mix(block.context, None, block.project_in, given, kept=kept)
            spread, leak = block.mix
            assert isinstance(spread, nn.Conv2d)
            assert isinstance(leak, nn.LeakyReLU)
            slope = torch.full((spread.out_channels,), leak.negative_slope)
            features = self._mix(spread, slope, block.project_out, hidden, before=kept, norm=block.norm, after=after)
            for done in (kept, hidden) if given is first else (kept, hidden, given):
                self._give(done)
        self._give(first)
        return features

    def _mix(
        self,
        spread: nn.Conv2d,
        slopes: Tensor | None,
        project: nn.Conv2d,
        source: Tensor,
        *,
        kept: Tensor | None = None,
        before: Tensor | None = None,
        norm: nn.Module | None = None,
        after: Tensor | None = None,
    ) -> Tensor:
        canvas, channels, results = self._canvas, source.shape[-1], channels_for(project.out_channels)
        target = self._take(results)
        middle = (size // 2 for size in spread.kernel_size)
        places, weights = zip(*taps(spread.weight[:, 0].float(), *middle), strict=True)
        groups = -(-len(places) // MOST_TAPS)
        each = -(-len(places) // groups)
        more = groups * each - len(places)
        matrix = padded(project.weight.flatten(1).t(), channels, results)
        normed = norm if isinstance(norm, RMSNorm) else None
        scale, offset = (normed.scale, normed.offset) if normed else (None, None)
        self._add(
            kernels.mix, source, canvas.offsets([*places, *[(0, 0)] * more]),
            canvas.numbers(padded(torch.stack(weights), len(places) + more, channels), torch.float16),
            self._vector(spread.bias, channels), self._vector(slopes, channels, 1.0), source if kept is None else kept,
            canvas.numbers(matrix, torch.float16), self._vector(project.bias, results),
            source if before is None else before, self._vector(_flat(scale), results),
            self._vector(_flat(offset), results), source if after is None else after, target,
            canvas.height, canvas.width, canvas.pitch, canvas.origin(), 1 / project.out_channels,
            normed.eps if normed else 0.0, GROUPS=groups, TAPS=each, CHANNELS=channels, RESULTS=results,
            ACTIVE=slopes is not None, KEEP=kept is not None, BEFORE=before is not None, NORM=normed is not None,
            AFTER=after is not None,
            shape=shapes.MIX if channels == results == LEAST_CHANNELS else shapes.MIX_WIDE,
        )  # fmt: skip
        return target


def _window(kernel: int, channels: int) -> tuple[int, int]:
    """Return the width of the window that a matrix product reads from a row, and how many pixels it computes from it.

    The number of pixels is a power of two. With more than 16 channels, so is the width: split into a sum of two
    products, it is miscompiled for H100 and H200 by CUDA 12.8 (ptxas 12.8.93, in Triton 3.6), and the second product
    reads from arbitrary addresses.

    Args:
        kernel: width of the convolution, in pixels.
        channels: of a pixel, padded.
    """
    if channels > LEAST_CHANNELS:
        wide = 1 << (kernel - 1).bit_length()
    else:
        least = LEAST_CHANNELS // channels
        wide = -(-(kernel + 1) // least) * least
    return wide, 1 << (wide - kernel + 1).bit_length() - 1


def _steps(detail: nn.Module) -> list[tuple[nn.Module, Tensor | None]]:
    """Return the consecutive parts of a network, each with the slopes of the PReLU that follows it, or None.

    Raises:
        Unfit: the network has a gain of the whole frame.
    """
    steps: list[tuple[nn.Module, Tensor | None]] = []
    for part in _parts(detail):
        if isinstance(part, nn.PReLU) and steps:
            steps[-1] = steps[-1][0], part.weight
        else:
            steps.append((part, None))
    return steps


def _parts(detail: nn.Module) -> Iterator[nn.Module]:
    if isinstance(detail, Detail):
        if detail.gain is not None:
            raise Unfit("gain of the whole frame")
        yield from _parts(detail.features)
    elif isinstance(detail, nn.Sequential):
        for part in detail:
            yield from _parts(part)
    else:
        yield detail


def _flat(values: Tensor | None) -> Tensor | None:
    return None if values is None else values.flatten()
