"""How many rows the programs of each kernel have, and how many warps: what was fastest on an H200, at 1080p."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Shape:
    """Of the programs of one kernel; `vsparagon.fused.kernels` says how many columns they have."""

    rows: int
    warps: int


RESAMPLE: Final = Shape(8, 2)
READ: Final = Shape(4, 4)
SHARPEN: Final = Shape(8, 1)
WRITE: Final = Shape(8, 4)
WRITE_MORE: Final = Shape(4, 4)  # than four phases
DENSE: Final = Shape(8, 4)
DENSE_WIDE: Final = Shape(8, 4)  # of more than 16 channels
MIX: Final = Shape(8, 4)
MIX_WIDE: Final = Shape(4, 4)
ABREAST: Final = 2  # pixels that a row of a product makes at least, of those of a row
