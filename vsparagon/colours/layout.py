"""What the samples of a frame's planes mean, and the linear maps between them and RGB.

Matrix codes are those of ITU-T H.273; the maps agree with VapourSynth's resizer (zimg). Imports neither VapourSynth nor
torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Family = Literal["gray", "rgb", "yuv"]
Matrix = npt.NDArray[np.float64]
Array = npt.NDArray[np.floating]
Plane = npt.NDArray[np.float32]  # of RGB: H,W, nominal range 0..1
AnyPlane = npt.NDArray[Any]  # H,W, in the sample type of the frame's format

# Names of the planes that a frame graph (`vsparagon.models.frame`) takes and returns.
INPUTS = ("plane0", "plane1", "plane2")
OUTPUTS = ("result0", "result1", "result2")

MOST_PIXELS = 1 << 28  # of a result: 3 GiB as RGBS; VapourSynth aborts the process when memory runs out
YCGCO = 8
# Matrix code -> weights of red and blue in luma (KR, KB), for the matrices that these two numbers define.
LUMA = {
    1: (0.2126, 0.0722),
    4: (0.30, 0.11),
    5: (0.299, 0.114),
    6: (0.299, 0.114),
    7: (0.212, 0.087),
    9: (0.2627, 0.0593),
}
CONSTANT_MATRICES = frozenset((0, YCGCO, *LUMA))
BT709 = 1


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How a picture is stored in planes. In equal layouts, equal samples mean equal colours.

    Attributes:
        family: of colours; the first plane of "yuv" is luma, "gray" is luma alone.
        bits: per sample: 8 to 16 for integers; 16 or 32 for floats.
        is_float: whether samples are floating-point: nominal range 0..1, chroma -0.5..0.5.
        subsampling_w, subsampling_h: base-2 logarithms of the chroma subsampling, as in VapourSynth.
        matrix: from RGB to the planes, one of `CONSTANT_MATRICES`; 0 for RGB.
        full: whether integers are of full range rather than limited; False for floats.
        chroma_location: of subsampled chroma: 0 left, 1 centre, 2 top left, 3 top, 4 bottom left, 5 bottom.
    """

    family: Family
    bits: int
    is_float: bool = False
    subsampling_w: int = 0
    subsampling_h: int = 0
    matrix: int = 0
    full: bool = False
    chroma_location: int = 0

    @property
    def planes(self) -> int:
        """The number of planes."""
        return 1 if self.family == "gray" else 3

    def plane_size(self, plane: int, height: int, width: int) -> tuple[int, int]:
        """Return height and width of a plane, given those of the picture; all in samples."""
        return (height >> self.subsampling_h, width >> self.subsampling_w) if plane else (height, width)

    def limits(self, plane: int) -> tuple[int, int]:
        """Return the smallest and largest legal code value of an integer plane."""
        if self.full:
            return 0, (1 << self.bits) - 1
        return 16 << self.bits - 8, (240 if self.family == "yuv" and plane else 235) << self.bits - 8

    def codes(self) -> tuple[Matrix, Matrix]:
        """Return gain and offset of each plane, both (planes,): code value = gain * nominal value + offset."""
        if self.is_float:
            return np.ones(self.planes), np.zeros(self.planes)
        chroma = np.arange(self.planes) > 0 if self.family == "yuv" else np.zeros(self.planes, bool)
        unit, peak, middle = 1 << self.bits - 8, (1 << self.bits) - 1, 1 << self.bits - 1
        if self.full:
            return np.full(self.planes, float(peak)), np.where(chroma, middle, 0.0)
        wide = chroma & (self.matrix != YCGCO)  # H.273 scales R, G and B for YCgCo, not chroma
        return np.where(wide, 224.0, 219.0) * unit, np.where(chroma, middle, 16.0 * unit)

    def from_rgb(self) -> tuple[Matrix, Matrix]:
        """Return the affine map from RGB of nominal range 0..1 to code values: matrix (planes, 3), offset (planes,)."""
        gain, offset = self.codes()
        return gain[:, None] * _from_rgb(self.matrix)[: self.planes], offset

    def to_rgb(self) -> tuple[Matrix, Matrix]:
        """Return the affine map from code values to RGB of nominal range 0..1: matrix (3, planes), offset (3,)."""
        gain, offset = self.codes()
        inverse = np.ones((3, 1)) if self.family == "gray" else np.linalg.inv(_from_rgb(self.matrix))
        matrix = inverse / gain
        return matrix, -matrix @ offset


def _from_rgb(matrix: int) -> Matrix:
    """Return the (3, 3) matrix from red, green, blue to the nominal values of luma and both chroma planes."""
    if matrix == 0:
        return np.eye(3)
    if matrix == YCGCO:
        return np.array([[0.25, 0.5, 0.25], [-0.25, 0.5, -0.25], [0.5, 0.0, -0.5]])
    red, blue = LUMA[matrix]
    luma = np.array([red, 1 - red - blue, blue])
    return np.stack(
        (luma, (np.array([0.0, 0.0, 1.0]) - luma) / (2 - 2 * blue), (np.array([1.0, 0.0, 0.0]) - luma) / (2 - 2 * red))
    )


LUMA_OF_RGB = _from_rgb(BT709)[0].astype(np.float32)
"""Shares of red, green and blue in the one plane that is made of an enlarged gray picture."""
