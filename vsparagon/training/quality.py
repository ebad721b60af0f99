"""Measure picture quality as super-resolution papers do. All pictures are H,W,3 RGB of 0..255 and of one size."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Real = npt.NDArray[np.float64]
SSIM_WINDOW = 11
BEST_PSNR = 100.0  # in dB


def luma(rgb: npt.NDArray[np.generic]) -> Real:
    """Return the BT.601 luma of a picture, H,W, in limited range (16 to 235) and not rounded."""
    weights = np.array([65.481, 128.553, 24.966])
    result: Real = rgb.astype(np.float64) @ weights / 255.0 + 16.0
    return result


def psnr_luma(result: npt.NDArray[np.generic], reference: npt.NDArray[np.generic], border: int) -> float:
    """Return the PSNR of the luma in dB, with a peak of 255; `border` pixels are cut from each side.

    It is at most `BEST_PSNR`, also for equal pictures, so that a mean over several pictures is finite.
    """
    return _psnr(luma(_inside(result, border)), luma(_inside(reference, border)))


def psnr_rgb(result: npt.NDArray[np.generic], reference: npt.NDArray[np.generic], border: int) -> float:
    """Return the PSNR over red, green and blue in dB; peak, border and limit as for `psnr_luma`."""
    return _psnr(_inside(result, border).astype(np.float64), _inside(reference, border).astype(np.float64))


def ssim_luma(result: npt.NDArray[np.generic], reference: npt.NDArray[np.generic], border: int) -> float:
    """Return the mean structural similarity (SSIM) of the luma; `border` pixels are first cut from each side.

    Wang et al., "Image quality assessment: from error visibility to structural similarity", 2004: a Gaussian window
    of 11x11 pixels with sigma 1.5, used only where all of it lies inside the picture; K1 = 0.01, K2 = 0.03, L = 255.
    After cutting, both sides must be at least 11 pixels.
    """
    x, y = luma(_inside(result, border)), luma(_inside(reference, border))
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    mean_x, mean_y = _window(x), _window(y)
    var_x, var_y = _window(x * x) - mean_x**2, _window(y * y) - mean_y**2
    covariance = _window(x * y) - mean_x * mean_y
    similarity = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    similarity /= (mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2)
    return float(similarity.mean())


def flicker(
    result: npt.NDArray[np.generic],
    previous_result: npt.NDArray[np.generic],
    reference: npt.NDArray[np.generic],
    previous_reference: npt.NDArray[np.generic],
) -> float:
    """Return how much the luma's change from one frame to the next differs from the reference's, on a scale of 0..255.

    This is the mean of |(result - previous_result) - (reference - previous_reference)|. A constant difference between
    result and reference does not count.
    """
    change = luma(result) - luma(previous_result) - luma(reference) + luma(previous_reference)
    return float(np.abs(change).mean())


def _inside(picture: npt.NDArray[np.generic], border: int) -> npt.NDArray[np.generic]:
    return picture[border : picture.shape[0] - border, border : picture.shape[1] - border]


def _psnr(result: Real, reference: Real) -> float:
    error = float(np.mean((result - reference) ** 2)) / 255.0**2
    return -10.0 * math.log10(max(error, 10.0 ** (-BEST_PSNR / 10.0)))


def _window(x: Real) -> Real:
    reach = SSIM_WINDOW // 2
    taps = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * 1.5**2))
    taps /= taps.sum()
    rows = sum(tap * x[i : x.shape[0] - 2 * reach + i] for i, tap in enumerate(taps))
    assert isinstance(rows, np.ndarray)
    columns = sum(tap * rows[:, i : x.shape[1] - 2 * reach + i] for i, tap in enumerate(taps))
    assert isinstance(columns, np.ndarray)
    return columns
