"""The network with a frame's conversions around it: planes in, planes out, all in one graph.

So a device can take frames in their own format. The steps are those that `vsparagon.colours.conversion` takes with
VapourSynth's resizer: from code values to RGB (`vsparagon.colours`), the extension, the network, and back. All of it is
float32, whatever the network computes in. `vsparagon.onnx.export.frame_onnx` writes it as ONNX.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from vsparagon.colours.layout import Layout
from vsparagon.colours.resampling import ACROSS, DOWN, Kernels, enlarging, reducing
from vsparagon.geometry.extension import Extension
from vsparagon.geometry.tiling import ExactTiles, Part, whole_parts

ROWS, COLUMNS = 2, 3  # axes of N,C,H,W


class FrameNetwork(nn.Module):
    """Maps the planes of a frame to those of its enlargement.

    An 8-bit plane is uint8 H,W; a 9- to 16-bit plane is uint8 H,W,2, low byte first; a float plane is float16 or
    float32 H,W. Integer results are rounded and clamped to legal code values; float results are neither.

    Args:
        network: float32 N,3,H,W to float32 N,3,scale*H,scale*W, nominal range 0..1; its attribute `shift` says how many
            enlarged pixels are missing at the top and left of its result.
        scale: enlargement of the network.
        source, target: layouts of the planes.
        extension: how the source's pictures are extended.
        tiles: along rows and along columns, computed one after the other to save memory; None for the whole picture.
        name: the network's name, for people.
    """

    def __init__(
        self,
        network: nn.Module,
        scale: int,
        *,
        source: Layout,
        target: Layout,
        extension: Extension,
        tiles: tuple[ExactTiles, ExactTiles] | None = None,
        name: str = "",
    ) -> None:
        super().__init__()
        self.name = name
        self.scale, self.source, self.target, self.extension, self.tiles = scale, source, target, extension, tiles
        height, width = extension.height, extension.width
        self.reader = _Reader(source, height, width)
        rows, columns = extension.mirrored()
        self.rows, self.columns = _Taken(ROWS, rows), _Taken(COLUMNS, columns)
        self.network = network
        shift = network.shift
        assert isinstance(shift, int)
        self.shift = shift
        self.writer = _Writer(target, height * scale, width * scale)

    def forward(self, planes: Sequence[Tensor]) -> tuple[Tensor, ...]:
        written: tuple[Tensor, ...] = self.writer(self._enlarged(self.columns(self.rows(self.reader(planes)))))
        return written

    def inputs(self) -> list[tuple[tuple[int, ...], torch.dtype]]:
        """Return shape and dtype of each input plane."""
        return _tensors(self.source, self.extension.height, self.extension.width)

    def outputs(self) -> list[tuple[tuple[int, ...], torch.dtype]]:
        """Return shape and dtype of each output plane."""
        return _tensors(self.target, self.extension.height * self.scale, self.extension.width * self.scale)

    def _enlarged(self, extended: Tensor) -> Tensor:
        """Return the enlarged picture, without its extension."""
        if self.tiles is None:
            return self._kept(self.network(extended), *whole_parts(self.extension))
        rows, columns = self.tiles
        lines = []
        for row in rows.parts:
            band = extended.narrow(ROWS, row.start, rows.size)
            tiles = [(column, band.narrow(COLUMNS, column.start, columns.size)) for column in columns.parts]
            lines.append(torch.cat([self._kept(self.network(tile), row, column) for column, tile in tiles], COLUMNS))
        return torch.cat(lines, ROWS)

    def _kept(self, enlarged: Tensor, row: Part, column: Part) -> Tensor:
        """Return the part of a tile's result that is kept."""
        for axis, part in ((ROWS, row), (COLUMNS, column)):
            place = part.in_result(self.scale, self.shift)
            enlarged = enlarged.narrow(axis, place.start, place.stop - place.start)
        return enlarged


class _Reader(nn.Module):
    """Maps planes to 1,3,H,W RGB."""

    def __init__(self, layout: Layout, height: int, width: int) -> None:
        super().__init__()
        self.layout, self.height, self.width = layout, height, width
        across, down = 1 << layout.subsampling_w, 1 << layout.subsampling_h
        low, narrow = layout.plane_size(1, height, width)
        self.taller: nn.Module = nn.Identity()
        self.wider: nn.Module = nn.Identity()
        if down > 1:
            self.taller = _Resampled(ROWS, enlarging(down, DOWN[layout.chroma_location]), low, narrow)
        if across > 1:
            self.wider = _Resampled(COLUMNS, enlarging(across, ACROSS[layout.chroma_location]), height, narrow)
        self.to_rgb = _pointwise(*layout.to_rgb())

    def forward(self, planes: Sequence[Tensor]) -> Tensor:
        samples = [self._samples(planes[i], i) for i in range(self.layout.planes)]
        if self.layout.subsampling_w or self.layout.subsampling_h:
            samples[1:] = [self.wider(self.taller(torch.cat(samples[1:], 1)))]
        rgb: Tensor = self.to_rgb(torch.cat(samples, 1))
        return rgb

    def _samples(self, plane: Tensor, index: int) -> Tensor:
        size = self.layout.plane_size(index, self.height, self.width)
        plane = plane.to(torch.float32)
        if not self.layout.is_float and self.layout.bits > 8:
            plane = plane.select(2, 1) * 256.0 + plane.select(2, 0)
        return plane.reshape(1, 1, *size)


class _Writer(nn.Module):
    """Maps 1,3,H,W RGB to planes."""

    def __init__(self, layout: Layout, height: int, width: int) -> None:
        super().__init__()
        self.layout, self.height, self.width = layout, height, width
        matrix, offset = layout.from_rgb()
        self.subsampled = bool(layout.subsampling_w or layout.subsampling_h)
        first = 1 if self.subsampled else layout.planes
        self.from_rgb = _pointwise(matrix[:first], offset[:first])
        if self.subsampled:
            # Chroma is computed at its reduced width at once; its height is reduced afterwards.
            narrow = layout.plane_size(1, height, width)[1]
            identity = Kernels(weights=np.ones((1, 1)), step=1, before=0, after=0)
            kernels = (
                reducing(1 << layout.subsampling_w, ACROSS[layout.chroma_location])
                if layout.subsampling_w
                else identity
            )
            self.columns = _Taken(COLUMNS, kernels.mirrored(width)) if layout.subsampling_w else nn.Identity()
            self.chroma = _fixed(matrix[1:, :, None, None] * kernels.weights[0], offset[1:], step=(1, kernels.step))
            self.shorter: nn.Module = nn.Identity()
            if layout.subsampling_h:
                self.shorter = _Resampled(
                    ROWS, reducing(1 << layout.subsampling_h, DOWN[layout.chroma_location]), height, narrow
                )

    def forward(self, rgb: Tensor) -> tuple[Tensor, ...]:
        values = self.from_rgb(rgb)
        if not self.subsampled:
            return tuple(self._plane(values.narrow(1, i, 1), i) for i in range(self.layout.planes))
        chroma = self.shorter(self.chroma(self.columns(rgb)))
        return (self._plane(values, 0), *(self._plane(chroma.narrow(1, i, 1), i + 1) for i in range(2)))

    def _plane(self, values: Tensor, index: int) -> Tensor:
        values = values.reshape(*self.layout.plane_size(index, self.height, self.width))
        if self.layout.is_float:
            return values.to(torch.float16) if self.layout.bits == 16 else values
        low, high = self.layout.limits(index)
        codes = values.round().clamp(float(low), float(high))
        if self.layout.bits > 8:
            upper = (codes * (1 / 256)).floor()
            codes = torch.stack((codes - upper * 256.0, upper), 2)
        return codes.to(torch.uint8)


class _Taken(nn.Module):
    """Selects rows or columns, in the order given."""

    positions: Tensor

    def __init__(self, axis: int, positions: npt.NDArray[np.integer]) -> None:
        super().__init__()
        self.axis = axis
        self.register_buffer("positions", torch.from_numpy(positions.astype(np.int64)))

    def forward(self, x: Tensor) -> Tensor:
        return x.index_select(self.axis, self.positions)


class _Resampled(nn.Module):
    """Enlarges or reduces two planes of chroma, 1,2,H,W, along one axis."""

    def __init__(self, axis: int, kernels: Kernels, height: int, width: int) -> None:
        super().__init__()
        self.axis, self.height, self.width = axis, height, width
        self.phases = len(kernels.weights)
        self.mirrored = _Taken(axis, kernels.mirrored((height, width)[axis - ROWS]))
        weights = np.tile(kernels.weights, (2, 1))[:, None]
        step = (kernels.step, 1) if axis == ROWS else (1, kernels.step)
        self.sums = _fixed(weights[..., None] if axis == ROWS else weights[..., None, :], step=step, groups=2)

    def forward(self, x: Tensor) -> Tensor:
        sums: Tensor = self.sums(self.mirrored(x))
        if self.phases == 1:
            return sums
        apart = sums.reshape(2, self.phases, self.height, self.width)
        if self.axis == ROWS:
            return apart.permute(0, 2, 1, 3).reshape(1, 2, self.height * self.phases, self.width)
        return apart.permute(0, 2, 3, 1).reshape(1, 2, self.height, self.width * self.phases)


def _pointwise(matrix: npt.NDArray[np.float64], offset: npt.NDArray[np.float64]) -> nn.Module:
    """Return an affine map of the channels as a 1x1 convolution, or the identity where it changes nothing."""
    if matrix.shape[0] == matrix.shape[1] and (matrix == np.eye(len(matrix))).all() and not offset.any():
        return nn.Identity()
    return _fixed(matrix[:, :, None, None], offset)


def _fixed(
    weight: npt.NDArray[np.float64],
    bias: npt.NDArray[np.float64] | None = None,
    *,
    step: tuple[int, int] = (1, 1),
    groups: int = 1,
) -> nn.Conv2d:
    """Return a float32 convolution with these numbers, without padding or gradients; `step` is down, across."""
    out, channels, *size = weight.shape
    conv = nn.Conv2d(channels * groups, out, tuple(size), stride=step, groups=groups, bias=bias is not None)
    with torch.no_grad():
        conv.weight.copy_(torch.from_numpy(weight))
        if conv.bias is not None and bias is not None:
            conv.bias.copy_(torch.from_numpy(bias))
    return conv.requires_grad_(False)


def _tensors(layout: Layout, height: int, width: int) -> list[tuple[tuple[int, ...], torch.dtype]]:
    sizes = [layout.plane_size(plane, height, width) for plane in range(layout.planes)]
    if layout.is_float:
        return [(size, torch.float16 if layout.bits == 16 else torch.float32) for size in sizes]
    return [(size if layout.bits == 8 else (*size, 2), torch.uint8) for size in sizes]
