"""Counts a network's multiply-adds, by running it on tensors without data."""

from __future__ import annotations

import copy
from math import prod

import torch
from torch import Tensor, nn

from vsparagon.models.attention import OVERLAP, WINDOW, LocalWindowAttention
from vsparagon.models.block_attention import BlockAttention

# A 1920x1080 picture as the filter extends it.
FRAME = (1112, 1952)


@torch.enable_grad()  # without gradients, a generator works in strips and computes their borders twice
def macs_per_pixel(module: nn.Module, *, height: int = FRAME[0], width: int = FRAME[1]) -> float:
    """Return the number of multiply-adds per pixel of the input.

    Convolutions and the two matrix products of the attention are counted; exponentials, norms and the like are not.
    Attention in blocks is counted as polynomials.

    Args:
        module: N,3,H,W to N,3,sH,sW; left unchanged.
        height: of the input; only the attention's windows and the whole-picture layers depend on it.
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

    def count_blocks(attention: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal total
        assert isinstance(attention, BlockAttention)
        channels, outputs = inputs[0].shape[1], output.shape[1]
        total += inputs[0][0, 0].numel() * (2 * channels + attention.points * (channels + 4 * outputs))

    for part in module.modules():
        if isinstance(part, BlockAttention):
            part.register_forward_hook(count_blocks)
        elif isinstance(part, nn.Conv2d):
            part.register_forward_hook(count_convolution)
        elif isinstance(part, LocalWindowAttention):
            part.register_forward_hook(count_attention)
    module(torch.empty(1, 3, height, width, device="meta"))
    return total / (height * width)


def _windows(side: int) -> tuple[int, int]:
    """Return the number and the size of the attention's windows along a side."""
    size = min(WINDOW, side)
    overlap = min(OVERLAP, size // 4)
    return (side + overlap - 1) // (size - overlap), size
