"""The precision that a run computes in, for Lightning Fabric."""

from __future__ import annotations

from typing import Any, Literal

import torch
from lightning_fabric.plugins import MixedPrecision, Precision

PrecisionName = Literal["32-true", "bf16-mixed"]


class MixedButForPictures(MixedPrecision):
    """Mixed precision in which networks get their pictures in float32.

    Fabric rounds what a network gets to bfloat16, whose steps near white are as large as those of 8-bit samples. A
    generator adds to its picture, and a discriminator compares pictures, so both would see that rounding as noise.
    Convolutions still compute in bfloat16: autocast converts what they get.
    """

    def convert_input(self, data: Any) -> Any:
        """Return what a network gets as it is."""
        return data


def precision_named(name: PrecisionName) -> Precision:
    """Return Fabric's plugin for a precision: float32, or mixed with bfloat16."""
    if name == "32-true":
        return Precision()
    return MixedButForPictures(name, "cuda" if torch.cuda.is_available() else "cpu")
