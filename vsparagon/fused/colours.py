"""Launches that convert planes to the extended picture and the result to planes, as `vsparagon.models.frame` does."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from vsparagon.colours.layout import Layout
from vsparagon.colours.resampling import ACROSS, DOWN, Kernels, enlarging, reducing
from vsparagon.fused import kernels, shapes
from vsparagon.fused.canvas import Canvas, Launch, padded, table, taps
from vsparagon.geometry.extension import MARGIN
from vsparagon.models.folding import ShiftedConv2d
from vsparagon.models.frame import FrameNetwork
from vsparagon.models.half import HalfForm

COLOUR_CHANNELS = 4  # channels of the picture as features: three colours, and one of zeros


class Reading:
    """Converts the planes of a frame to its extended picture.

    Args:
        frame: the frame graph; its network must be a `HalfForm`.
        canvas: of the extended picture.
        planes: to read.

    Attributes:
        launches: to run in order.
        picture: their result: the extended picture, float32, 3,rows,pitch.
        features: the same as the network's input, float16, rows,pitch,`COLOUR_CHANNELS`, clamped to 0..1 if the network
            requires it.
    """

    def __init__(self, frame: FrameNetwork, canvas: Canvas, planes: Sequence[Tensor]) -> None:
        assert isinstance(frame.network, HalfForm)
        self._canvas, self._layout = canvas, frame.source
        self.launches: list[Launch] = []
        self.picture, self.features = canvas.picture(), canvas.features(COLOUR_CHANNELS)
        height, width = frame.extension.height, frame.extension.width
        given = [_samples(plane) for plane in planes]
        if self._layout.subsampling_w or self._layout.subsampling_h:
            given[1:] = self._full_size(given[1:], height, width)
        matrix, offset = self._layout.to_rgb()
        self.launches.append(
            canvas.launch(
                kernels.read, given[0], given[len(given) // 2], given[-1],
                canvas.numbers(frame.rows.positions, torch.int32), canvas.numbers(frame.columns.positions, torch.int32),
                canvas.numbers(np.column_stack((matrix, offset))), self.picture, self.features, canvas.height,
                canvas.width, width, canvas.pitch, canvas.plane, canvas.origin(), PLANES=len(given),
                CHANNELS=COLOUR_CHANNELS, LIMITS=frame.network.limits, shape=shapes.READ,
            )
        )  # fmt: skip

    def _full_size(self, planes: list[Tensor], height: int, width: int) -> list[Tensor]:
        """Return both chroma planes at the size of luma, float32."""
        layout = self._layout
        low, narrow = layout.plane_size(1, height, width)
        if layout.subsampling_h:
            kernel = enlarging(1 << layout.subsampling_h, DOWN[layout.chroma_location])
            planes = self._resampled(planes, kernel, (height, narrow), low, narrow, down=True)
        if layout.subsampling_w:
            kernel = enlarging(1 << layout.subsampling_w, ACROSS[layout.chroma_location])
            planes = self._resampled(planes, kernel, (height, width), narrow, narrow, down=False)
        return planes

    def _resampled(
        self, planes: list[Tensor], kernel: Kernels, size: tuple[int, int], samples: int, pitch: int, *, down: bool
    ) -> list[Tensor]:
        targets = _chroma(self._canvas, size)
        self.launches.append(resampling(self._canvas, planes, kernel, samples, pitch, targets, down=down))
        return targets


class Writing:
    """Converts the extended picture and the network's detail to the planes of the upscaled frame.

    Args:
        frame: the frame graph; its network must be a `HalfForm`.
        canvas: of the extended picture.
        picture: of `Reading`.
        detail: phases of `Features`.
        planes: to write.

    Attributes:
        launches: to run in order.
    """

    def __init__(
        self, frame: FrameNetwork, canvas: Canvas, picture: Tensor, detail: Tensor, planes: Sequence[Tensor]
    ) -> None:
        assert isinstance(frame.network, HalfForm)
        self._canvas, self._layout = canvas, frame.target
        self.launches: list[Launch] = []
        scale, extension = frame.scale, frame.extension
        tall, wide = extension.height * scale, extension.width * scale
        subsampled = bool(self._layout.subsampling_w or self._layout.subsampling_h)
        results = [_samples(plane) for plane in planes]
        full = [results[0], *_chroma(canvas, (tall, wide))] if subsampled else results
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
                shape=shapes.WRITE if phases == 4 else shapes.WRITE_MORE,
            )
        )  # fmt: skip
        if subsampled:
            self._reduce(full[1:], results[1:], tall, wide)

    def _base(self, base: nn.Module, picture: Tensor) -> tuple[Tensor, tuple[Tensor, int, int]]:
        """Return the picture that the base upscales, and the kernel: weights, and rows and columns before the pixel."""
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
                shape=shapes.SHARPEN,
            )
        )  # fmt: skip
        return sharp

    def _reduce(self, chroma: list[Tensor], targets: list[Tensor], tall: int, wide: int) -> None:
        layout, canvas = self._layout, self._canvas
        limits = None if layout.is_float else canvas.numbers(_limits(layout)[1])
        low = layout.plane_size(1, tall, wide)[0]
        if layout.subsampling_h:  # vertically first, because that is the faster direction
            kernel = reducing(1 << layout.subsampling_h, DOWN[layout.chroma_location])
            lower = _chroma(canvas, (low, wide)) if layout.subsampling_w else targets
            last = None if layout.subsampling_w else limits
            self.launches.append(resampling(canvas, chroma, kernel, tall, wide, lower, down=True, limits=last))
            chroma = lower
        if layout.subsampling_w:
            kernel = reducing(1 << layout.subsampling_w, ACROSS[layout.chroma_location])
            self.launches.append(resampling(canvas, chroma, kernel, wide, wide, targets, down=False, limits=limits))


def resampling(
    canvas: Canvas, sources: Sequence[Tensor], kernel: Kernels, samples: int, pitch: int, targets: Sequence[Tensor],
    *, down: bool, limits: Tensor | None = None,
) -> Launch:  # fmt: skip
    """Return a launch that resamples two planes along one axis.

    Args:
        canvas: gives the device.
        sources: two planes.
        kernel: resampling filter.
        samples: length of the axis in the sources.
        pitch: samples in a row of the sources.
        targets: two planes, height,width, to write to.
        down: whether to resample vertically.
        limits: (2,), smallest and largest code value, if the targets are integers; None for floats.
    """
    positions, weights = table(kernel.weights, kernel.step, kernel.mirrored(samples))
    more = ((0, 0), (0, -weights.shape[1] % kernels.COLUMNS.value))
    positions, weights = (np.pad(values, more) for values in (positions, weights))
    size = (targets[0].shape[0], targets[0].shape[1])
    return canvas.launch(
        kernels.resample, *sources, canvas.numbers(positions, torch.int32), canvas.numbers(weights),
        canvas.numbers([0.0, 0.0]) if limits is None else limits, *targets, *size, pitch, weights.shape[1], size=size,
        TAPS=weights.shape[0], DOWN=down, INTEGER=limits is not None,
        shape=shapes.RESAMPLE_DOWN if down else shapes.RESAMPLE_ACROSS,
    )  # fmt: skip


def _chroma(canvas: Canvas, size: tuple[int, int]) -> list[Tensor]:
    """Return two float32 planes from the canvas's pool."""
    return [canvas.zeros(*size) for _ in range(2)]


def _limits(layout: Layout) -> list[tuple[int, int]]:
    return [(0, 0) if layout.is_float else layout.limits(plane) for plane in range(layout.planes)]


def _samples(plane: Tensor) -> Tensor:
    """Return the samples of a plane, H,W; a plane of byte pairs, H,W,2, is viewed as uint16."""
    return plane.view(torch.uint16)[..., 0] if plane.dim() == 3 else plane
