"""Picture quality as super-resolution papers measure it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def luma(rgb: npt.NDArray[np.generic]) -> npt.NDArray[np.float64]:
    """Return the BT.601 luma of an H,W,3 uint8 picture in limited range, 16 to 235, not rounded."""
    weights = np.array([65.481, 128.553, 24.966])
    result: npt.NDArray[np.float64] = rgb.astype(np.float64) @ weights / 255.0 + 16.0
    return result


def psnr_luma(result: npt.NDArray[np.generic], reference: npt.NDArray[np.generic], border: int) -> float:
    """Return the peak signal-to-noise ratio of the luma in dB, peak 255, `border` pixels cut from each side.

    Both pictures are H,W,3 uint8 of one size.
    """
    error = luma(result) - luma(reference)
    error = error[border : error.shape[0] - border, border : error.shape[1] - border]
    return float(10.0 * np.log10(255.0**2 / np.mean(error**2)))
