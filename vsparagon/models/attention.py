"""Window attention for any height and width, without a loop over single windows.

Behaves like `LocalWindowAttention` in ParagonSR2 and MUNet (Philip Hofmann, MIT): windows of 32 pixels that overlap
by 8, attention inside each, the overlaps blended with linear ramps.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 -- its usual name
from torch.onnx import is_in_onnx_export

WINDOW = 32
OVERLAP = 8


@dataclass(frozen=True)
class AxisWindows:
    """The windows along one axis: which pixels each reads, and how each pixel is blended from up to two of them.

    Attributes:
        source: (windows, size) pixel that each window position reads, clamped to the axis.
        inside: (windows, size) whether the position lies on the axis; the last window may stick out.
        length: (windows,) pixels of each window that lie on the axis.
        first, second: (pixels,) positions in the flattened (windows * size) axis to blend from.
        first_weight, second_weight: (pixels,) their weights; they sum to 1, or to 0 where a pixel has no window or
            only windows that end there with weight 0.
    """

    source: Tensor
    inside: Tensor
    length: Tensor
    first: Tensor
    second: Tensor
    first_weight: Tensor
    second_weight: Tensor

    def weights(self) -> Tensor:
        """Return the blending weight of each position of each window: (windows, size)."""
        flat = torch.zeros(self.source.numel(), device=self.source.device)
        flat = flat.index_add(0, self.first, self.first_weight).index_add(0, self.second, self.second_weight)
        return flat.view(self.source.shape)


def is_exporting() -> bool:
    """Return whether torch.export or torch.onnx is recording a graph, which may be for pictures of any size."""
    return torch.compiler.is_exporting() or is_in_onnx_export()


# While a graph is recorded, sizes are symbols: tensors, if torch.onnx does not use torch.export. min and max would fix
# them by comparing them with the limit.
def _at_most(limit: int, size: Any) -> int:
    return cast(int, size.clamp(max=limit) if isinstance(size, Tensor) else torch.sym_min(limit, size))


def _at_least(limit: int, size: Any) -> int:
    return cast(int, size.clamp(min=limit) if isinstance(size, Tensor) else torch.sym_max(limit, size))


def axis_windows(pixels: int, device: torch.device) -> AxisWindows:
    """Return the windows along an axis of this length. An axis of fewer than 4 pixels is a single window.

    The published network multiplies the sums of weights of both axes, adds 1e-8 and divides by that. Dividing on each
    axis leaves the 1e-8 out, which changes the result by a factor of 1 ± 5e-7 at most.
    """
    size = _at_most(WINDOW, pixels)
    overlap = _at_most(OVERLAP, size // 4)
    steepness = _at_least(1, overlap - 1)
    step = size - overlap
    count = _at_least(1, (pixels + overlap - 1) // step)

    start = torch.arange(count, device=device) * step
    position = start[:, None] + torch.arange(size, device=device)
    source, inside = position.clamp(max=pixels - 1), position < pixels
    length = (pixels - start).clamp(max=size)

    # A pixel lies in the last window that starts at or before it and, in an overlap, in the one before that. The ramps
    # reach exactly 0 at their outer ends. Only the last window may be cut short, to no less than 17 pixels.
    pixel = torch.arange(pixels, device=device)
    window = (pixel // step).clamp(max=count - 1)
    offset = pixel - window * step
    ramp = ((pixels - window * step).clamp(max=size) // 4).clamp(max=overlap)
    fall = (size - 1 - offset) / steepness
    ends_inside = (window + 1) * step + overlap < pixels
    weight = (offset / (ramp - 1).clamp(min=1)).where(window > 0, 1.0).clamp(max=1)
    weight = weight * fall.clamp(0, 1).where(ends_inside, 1.0)
    weight = weight.where(offset < size, 0.0)
    before = ((overlap - 1 - offset) / steepness).clamp(min=0).where(window > 0, 0.0)
    total = weight + before
    share = (1 / total).where(total > 0, 0.0)

    first = window * size + offset.clamp(max=size - 1)
    second = (first - overlap).clamp(min=0)  # the same pixel in the window before, where that one has it
    return AxisWindows(source, inside, length, first, second, weight * share, before * share)


class WindowAttention(nn.Module):
    """Softmax attention in overlapping windows, blended.

    Logits are divided by the square root of the number of pixels in the window.

    Args:
        query, key: 1x1 convolutions to the same number of channels.
        value: 1x1 convolution to the channels of the result.
    """

    def __init__(self, query: nn.Conv2d, key: nn.Conv2d, value: nn.Conv2d) -> None:
        super().__init__()
        self.query, self.key, self.value = query, key, value

    def forward(self, x: Tensor) -> Tensor:
        """Map N,D,H,W to N,D',H,W; H and W at least 4."""
        rows = axis_windows(x.shape[2], x.device)
        columns = axis_windows(x.shape[3], x.device)
        maps = self.query(x), self.key(x), self.value(x)
        if torch.is_grad_enabled() or is_exporting():
            return blend(_attend(maps, rows, columns), rows, 2)
        # Without gradients, which need all windows at once, one row of windows at a time takes far less memory.
        out = torch.zeros_like(maps[2])
        for index, weight in enumerate(rows.weights()):
            here = slice(index, index + 1)
            band = replace(rows, source=rows.source[here], inside=rows.inside[here], length=rows.length[here])
            attended = _attend(maps, band, columns) * weight.to(x.dtype)[:, None]
            out.index_add_(2, rows.source[index], attended)
        return out


class LocalWindowAttention(WindowAttention):
    """`x + gamma * A(x)`, where A is window attention.

    `query` and `key` have `max(1, channels // 8)` channels. `gamma` starts at 0, so a new module is the identity.
    """

    def __init__(self, channels: int) -> None:
        reduced = max(1, channels // 8)
        super().__init__(
            nn.Conv2d(channels, reduced, 1), nn.Conv2d(channels, reduced, 1), nn.Conv2d(channels, channels, 1)
        )
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        """Map N,D,H,W to the same shape; H and W at least 4."""
        attended = super().forward(x)
        if torch.is_grad_enabled() or is_exporting():
            return x + self.gamma * attended
        return attended.mul_(self.gamma).add_(x)


def _attend(maps: tuple[Tensor, Tensor, Tensor], rows: AxisWindows, columns: AxisWindows) -> Tensor:
    """Attend in each window, and blend along the width.

    Args:
        maps: query, key and value, N,C,H,W.
        rows: the windows to use along the height, some or all of them.
        columns: all windows along the width.

    Returns:
        N, D', the rows of these windows one after the other, W.
    """
    query, key, value = (_cut(m, rows, columns) for m in maps)
    pixels = (rows.length[:, None] * columns.length).flatten()[:, None, None]
    query = query * pixels.to(torch.float32).rsqrt().to(query.dtype)
    inside = (rows.inside[:, None, :, None] & columns.inside[:, None, :]).flatten(2).flatten(0, 1)[:, None]
    if not is_exporting():
        # torch's fused kernel, which never holds the n*n logits, needs equal head sizes.
        missing = value.shape[-1] - query.shape[-1]
        query, key = F.pad(query, (0, missing)), F.pad(key, (0, missing))
    attended = F.scaled_dot_product_attention(query, key, value, attn_mask=inside[None], scale=1.0)
    shape = (rows.source.shape[0], columns.source.shape[0], rows.source.shape[1], columns.source.shape[1])
    windows = attended.reshape(value.shape[0], *shape, value.shape[-1]).permute(0, 5, 1, 3, 2, 4)
    return blend(windows.flatten(4, 5).flatten(2, 3), columns, 3)


def _cut(x: Tensor, rows: AxisWindows, columns: AxisWindows) -> Tensor:
    """Cut N,C,H,W into windows, as a copy: N, windows, pixels of a window, C."""
    windows = x[:, :, rows.source][..., columns.source]  # N, C, down, height, across, width
    return windows.permute(0, 2, 4, 3, 5, 1).flatten(3, 4).flatten(1, 2)


def blend(flat: Tensor, windows: AxisWindows, dim: int) -> Tensor:
    """Blend windows that lie one after the other along `dim` back into the axis that they were cut from.

    Args:
        flat: N,C,H,W, where `dim` has windows * size positions.
        windows: all windows of the axis.
        dim: 2 for rows, 3 for columns.
    """
    shape = [-1] + [1] * (3 - dim)
    first, second = (w.to(flat.dtype).view(shape) for w in (windows.first_weight, windows.second_weight))
    return flat.index_select(dim, windows.first) * first + flat.index_select(dim, windows.second) * second
