"""Kernels that resample chroma to the resolution of luma and back, as VapourSynth's resizer (zimg) does with Spline36.

Both directions are convolutions along one axis. The axis is extended by `before` and `after` mirrored samples; the
kernels then move by `step` and give one sample per phase.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import floor

import numpy as np
import numpy.typing as npt

SUPPORT = 3  # of Spline36, in samples of the lower resolution

# By chroma location, 0 to 5: the position of a chroma sample among the luma samples it belongs to, across and down.
# 0 is on the first of them, 0.5 in the middle, 1 on the last.
ACROSS = (0.0, 0.5, 0.0, 0.5, 0.0, 0.5)
DOWN = (0.5, 0.5, 0.0, 0.0, 1.0, 1.0)


@dataclass(frozen=True, kw_only=True)
class Kernels:
    """A resampling filter along one axis.

    Attributes:
        weights: (phases, taps); each row sums to 1.
        step: source samples from one position of the kernels to the next.
        before, after: mirrored samples to add at the beginning and end of the axis.
    """

    weights: npt.NDArray[np.floating]
    step: int
    before: int
    after: int

    def mirrored(self, samples: int) -> npt.NDArray[np.int64]:
        """Return the index of the sample at each position of the extended axis: (before + samples + after,).

        Args:
            samples: length of the axis before it is extended.
        """
        position = np.arange(-self.before, samples + self.after)
        beyond = np.where(position >= samples, 2 * samples - 1 - position, position)
        return np.clip(np.where(position < 0, -1 - position, beyond), 0, samples - 1)


def enlarging(factor: int, siting: float) -> Kernels:
    """Return the kernels that upsample chroma by `factor`, one phase for each new sample.

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
    """Return the kernel, of one phase, that downsamples chroma by `factor`; arguments as in `enlarging`."""
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
