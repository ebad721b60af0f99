"""What a network costs, found by running it on tensors without data."""

# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

import copy
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

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


@torch.no_grad()
def peak_bytes(module: nn.Module, *, height: int = FRAME[0], width: int = FRAME[1]) -> int:
    """Estimate the peak memory, in bytes, of the module's tensors when torch runs it, including weights and input.

    Scratch space inside torch's kernels and torch itself are not included.
    """
    with FakeTensorMode(allow_non_fake_inputs=True):  # its tensors claim to be on the CPU and hold no data
        x = torch.empty(1, 3, height, width)
        fixed = sum(t.untyped_storage().nbytes() for t in (x, *module.parameters(), *module.buffers()))
        with _LiveStorages() as live:
            module(x)
    peak: int = fixed + live.peak
    return peak


class _LiveStorages(TorchDispatchMode):
    """Tracks the memory that operations have allocated and not yet freed; `peak` is the most so far, in bytes."""

    def __init__(self) -> None:
        super().__init__()
        self.peak: int = 0
        self._storages: dict[int, tuple[StorageWeakRef, int]] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor) and not isinstance(tensor, nn.Parameter):
                storage = tensor.untyped_storage()
                reference = StorageWeakRef(storage)
                self._storages[reference.cdata] = (reference, storage.nbytes())
        self._storages = {k: v for k, v in self._storages.items() if not v[0].expired()}
        self.peak = max(self.peak, sum(size for _, size in self._storages.values()))
        return result
