"""The extended picture that the network sees: the picture, mirrored beyond its borders.

ParagonSR2 pads its layers with zeros, which darkens the outermost pixels, and its attention divides the picture into
windows from the top-left corner. The filter's result is therefore defined on an extended picture: `MARGIN` more pixels
at the top and left; at the bottom and right, `MARGIN` plus as many as bring both sides to a size that the network
accepts. For ParagonSR2 that is 24a + 8, at which every window is complete. All backends, tiles and reference results
use this extension.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vsparagon.colours.layout import Array

MARGIN = 8  # source pixels


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """The input sizes that a network accepts, in pixels: sides of `step * n + rest`, at least `minimum`; or `fixed`.

    Attributes:
        fixed: the only height and width that the network accepts; None if it accepts others.
    """

    step: int = 1
    rest: int = 0
    minimum: int = 1
    fixed: tuple[int, int] | None = None

    def at_least(self, height: int, width: int) -> tuple[int, int]:
        """Return the smallest height and width, at least these, at which the network can run, whole or in tiles."""
        if self.fixed:
            return max(height, self.fixed[0]), max(width, self.fixed[1])
        return self._side(height), self._side(width)

    def _side(self, pixels: int) -> int:
        return -(-(max(pixels, self.minimum) - self.rest) // self.step) * self.step + self.rest


WHOLE_WINDOWS = Sizes(step=24, rest=8)


@dataclass(frozen=True, kw_only=True)
class Extension:
    """How pictures of one size are extended, and their results cropped. All sizes are in source pixels.

    Attributes:
        height, width: size of the picture.
        extended_height, extended_width: size of the extended picture.
    """

    height: int
    width: int
    extended_height: int
    extended_width: int

    def fill(self, extended: Array) -> None:
        """Extend a picture in-place by mirroring it: d c b a | a b c d, with the edge pixel repeated.

        A picture smaller than what is added to it is mirrored repeatedly.

        Args:
            extended: ...,extended_height,extended_width; contains the picture from row and column `MARGIN` on.
        """
        rows, columns = (positions + MARGIN for positions in self.mirrored())
        right, bottom = MARGIN + self.width, MARGIN + self.height
        middle = extended[..., MARGIN:bottom, :]
        middle[..., :MARGIN] = middle[..., columns[:MARGIN]]
        middle[..., right:] = middle[..., columns[right:]]
        extended[..., :MARGIN, :] = extended[..., rows[:MARGIN], :]
        extended[..., bottom:, :] = extended[..., rows[bottom:], :]

    def mirrored(self) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
        """Return the row and the column of the picture at each position: (extended_height,), (extended_width,)."""
        return _mirror(self.height, self.extended_height), _mirror(self.width, self.extended_width)

    def picture(self, array: Array, scale: int = 1, shift: int = 0) -> Array:
        """Return a view of the picture inside an extended array, or inside that array's enlargement by `scale`.

        Args:
            array: ...,height,width.
            scale: enlargement of the array.
            shift: rows and columns that are missing at the top and left of the array, in its own pixels.
        """
        first = MARGIN * scale - shift
        return array[..., first : first + self.height * scale, first : first + self.width * scale]


def extension_for(height: int, width: int, sizes: Sizes = WHOLE_WINDOWS) -> Extension:
    """Return the extension of a picture of `height` by `width` pixels for a network that accepts `sizes`."""
    extended_height, extended_width = sizes.at_least(height + 2 * MARGIN, width + 2 * MARGIN)
    return Extension(height=height, width=width, extended_height=extended_height, extended_width=extended_width)


def _mirror(pixels: int, extended: int) -> npt.NDArray[np.intp]:
    """Return the position on the picture's axis that each position of the extended axis copies: (extended,)."""
    position = (np.arange(extended) - MARGIN) % (2 * pixels)
    return np.minimum(position, 2 * pixels - 1 - position)
