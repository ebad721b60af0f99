"""The frame that the network sees: the picture, mirrored beyond its borders.

ParagonSR2 pads with zeros inside, which darkens the outermost pixels, and its attention cuts the picture into
windows from the top-left corner. The filter's result is therefore defined on an extended picture: `MARGIN` pixels at
the top and left; at the bottom and right as many plus what makes both sides 24a + 8, so that every window is whole.
All backends, tiles and reference results use this same extension.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

MARGIN = 8
WINDOW_STEP = 24
WINDOW_REST = 8


@dataclass(frozen=True, kw_only=True)
class Extension:
    """How a picture of one size is extended and its result cut back. All numbers in pixels of the source.

    Attributes:
        height, width: size of the picture.
        extended_height, extended_width: size after extension.
        margin: pixels added at the top and at the left.
    """

    height: int
    width: int
    extended_height: int
    extended_width: int
    margin: int = MARGIN

    def fill(self, extended: npt.NDArray[np.float32]) -> None:
        """Mirror the picture that lies in `extended[..., margin:, margin:]` into the rest of `extended`, in place.

        The edge pixel is repeated (d c b a | a b c d). A picture smaller than its extension is mirrored repeatedly.
        """
        rows = _mirror(self.height, self.extended_height, self.margin)
        columns = _mirror(self.width, self.extended_width, self.margin)
        right = self.margin + self.width
        middle = extended[..., self.margin : self.margin + self.height, :]
        middle[..., : self.margin] = middle[..., columns[: self.margin]]
        middle[..., right:] = middle[..., columns[right:]]
        extended[..., : self.margin, :] = extended[..., rows[: self.margin], :]
        bottom = self.margin + self.height
        extended[..., bottom:, :] = extended[..., rows[bottom:], :]

    def picture(self, array: npt.NDArray[np.float32], scale: int = 1) -> npt.NDArray[np.float32]:
        """Return the view of the picture inside an extended array, or inside its enlargement by `scale`."""
        top = self.margin * scale
        return array[..., top : top + self.height * scale, top : top + self.width * scale]


def extension_for(height: int, width: int) -> Extension:
    """Return the extension of a picture of `height` by `width` pixels."""
    return Extension(height=height, width=width, extended_height=_extended(height), extended_width=_extended(width))


def _extended(pixels: int) -> int:
    wanted = pixels + 2 * MARGIN - WINDOW_REST
    return -(-wanted // WINDOW_STEP) * WINDOW_STEP + WINDOW_REST


def _mirror(pixels: int, extended: int, margin: int) -> npt.NDArray[np.intp]:
    """Index into the extended axis that each of its positions copies."""
    position = (np.arange(extended) - margin) % (2 * pixels)
    return np.minimum(position, 2 * pixels - 1 - position) + margin
