"""The losses that the generator minimises, except the adversarial one (`vsparagon.training.gan`).

Every loss takes (result, target), both N,3,H,W RGB of nominal range 0..1, and returns a scalar.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import msgspec
import torch
from msgspec import Meta
from torch import Tensor

from vsparagon.colours.layout import Layout

YCBCR = Layout(family="yuv", bits=32, is_float=True, matrix=6).from_rgb()[0]  # of BT.601


class Loss(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type"):
    """An entry of `train.losses`.

    Attributes:
        loss_weight: factor on its value.
        chroma_weight: if given, the difference is taken in YCbCr (BT.601, full range) instead of RGB, and chroma is
            multiplied by this: video keeps only a quarter of the chroma samples, and the eye is less sensitive to them.
    """

    loss_weight: Annotated[float, Meta(gt=0)] = 1.0
    chroma_weight: Annotated[float, Meta(ge=0)] | None = None

    def difference(self, result: Tensor, target: Tensor) -> Tensor:
        """Return result - target, N,3,H,W, in RGB or in luma and weighted chroma."""
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
    """Mean of difference^2, from which PSNR is computed."""

    def __call__(self, result: Tensor, target: Tensor) -> Tensor:
        return self.difference(result, target).square().mean()


class CharbonnierLoss(Loss, frozen=True, kw_only=True, tag="charbonnierloss"):
    """Mean of sqrt(difference^2 + eps^2) (Charbonnier et al., 1994)."""

    eps: Annotated[float, Meta(gt=0, le=1)] = 1e-3

    def __call__(self, result: Tensor, target: Tensor) -> Tensor:
        return (self.difference(result, target).square() + self.eps**2).sqrt().mean()


class FrequencyLoss(Loss, frozen=True, kw_only=True, tag="fftloss"):
    """Mean |difference| of the real and imaginary parts of the orthonormal 2-D spectra, in float32.

    The frequency loss of Cho et al., "Rethinking coarse-to-fine approach in single image deblurring", 2021.
    """

    def __call__(self, result: Tensor, target: Tensor) -> Tensor:
        spectrum = torch.fft.rfft2(self.difference(result.float(), target.float()), norm="ortho")
        return torch.view_as_real(spectrum).abs().mean()


AnyLoss = L1Loss | MSELoss | CharbonnierLoss | FrequencyLoss


def weighted_sum(losses: Sequence[AnyLoss], result: Tensor, target: Tensor) -> Tensor:
    """Return the sum of the losses, each multiplied by its weight."""
    return torch.stack([loss.loss_weight * loss(result, target) for loss in losses]).sum()
