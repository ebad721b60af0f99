"""How pictures and features lie in a GPU's memory, and what kernels are started with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 -- its usual name

from vsparagon.fused import kernels
from vsparagon.fused.shapes import Shape

Launch = Callable[[], object]

LEAST_CHANNELS = 16  # that a matrix product takes
MOST_NUMBERS = 1 << 31  # that kernels can count in one tensor


@dataclass(frozen=True, kw_only=True)
class Canvas:
    """Room for a picture and its features, with a border of zeros that no kernel writes to.

    Attributes:
        height, width: in pixels.
        border: pixels on each side that kernels may look at.
        device: as torch names it.
    """

    height: int
    width: int
    border: int
    device: torch.device

    @property
    def rows(self) -> int:
        return 2 * self.border + _whole(self.height, kernels.MOST_ROWS)

    @property
    def pitch(self) -> int:
        return _whole(2 * self.border + _whole(self.width, kernels.COLUMNS.value), LEAST_CHANNELS)

    @property
    def plane(self) -> int:
        """Numbers from one colour of a picture to the next."""
        return self.rows * self.pitch

    def origin(self, *, above: int = 0, left: int = 0) -> int:
        """Return where the pixel so far above and left of pixel 0, 0 lies, in pixels."""
        return (self.border - above) * self.pitch + self.border - left

    def picture(self) -> Tensor:
        return torch.zeros(3, self.rows, self.pitch, device=self.device)

    def features(self, channels: int) -> Tensor:
        return torch.zeros(self.rows, self.pitch, channels, dtype=torch.float16, device=self.device)

    def offsets(self, places: Sequence[tuple[int, int]]) -> Tensor:
        """Return the numbers of pixels from a pixel to those at these rows and columns from it."""
        return self.numbers([row * self.pitch + column for row, column in places], torch.int32)

    def numbers(self, values: Any, dtype: torch.dtype = torch.float32) -> Tensor:
        return torch.as_tensor(values).to(self.device, dtype).contiguous()

    def launch(
        self, kernel: Any, *arguments: Any, shape: Shape, size: tuple[int, int] | None = None, layers: int = 1,
        **constants: Any,
    ) -> Launch:  # fmt: skip
        """Return the start of a kernel over so many rows and columns, by default those of the canvas, and layers.

        Args:
            kernel, arguments, constants: Triton's.
            shape: of a program.
            size, layers: rows and columns, and how often.
        """
        assert shape.rows <= kernels.MOST_ROWS
        height, width = size or (self.height, self.width)
        grid = (-(-width // kernels.COLUMNS.value), -(-height // shape.rows), layers)
        return partial(kernel[grid], *arguments, num_warps=shape.warps, ROWS=shape.rows, **constants)


def channels_for(channels: int) -> int:
    """Return the number of channels that kernels take in the place of so many: a power of two."""
    return max(LEAST_CHANNELS, 1 << (channels - 1).bit_length())


def padded(values: Tensor, *sizes: int) -> Tensor:
    """Return the tensor with zeros at the ends of its last axes, up to these sizes."""
    pairs = zip(reversed(sizes), reversed(values.shape), strict=False)
    return F.pad(values, [count for size, present in pairs for count in (0, size - present)])


def taps(kernel: Tensor, above: int, left: int) -> Iterator[tuple[tuple[int, int], Tensor]]:
    """Yield where a kernel of ...,height,width has weights other than 0, from the pixel it is for, and those weights.

    Args:
        kernel: of any number of channels.
        above, left: rows and columns of it that lie before that pixel.
    """
    used = kernel.flatten(0, -3).ne(0).any(0)
    for row, column in used.nonzero().tolist():
        yield (row - above, column - left), kernel[..., row, column]


def table(weights: npt.NDArray[np.floating], step: int, mirrored: npt.NDArray[np.integer]) -> tuple[Any, Any]:
    """Return what each sample of a resampled axis is made of: (taps, samples) of positions, and of weights.

    Args:
        weights: phases, taps.
        step: samples from one convolution to the next.
        mirrored: which sample stands at each position of the axis with its ends.
    """
    phases, count = weights.shape
    starts = np.arange(0, len(mirrored) - count + 1, step)
    positions = mirrored[starts + np.arange(count)[:, None]]
    return np.repeat(positions, phases, 1), np.tile(weights.T, len(starts))


def _whole(size: int, step: int) -> int:
    return -(-size // step) * step
