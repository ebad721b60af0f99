"""Resize as super-resolution papers do: like MATLAB's `imresize`, with the kernel widened for downscaling."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Literal

import numpy as np
import numpy.typing as npt

from vsparagon.training.pictures import Picture, to_picture

Kernel = Literal["bicubic", "area", "lanczos"]
Real = npt.NDArray[np.float64]

REACH = 3  # how far the widest kernel reads to each side when it reduces a picture, in reduced pixels


def resize(picture: Picture, height: int, width: int, kernel: Kernel = "bicubic") -> Picture:
    """Return a picture resized to `height` by `width`, with rounding only at the end.

    Result pixel i is centred at source position (i + 1/2) * ratio - 1/2. Borders are mirrored with the edge pixel
    repeated, and the weights of each result pixel sum to 1.

    Args:
        picture: H,W,C uint8.
        height, width: of the result, in pixels.
        kernel: "bicubic" (Keys, a = -1/2), "lanczos" (three lobes) or "area" (the mean over a pixel's area).
    """
    rows = _matrix(picture.shape[0], height, kernel)
    columns = _matrix(picture.shape[1], width, kernel)
    tall = np.tensordot(rows, picture.astype(np.float32), 1)
    return to_picture(np.matmul(columns, tall))


def reduce(picture: Picture, scale: int, kernel: Kernel = "bicubic") -> Picture:
    """Return a picture, H,W,C uint8, reduced to H/scale,W/scale,C; H and W must be multiples of `scale`."""
    return resize(picture, picture.shape[0] // scale, picture.shape[1] // scale, kernel)


@lru_cache(maxsize=64)
def _matrix(source: int, target: int, kernel: Kernel) -> npt.NDArray[np.float32]:
    """Return the (target, source) matrix that resizes one axis."""
    function, support = _KERNELS[kernel]
    stretch = max(source / target, 1.0)
    centre = (np.arange(target) + 0.5) * source / target - 0.5
    first = np.floor(centre - support * stretch).astype(np.int64)
    position = first[:, None] + np.arange(int(np.ceil(2 * support * stretch)) + 2)
    weight = function((position - centre[:, None]) / stretch)
    weight /= weight.sum(axis=1, keepdims=True)
    mirrored = position % (2 * source)
    mirrored = np.minimum(mirrored, 2 * source - 1 - mirrored)
    matrix = np.zeros((target, source))
    np.add.at(matrix, (np.arange(target)[:, None], mirrored), weight)
    return matrix.astype(np.float32)


def _cubic(x: Real) -> Real:
    """Keys' cubic convolution kernel (1981), a = -1/2."""
    x = np.abs(x)
    near, far = 1.5 * x**3 - 2.5 * x**2 + 1, -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return np.where(x <= 1, near, np.where(x < 2, far, 0.0))


def _lanczos(x: Real) -> Real:
    return np.where(np.abs(x) < 3, np.sinc(x) * np.sinc(x / 3), 0.0)


def _box(x: Real) -> Real:
    return ((x >= -0.5) & (x < 0.5)).astype(np.float64)


_KERNELS: dict[Kernel, tuple[Callable[[Real], Real], float]] = {
    "bicubic": (_cubic, 2.0),
    "lanczos": (_lanczos, 3.0),
    "area": (_box, 0.5),
}
