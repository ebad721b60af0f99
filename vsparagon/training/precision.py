"""The precision that a run computes in, for Lightning Fabric."""

from __future__ import annotations

from typing import Any, Literal

import torch
from lightning_fabric.plugins import MixedPrecision, Precision
from torch import nn

from vsparagon.models.paragonsr2 import SeparableConv

PrecisionName = Literal["32-true", "bf16-mixed"]


class MixedButForPictures(MixedPrecision):
    """Mixed precision in which networks get their pictures, and enlarge them for a base, in float32.

    The steps of bfloat16 near white are as large as those of 8-bit samples. A generator adds to its picture, and a
    discriminator compares pictures, so both would see such rounding as noise. The trained convolutions compute in
    bfloat16: autocast converts what they get.
    """

    def convert_module(self, module: nn.Module) -> nn.Module:
        """Return the network, whose fixed kernels, if it has any, compute in float32 from now on."""
        for part in module.modules():
            if isinstance(part, SeparableConv):
                part.forward = torch.autocast(self.device, enabled=False)(part.forward)  # type: ignore[method-assign]
        return module

    def convert_input(self, data: Any) -> Any:
        """Return what a network gets as it is."""
        return data


def precision_named(name: PrecisionName) -> Precision:
    """Return Fabric's plugin for a precision: float32, or mixed with bfloat16."""
    if name == "32-true":
        return Precision()
    return MixedButForPictures(name, "cuda" if torch.cuda.is_available() else "cpu")
