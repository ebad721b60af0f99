"""How many rows the programs of each kernel have, and how many warps.

Chosen by measurements on an H200, of 1080p to twice the size; for more phases than four by what registers hold.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Shape:
    """Of the programs of one kernel; `vsparagon.fused.kernels` says how many columns they have."""

    rows: int
    warps: int


RESAMPLE_DOWN: Final = Shape(8, 2)
RESAMPLE_ACROSS: Final = Shape(4, 4)
READ: Final = Shape(4, 4)
SHARPEN: Final = Shape(8, 1)
WRITE: Final = Shape(8, 4)
WRITE_MORE: Final = Shape(4, 4)  # than four phases
MIX: Final = Shape(8, 4)
MIX_WIDE: Final = Shape(4, 4)  # of more than 16 channels


def dense(abreast: int, results: int) -> Shape:
    """Return the shape for products whose rows make `results` of each of so many pixels.

    It has 128 rows of products; fewer, where these would not fit the registers of GPUs other than Hopper's.
    """
    return Shape(4 * abreast if abreast * results <= 32 else 4, 4)
