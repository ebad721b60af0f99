"""Planes to the extended picture, and the enlarged picture to planes, as `vsparagon.models.frame` does it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from vsparagon.extend import MARGIN
from vsparagon.fused import kernels
from vsparagon.fused.canvas import Canvas, Launch, padded, table, taps
from vsparagon.layout import Layout
from vsparagon.models.folding import ShiftedConv2d
from vsparagon.models.frame import FrameNetwork
from vsparagon.models.half import HalfForm
from vsparagon.resampling import ACROSS, DOWN, Kernels, enlarging, reducing


class Reading:
    """From the planes of a frame to its extended picture.

    Attributes:
        launches: in order.
        picture: what they leave.
    """

    def __init__(self, frame: FrameNetwork, canvas: Canvas, planes: Sequence[Tensor]) -> None:
        self._canvas, self._layout = canvas, frame.source
        self.launches: list[Launch] = []
        self.picture = canvas.picture()
        height, width = frame.extension.height, frame.extension.width
        given = [_samples(plane) for plane in planes]
        if self._layout.across or self._layout.down:
            given[1:] = [self._full_size(plane, height, width) for plane in given[1:]]
        matrix, offset = self._layout.to_rgb()
        self.launches.append(
            canvas.launch(
                kernels.read, given[0], given[len(given) // 2], given[-1],
                canvas.numbers(frame.rows.positions, torch.int32), canvas.numbers(frame.columns.positions, torch.int32),
                canvas.numbers(np.column_stack((matrix, offset))), self.picture, canvas.height, canvas.width, width,
                canvas.pitch, canvas.plane, canvas.origin(), PLANES=len(given),
            )
        )  # fmt: skip

    def _full_size(self, plane: Tensor, height: int, width: int) -> Tensor:
        """Return chroma at the size of luma, float32."""
        layout = self._layout
        low, narrow = layout.plane_size(1, height, width)
        if layout.down:
            kernel = enlarging(1 << layout.down, DOWN[layout.location])
            plane = self._resampled(plane, kernel, (height, narrow), low, narrow, down=True)
        if layout.across:
            kernel = enlarging(1 << layout.across, ACROSS[layout.location])
            plane = self._resampled(plane, kernel, (height, width), narrow, narrow, down=False)
        return plane

    def _resampled(
        self, plane: Tensor, kernel: Kernels, size: tuple[int, int], samples: int, pitch: int, *, down: bool
    ) -> Tensor:
        target = torch.zeros(size, device=self._canvas.device)
        self.launches.append(resampling(self._canvas, plane, kernel, samples, pitch, target, down=down))
        return target


class Writing:
    """From the picture and what is added to it to the planes of the enlarged frame.

    Args:
        frame: says how; its network is a HalfForm.
        canvas: of the picture.
        picture: which Reading leaves.
        detail: phases, as Features leaves them.
        planes: to be written.

    Attributes:
        launches: in order.
    """

    def __init__(
        self, frame: FrameNetwork, canvas: Canvas, picture: Tensor, detail: Tensor, planes: Sequence[Tensor]
    ) -> None:
        assert isinstance(frame.network, HalfForm)
        self._canvas, self._layout = canvas, frame.target
        self.launches: list[Launch] = []
        scale, extension = frame.scale, frame.extension
        tall, wide = extension.height * scale, extension.width * scale
        subsampled = bool(self._layout.across or self._layout.down)
        results = [_samples(plane) for plane in planes]
        full = results[:1] if subsampled else results
        while len(full) < len(results):
            full.append(torch.zeros(tall, wide, device=canvas.device))
        picture, smooth = self._base(frame.network.base, picture)
        places, weights = zip(*taps(*smooth), strict=True)
        phases = 1 << (scale * scale - 1).bit_length()
        by_colour = torch.stack(weights, -1).reshape(3, scale * scale, 3, -1).diagonal(dim1=0, dim2=2)
        matrix, offset = self._layout.from_rgb()
        cut = MARGIN * scale - frame.shift
        integer = not self._layout.is_float
        self.launches.append(
            canvas.launch(
                kernels.write, picture, canvas.offsets(places),
                canvas.numbers(padded(by_colour.permute(2, 1, 0), phases)), detail,
                canvas.numbers(np.column_stack((matrix, offset))), canvas.numbers(_limits(self._layout)),
                full[0], full[len(full) // 2], full[-1], canvas.height, canvas.width, canvas.pitch,
                canvas.plane, canvas.origin(), cut, tall, wide, TAPS=len(places), SCALE=scale, PHASES=phases,
                RESULTS=detail.shape[-1], PLANES=len(full), FIRST=integer, OTHERS=integer and not subsampled,
            )
        )  # fmt: skip
        if subsampled:
            for index in (1, 2):
                self._reduce(full[index], results[index], index, tall, wide)

    def _base(self, base: nn.Module, picture: Tensor) -> tuple[Tensor, tuple[Tensor, int, int]]:
        """Return the picture that the base enlarges, and its kernel: weights, rows and columns before the pixel."""
        parts = [part for part in base.modules() if isinstance(part, nn.Conv2d)]
        last = parts[-1]
        if len(parts) == 2:
            picture = self._sharpened(parts[0], picture)
        before = last.pads[:2] if isinstance(last, ShiftedConv2d) else (0, 0)
        return picture, (last.weight.detach(), *before)

    def _sharpened(self, conv: nn.Conv2d, picture: Tensor) -> Tensor:
        canvas, sharp = self._canvas, self._canvas.picture()
        middle = (size // 2 for size in conv.kernel_size)
        places, weights = zip(*taps(conv.weight[:, 0], *middle), strict=True)
        self.launches.append(
            canvas.launch(
                kernels.sharpen, picture, canvas.offsets(places), canvas.numbers(torch.stack(weights, 1)), sharp,
                canvas.height, canvas.width, canvas.pitch, canvas.plane, canvas.origin(), TAPS=len(places), layers=3,
            )
        )  # fmt: skip
        return sharp

    def _reduce(self, chroma: Tensor, target: Tensor, plane: int, tall: int, wide: int) -> None:
        layout, canvas = self._layout, self._canvas
        limits = canvas.numbers(_limits(layout)[plane])
        narrow = layout.plane_size(1, tall, wide)[1]
        integer = not layout.is_float
        if layout.across:
            kernel = reducing(1 << layout.across, ACROSS[layout.location])
            halved = torch.zeros(tall, narrow, device=canvas.device) if layout.down else target
            self.launches.append(
                resampling(canvas, chroma, kernel, wide, wide, halved, down=False,
                           limits=limits if integer and not layout.down else None)
            )  # fmt: skip
            chroma = halved
        if layout.down:
            kernel = reducing(1 << layout.down, DOWN[layout.location])
            self.launches.append(
                resampling(canvas, chroma, kernel, tall, narrow, target, down=True, limits=limits if integer else None)
            )


def resampling(
    canvas: Canvas, source: Tensor, kernel: Kernels, samples: int, pitch: int, target: Tensor, *, down: bool,
    limits: Tensor | None = None,
) -> Launch:  # fmt: skip
    """Return what resamples a plane along one axis.

    Args:
        canvas: says where.
        source: a plane; `pitch` of its samples are a row, `samples` lie along the axis.
        kernel: along the axis.
        target: a plane, height,width.
        down: whether the axis is that of rows.
        limits: least and greatest code value, where the target is one of integers.
    """
    positions, weights = table(kernel.weights, kernel.step, kernel.mirrored(samples))
    size = (target.shape[0], target.shape[1])
    return canvas.launch(
        kernels.resample, source, canvas.numbers(positions, torch.int32), canvas.numbers(weights),
        canvas.numbers([0.0, 0.0]) if limits is None else limits, target, *size, pitch, size=size,
        TAPS=weights.shape[1], DOWN=down, INTEGER=limits is not None,
    )  # fmt: skip


def _limits(layout: Layout) -> list[tuple[int, int]]:
    return [(0, 0) if layout.is_float else layout.limits(plane) for plane in range(layout.planes)]


def _samples(plane: Tensor) -> Tensor:
    """Return the samples of a plane, H,W; pairs of bytes as 16-bit numbers."""
    return plane.view(torch.uint16)[..., 0] if plane.dim() == 3 else plane
