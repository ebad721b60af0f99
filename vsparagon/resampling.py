"""Chroma between its own resolution and that of luma, as VapourSynth's resizer (zimg) computes it with Spline36.

Both directions are convolutions along one axis over a plane that is mirrored beyond its borders: `before` and `after`
samples are put to its ends, and each step of the kernels then makes one sample, or one for each phase.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import floor

import numpy as np
import numpy.typing as npt

SUPPORT = 3  # of Spline36, in samples of the coarser side

# Where chroma lies between the luma samples that it belongs to: 0 on the first, 0.5 in the middle, 1 on the last.
ACROSS = (0.0, 0.5, 0.0, 0.5, 0.0, 0.5)
DOWN = (0.5, 0.5, 0.0, 0.0, 1.0, 1.0)


@dataclass(frozen=True, kw_only=True)
class Kernels:
    """One convolution along an axis.

    Attributes:
        weights: (phases, taps); each row sums to 1.
        step: samples from one convolution to the next.
        before, after: samples that are mirrored beyond each end.
    """

    weights: npt.NDArray[np.floating]
    step: int
    before: int
    after: int

    def mirrored(self, samples: int) -> npt.NDArray[np.int64]:
        """Return which sample of an axis stands at each position of the mirrored one."""
        position = np.arange(-self.before, samples + self.after)
        beyond = np.where(position >= samples, 2 * samples - 1 - position, position)
        return np.clip(np.where(position < 0, -1 - position, beyond), 0, samples - 1)


def enlarging(factor: int, siting: float) -> Kernels:
    """Return the kernels that make `factor` samples, one for each phase, of each sample of chroma.

    Args:
        factor: of the subsampling.
        siting: an entry of `ACROSS` or `DOWN`.
    """
    shift = (0.5 - siting) * (1 - 1 / factor)
    places = [(phase + 0.5) / factor + shift for phase in range(factor)]
    firsts = [floor(place - SUPPORT + 0.5) for place in places]
    weights = np.zeros((factor, max(firsts) - min(firsts) + 2 * SUPPORT))
    for row, place, first in zip(weights, places, firsts, strict=True):
        taps = first + np.arange(2 * SUPPORT)
        row[taps - min(firsts)] = _normalised(_spline36(taps + 0.5 - place))
    before = -min(firsts)
    return Kernels(weights=weights, step=1, before=before, after=weights.shape[1] - 1 - before)


def reducing(factor: int, siting: float) -> Kernels:
    """Return the kernel that makes one sample of chroma of each `factor` samples; see `enlarging`."""
    place = 0.5 + siting * (factor - 1)
    first = floor(place - SUPPORT * factor + 0.5)
    taps = first + np.arange(2 * SUPPORT * factor)
    weights = _normalised(_spline36((taps + 0.5 - place) / factor))[None]
    return Kernels(weights=weights, step=factor, before=-first, after=first + len(taps) - factor)


def _normalised(weights: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    return weights / weights.sum()


def _spline36(x: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    x = np.abs(x)
    near = ((13 * x / 11 - 453 / 209) * x - 3 / 209) * x + 1
    y = x - 1
    middle = ((-6 * y / 11 + 270 / 209) * y - 156 / 209) * y
    z = x - 2
    far = ((z / 11 - 45 / 209) * z + 26 / 209) * z
    return np.select([x < 1, x < 2, x < 3], [near, middle, far], 0.0)
