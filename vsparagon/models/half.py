"""Generators in float16 on a float32 base.

Half precision rounds a picture by up to 1/16 of an 8-bit code value, which is a quarter of a 10-bit one and 16 of the
16-bit ones. The detail that a network adds to its base is far smaller than the picture, and so is its rounding error.
So the base stays in float32 and the detail is computed in float16, except for means, norms and softmax.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 -- its usual name

from vsparagon.models import folding
from vsparagon.models.generators import Generator
from vsparagon.models.inference import InferenceForm
from vsparagon.models.swift import Swift, repeating


class HalfForm(nn.Module):
    """What `half_form` returns: float32 N,3,H,W to float32 N,3,sH,sW.

    Args:
        base: N,3,H,W to the phases of the base, N,3*s*s,H,W, in float32.
        detail: N,3,H,W to the phases of what is added to the base; converted to float16 in place.
        scale: enlargement s.
        shift: enlarged pixels missing at the top and left of the result, as with the inference form.
        limits: whether the detail is computed from the picture clamped to 0..1.
    """

    def __init__(self, base: nn.Module, detail: nn.Module, *, scale: int, shift: int, limits: bool) -> None:
        super().__init__()
        self.base, self.detail, self.scale, self.shift = base, detail.half(), scale, shift
        self.limits = limits

    def forward(self, x: Tensor) -> Tensor:
        seen = x.clamp(0.0, 1.0) if self.limits else x
        detail = self.detail(seen.to(torch.float16)).to(torch.float32)
        return F.pixel_shuffle(self.base(x) + detail, self.scale)


class Detail(nn.Module):
    """The phases that an `InferenceForm` adds to its base: N,3,H,W to N,3*s*s,H,W."""

    def __init__(self, form: InferenceForm) -> None:
        super().__init__()
        self.features = nn.Sequential(form.conv_in, form.body, form.fuse, form.tail)
        self.gain = form.gain

    def forward(self, x: Tensor) -> Tensor:
        phases: Tensor = self.features(x)
        return phases if self.gain is None else self.gain(x) * phases


@torch.no_grad()
def half_form(model: Generator) -> HalfForm:
    """Derive the inference form that computes in float16; the model is left unchanged.

    Returns:
        A module on the CPU, in eval mode, that needs no gradient. The sizes it takes, its outermost pixels and its
        `shift` are those of `vsparagon.models.inference.inference_form`.
    """
    model = copy.deepcopy(model).cpu().float()
    if isinstance(model, Swift):
        base: nn.Module = repeating(model.options.scale)
        detail: nn.Module = nn.Sequential(model.body, model.up_conv)
    else:
        sharpen = folding.fold_sharpening(model) if model.options.upsampler_alpha else nn.Identity()
        base = nn.Sequential(sharpen, folding.fold_smoothing(model))
        model.magic_upsampler.resample_conv.conv_v.weight.zero_()  # a base of 0, also where the form carries it
        detail = Detail(InferenceForm(model))
    shift = model.options.inference_shift
    form = HalfForm(base, detail, scale=model.options.scale, shift=shift, limits=isinstance(model, Swift))
    return form.eval().requires_grad_(False)
