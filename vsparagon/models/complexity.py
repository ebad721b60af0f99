"""What a network costs, found by running it on tensors without data."""

from __future__ import annotations

import copy
from math import prod

import torch
from torch import Tensor, nn

from vsparagon.models.attention import OVERLAP, WINDOW, LocalWindowAttention

# A 1920x1080 picture as the filter extends it.
FRAME = (1112, 1952)


@torch.no_grad()
def macs_per_pixel(module: nn.Module, *, height: int = FRAME[0], width: int = FRAME[1]) -> float:
    """Return the multiplications with addition for each pixel of the input.

    Convolutions and the two products of the attention are counted; exponentials, norms and the like are not.

    Args:
        module: N,3,H,W to N,3,sH,sW.
        height: of the input; it matters to the attention's windows and the whole-picture layers only.
        width: the same.
    """
    module = copy.deepcopy(module).to("meta")
    total = 0

    def count_convolution(conv: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal total
        assert isinstance(conv, nn.Conv2d)
        total += output[0].numel() * prod(conv.weight.shape[1:])

    def count_attention(attention: nn.Module, inputs: tuple[Tensor, ...], _output: Tensor) -> None:
        nonlocal total
        assert isinstance(attention, LocalWindowAttention)
        pixels = [_windows(side) for side in inputs[0].shape[2:]]
        pairs = pixels[0][0] * pixels[1][0] * (pixels[0][1] * pixels[1][1]) ** 2
        total += pairs * (attention.query.out_channels + attention.value.out_channels)

    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            part.register_forward_hook(count_convolution)
        elif isinstance(part, LocalWindowAttention):
            part.register_forward_hook(count_attention)
    module(torch.empty(1, 3, height, width, device="meta"))
    return total / (height * width)


def _windows(side: int) -> tuple[int, int]:
    """Number and size of the attention's windows along a side."""
    size = min(WINDOW, side)
    overlap = min(OVERLAP, size // 4)
    return (side + overlap - 1) // (size - overlap), size
