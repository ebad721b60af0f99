"""The frame that the network sees: the picture, mirrored beyond its borders.

ParagonSR2 pads with zeros inside, which darkens the outermost pixels, and its attention cuts the picture into
windows from the top-left corner. The filter's result is therefore defined on an extended picture: `MARGIN` pixels at
the top and left; at the bottom and right as many plus what brings both sides to a size that the network takes. For
ParagonSR2 that is 24a + 8, where every window is whole. All backends, tiles and reference results use this extension.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vsparagon.layout import Array

MARGIN = 8


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Which input sizes a network takes, in pixels: `step * n + rest`, at least `minimum`; or `fixed` alone.

    Attributes:
        fixed: height and width, where the network takes no other.
    """

    step: int = 1
    rest: int = 0
    minimum: int = 1
    fixed: tuple[int, int] | None = None

    def at_least(self, height: int, width: int) -> tuple[int, int]:
        """Return the smallest height and width that the network takes, whole or in tiles, and that hold these."""
        if self.fixed:
            return max(height, self.fixed[0]), max(width, self.fixed[1])
        return self._side(height), self._side(width)

    def _side(self, pixels: int) -> int:
        return -(-(max(pixels, self.minimum) - self.rest) // self.step) * self.step + self.rest


WHOLE_WINDOWS = Sizes(step=24, rest=8)


@dataclass(frozen=True, kw_only=True)
class Extension:
    """How a picture of one size is extended and its result cut back. All numbers in pixels of the source.

    Attributes:
        height, width: size of the picture.
        extended_height, extended_width: size after extension.
    """

    height: int
    width: int
    extended_height: int
    extended_width: int

    def fill(self, extended: Array) -> None:
        """Mirror the picture that lies in `extended[..., MARGIN:, MARGIN:]` into the rest of `extended`, in place.

        The edge pixel is repeated (d c b a | a b c d). A picture smaller than its extension is mirrored repeatedly.
        """
        rows, columns = (positions + MARGIN for positions in self.mirrored())
        right, bottom = MARGIN + self.width, MARGIN + self.height
        middle = extended[..., MARGIN:bottom, :]
        middle[..., :MARGIN] = middle[..., columns[:MARGIN]]
        middle[..., right:] = middle[..., columns[right:]]
        extended[..., :MARGIN, :] = extended[..., rows[:MARGIN], :]
        extended[..., bottom:, :] = extended[..., rows[bottom:], :]

    def mirrored(self) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
        """Return which row and which column of the picture stands at each position of the extended one."""
        return _mirror(self.height, self.extended_height), _mirror(self.width, self.extended_width)

    def picture(self, array: Array, scale: int = 1, shift: int = 0) -> Array:
        """Return the view of the picture inside an extended array, or inside its enlargement by `scale`.

        Args:
            array: ..., height, width.
            scale: of the array.
            shift: pixels of the array that are missing at its top and at its left.
        """
        first = MARGIN * scale - shift
        return array[..., first : first + self.height * scale, first : first + self.width * scale]


def extension_for(height: int, width: int, sizes: Sizes = WHOLE_WINDOWS) -> Extension:
    """Return the extension of a picture of `height` by `width` pixels for a network that takes `sizes`."""
    extended_height, extended_width = sizes.at_least(height + 2 * MARGIN, width + 2 * MARGIN)
    return Extension(height=height, width=width, extended_height=extended_height, extended_width=extended_width)


def _mirror(pixels: int, extended: int) -> npt.NDArray[np.intp]:
    """Position on an axis of the picture that each position of the extended axis copies."""
    position = (np.arange(extended) - MARGIN) % (2 * pixels)
    return np.minimum(position, 2 * pixels - 1 - position)
