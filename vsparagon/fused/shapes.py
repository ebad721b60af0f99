"""The number of rows and warps of each kernel's programs.

Chosen by measurements on an H200, upscaling 1080p by 2; for more than four phases, by what fits into registers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Shape:
    """Rows and warps of the programs of one kernel; the columns are `vsparagon.fused.kernels.COLUMNS`."""

    rows: int
    warps: int


RESAMPLE_DOWN: Final = Shape(8, 2)
RESAMPLE_ACROSS: Final = Shape(4, 4)
READ: Final = Shape(4, 4)
SHARPEN: Final = Shape(8, 1)
WRITE: Final = Shape(8, 4)
WRITE_MORE: Final = Shape(4, 4)  # for more than four phases
MIX: Final = Shape(8, 4)
MIX_WIDE: Final = Shape(4, 4)  # for more than 16 channels


def dense(abreast: int, results: int) -> Shape:
    """Return the shape for `kernels.dense`: 128 rows of the matrix product, or fewer to spare registers.

    With more results, 128 rows would not fit into the registers of GPUs other than Hopper.

    Args:
        abreast: pixels that one row of the product computes.
        results: channels of each.
    """
    return Shape(4 * abreast if abreast * results <= 32 else 4, 4)
