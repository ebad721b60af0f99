"""How pictures and features lie in a GPU's memory, and what kernels are started with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
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


class Room:
    """Memory that executors of one network and one size of frame share, of which no two run at once.

    What one of them takes, the next one takes again, in the same order: each writes what it reads, but for borders.
    """

    def __init__(self) -> None:
        self._tensors: dict[tuple[tuple[int, ...], torch.dtype, int], Tensor] = {}
        self._taken: Counter[tuple[tuple[int, ...], torch.dtype]] = Counter()

    def begin(self) -> None:
        """Let the next executor take from the beginning."""
        self._taken.clear()

    def zeros(self, size: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
        """Return a tensor of this size that this executor has not taken yet; zeros where none has."""
        kind = size, dtype
        self._taken[kind] += 1
        key = *kind, self._taken[kind]
        if key not in self._tensors:
            self._tensors[key] = torch.zeros(size, dtype=dtype, device=device)
        return self._tensors[key]


@dataclass(frozen=True, kw_only=True)
class Canvas:
    """Room for a picture and its features, with a border of zeros that no kernel writes to.

    Attributes:
        height, width: in pixels.
        border: pixels on each side that kernels may look at.
        device: as torch names it.
        room: where memory is taken from.
    """

    height: int
    width: int
    border: int
    device: torch.device
    room: Room = field(default_factory=Room)

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
        return self.zeros(3, self.rows, self.pitch)

    def features(self, channels: int) -> Tensor:
        return self.zeros(self.rows, self.pitch, channels, dtype=torch.float16)

    def zeros(self, *size: int, dtype: torch.dtype = torch.float32) -> Tensor:
        return self.room.zeros(size, dtype, self.device)

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
