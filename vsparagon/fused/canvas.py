"""The layout of pictures and features in GPU memory, and how kernels are launched on them."""

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

LEAST_CHANNELS = 16  # least length of an axis of a matrix product
MOST_NUMBERS = 1 << 31  # a tensor must have fewer, because kernels use 32-bit indices


class Room:
    """A pool of tensors shared by executors for the same network and frame size that never run at the same time.

    Every executor takes the same tensors in the same order. That is safe because each writes whatever it reads, except
    for borders, which always remain zero.
    """

    def __init__(self) -> None:
        self._tensors: dict[tuple[tuple[int, ...], torch.dtype, int], Tensor] = {}
        self._taken: Counter[tuple[tuple[int, ...], torch.dtype]] = Counter()

    def begin(self) -> None:
        """Start again at the first tensor of each kind; to be called before each executor is made."""
        self._taken.clear()

    def zeros(self, size: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
        """Return the next tensor of this size and dtype from the pool, zero-filled when it is first made."""
        kind = size, dtype
        self._taken[kind] += 1
        key = *kind, self._taken[kind]
        if key not in self._tensors:
            self._tensors[key] = torch.zeros(size, dtype=dtype, device=device)
        return self._tensors[key]


@dataclass(frozen=True, kw_only=True)
class Canvas:
    """The memory layout of a picture and its features: `rows` rows of `pitch` pixels, with a border that stays zero.

    `picture()` is float32, 3,rows,pitch; `features(channels)` is float16, rows,pitch,channels. `numbers` copies any
    values to the device.

    Attributes:
        height, width: of the picture, in pixels.
        border: pixels on each side that kernels may read but never write.
        device: of the tensors.
        room: pool from which tensors are taken.
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
        """How many numbers one colour of a picture occupies: the distance to the next colour."""
        return self.rows * self.pitch

    def origin(self, *, above: int = 0, left: int = 0) -> int:
        """Return the index of the pixel `above` rows above and `left` columns left of pixel 0, 0; counted in pixels."""
        return (self.border - above) * self.pitch + self.border - left

    def picture(self) -> Tensor:
        return self.zeros(3, self.rows, self.pitch)

    def features(self, channels: int) -> Tensor:
        return self.zeros(self.rows, self.pitch, channels, dtype=torch.float16)

    def zeros(self, *size: int, dtype: torch.dtype = torch.float32) -> Tensor:
        return self.room.zeros(size, dtype, self.device)

    def offsets(self, places: Sequence[tuple[int, int]]) -> Tensor:
        """Return the distances, in pixels of memory, to the pixels at these (row, column) offsets: int32, (places,)."""
        return self.numbers([row * self.pitch + column for row, column in places], torch.int32)

    def numbers(self, values: Any, dtype: torch.dtype = torch.float32) -> Tensor:
        return torch.as_tensor(values).to(self.device, dtype).contiguous()

    def launch(
        self, kernel: Any, *arguments: Any, shape: Shape, size: tuple[int, int] | None = None, layers: int = 1,
        **constants: Any,
    ) -> Launch:  # fmt: skip
        """Return a function that launches a kernel.

        Args:
            kernel: a `triton.jit` function.
            arguments, constants: of the kernel; the constants are its `tl.constexpr` parameters.
            shape: of the kernel's programs.
            size: rows and columns to cover; those of the canvas by default.
            layers: third dimension of the grid.
        """
        assert shape.rows <= kernels.MOST_ROWS
        height, width = size or (self.height, self.width)
        grid = (-(-width // kernels.COLUMNS.value), -(-height // shape.rows), layers)
        return partial(kernel[grid], *arguments, num_warps=shape.warps, ROWS=shape.rows, **constants)


def channels_for(channels: int) -> int:
    """Return the number of channels to which kernels pad `channels`: a power of two, at least `LEAST_CHANNELS`."""
    return max(LEAST_CHANNELS, 1 << (channels - 1).bit_length())


def padded(values: Tensor, *sizes: int) -> Tensor:
    """Return the tensor with its last axes padded with zeros at the end, up to these sizes."""
    pairs = zip(reversed(sizes), reversed(values.shape), strict=False)
    return F.pad(values, [count for size, present in pairs for count in (0, size - present)])


def taps(kernel: Tensor, above: int, left: int) -> Iterator[tuple[tuple[int, int], Tensor]]:
    """Yield the taps of a convolution kernel that are not all zero: (row, column) offset, and weights.

    Args:
        kernel: ...,height,width, with at least one axis before these; a tap's weights have the shape of those axes.
        above, left: rows and columns of the kernel before the pixel to which the offsets refer.
    """
    used = kernel.flatten(0, -3).ne(0).any(0)
    for row, column in used.nonzero().tolist():
        yield (row - above, column - left), kernel[..., row, column]


def table(weights: npt.NDArray[np.floating], step: int, mirrored: npt.NDArray[np.integer]) -> tuple[Any, Any]:
    """Return source positions and weights of every sample of a resampled axis, both (taps, samples).

    Args:
        weights: (phases, taps), as in `vsparagon.colours.resampling.Kernels`.
        step: source samples from one position of the kernels to the next.
        mirrored: index of the sample at each position of the extended axis.
    """
    phases, count = weights.shape
    starts = np.arange(0, len(mirrored) - count + 1, step)
    positions = mirrored[starts + np.arange(count)[:, None]]
    return np.repeat(positions, phases, 1), np.tile(weights.T, len(starts))


def _whole(size: int, step: int) -> int:
    return -(-size // step) * step
