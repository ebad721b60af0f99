"""What the generator is trained to make small, apart from a discriminator's opinion (`gan`).

Every loss takes (result, target), both N,3,H,W of nominal range 0..1, and returns a number.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import msgspec
import torch
from msgspec import Meta
from torch import Tensor

from vsparagon.layout import Layout

YCBCR = Layout(family="yuv", bits=32, is_float=True, matrix=6).from_rgb()[0]  # of BT.601


class Loss(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type"):
    """An entry of `train.losses`.

    Attributes:
        loss_weight: factor on its value.
        chroma_weight: take the difference in luma and chroma instead of RGB, chroma times this: video keeps a quarter
            of its chroma, and the eye sees little of it.
    """

    loss_weight: Annotated[float, Meta(gt=0)] = 1.0
    chroma_weight: Annotated[float, Meta(ge=0)] | None = None

    def difference(self, result: Tensor, target: Tensor) -> Tensor:
        """Return result - target, in RGB or in weighted luma and chroma."""
        difference = result - target
        if self.chroma_weight is None:
            return difference
        matrix = difference.new_tensor(YCBCR)
        matrix[1:] *= self.chroma_weight
        return torch.einsum("oc,nchw->nohw", matrix, difference)


class L1Loss(Loss, frozen=True, kw_only=True, tag="l1loss"):
    """Mean of |difference|."""

    def __call__(self, result: Tensor, target: Tensor) -> Tensor:
        return self.difference(result, target).abs().mean()


class MSELoss(Loss, frozen=True, kw_only=True, tag="mseloss"):
    """Mean of difference^2: what PSNR is made of."""

    def __call__(self, result: Tensor, target: Tensor) -> Tensor:
        return self.difference(result, target).square().mean()


class CharbonnierLoss(Loss, frozen=True, kw_only=True, tag="charbonnierloss"):
    """Mean of sqrt(difference^2 + eps^2) (Charbonnier et al., 1994)."""

    eps: Annotated[float, Meta(gt=0)] = 1e-3

    def __call__(self, result: Tensor, target: Tensor) -> Tensor:
        return (self.difference(result, target).square() + self.eps**2).sqrt().mean()


class FrequencyLoss(Loss, frozen=True, kw_only=True, tag="fftloss"):
    """Mean of |difference| of the real and imaginary parts of the orthonormal spectra, in float32.

    The L1 loss of Cho et al., "Rethinking coarse-to-fine approach in single image deblurring", 2021.
    """

    def __call__(self, result: Tensor, target: Tensor) -> Tensor:
        spectrum = torch.fft.rfft2(self.difference(result.float(), target.float()), norm="ortho")
        return torch.view_as_real(spectrum).abs().mean()


AnyLoss = L1Loss | MSELoss | CharbonnierLoss | FrequencyLoss


def weighted_sum(losses: Sequence[AnyLoss], result: Tensor, target: Tensor) -> Tensor:
    """Return the sum of the losses, each times its weight."""
    return torch.stack([loss.loss_weight * loss(result, target) for loss in losses]).sum()
