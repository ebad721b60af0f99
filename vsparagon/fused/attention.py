"""Window attention in one kernel, which neither copies windows nor stores logits."""

from __future__ import annotations

import copy
import math
from functools import cache
from typing import Final

from torch import Tensor, nn

from vsparagon.fused import attention_kernel
from vsparagon.fused.canvas import MOST_NUMBERS, channels_for
from vsparagon.models.attention import (
    OVERLAP,
    WINDOW,
    LocalWindowAttention,
    WindowAttention,
    axis_windows,
    blend,
)
from vsparagon.models.frame import FrameNetwork
from vsparagon.models.half import HalfForm

MOST_VALUES: Final = 128  # most channels of values that fit into a program
QUERIES: Final = 64  # pixels that a program attends from
KEYS: Final = 64  # pixels that it attends to at a time


class FusedWindowAttention(nn.Module):
    """Replaces a `WindowAttention`, in float16 on a GPU: N,D,H,W to N,D',H,W, with H and W at least 32."""

    def __init__(self, attention: WindowAttention) -> None:
        super().__init__()
        self.attention = attention
        self._along = cache(axis_windows)  # computed once rather than for each frame

    def forward(self, x: Tensor) -> Tensor:
        attention, (height, width) = self.attention, x.shape[2:]
        rows, columns = self._along(height, x.device), self._along(width, x.device)
        query, key, value = (_pixelwise(conv(x)) for conv in (attention.query, attention.key, attention.value))
        down, across = rows.source.shape[0], columns.source.shape[0]
        reduced, channels = query.shape[3], value.shape[3]
        attended = value.new_empty(x.shape[0], down * WINDOW, across * WINDOW, channels)
        attention_kernel.attend[down * across, WINDOW * WINDOW // QUERIES, x.shape[0]](
            query, key, value, attended, height, width, down, across, REDUCED=reduced,
            KEY_CHANNELS=channels_for(reduced), CHANNELS=channels, VALUE_CHANNELS=channels_for(channels),
            WINDOW=WINDOW, STEP=WINDOW - OVERLAP, QUERIES=QUERIES, KEYS=KEYS, num_warps=4,
        )  # fmt: skip
        blended = blend(blend(attended.permute(0, 3, 1, 2), columns, 3), rows, 2)
        return blended.mul_(attention.gamma).add_(x) if isinstance(attention, LocalWindowAttention) else blended


def with_fused_attention(frame: FrameNetwork) -> FrameNetwork:
    """Return a copy of a frame graph with its window attention replaced by `FusedWindowAttention`.

    Args:
        frame: one to which `vsparagon.fused.support.trouble_with_attention` does not object.
    """
    frame = copy.deepcopy(frame)
    for parent in list(frame.modules()):
        for name, child in parent.named_children():
            if isinstance(child, WindowAttention):
                setattr(parent, name, FusedWindowAttention(child))
    return frame


def has_fitting_attention(frame: FrameNetwork) -> bool:
    """Return whether a frame graph computes in float16 and has attention, all of which the kernel supports."""
    values = [part.value.out_channels for part in frame.network.modules() if isinstance(part, WindowAttention)]
    most = max(values, default=0)
    sides = frame.extension.extended_height, frame.extension.extended_width
    numbers = most * math.prod(side // (WINDOW - OVERLAP) * WINDOW + WINDOW for side in sides)  # in all windows
    return (
        isinstance(frame.network, HalfForm)
        and 0 < most <= MOST_VALUES
        and min(sides) >= WINDOW
        and numbers < MOST_NUMBERS
    )


def _pixelwise(x: Tensor) -> Tensor:
    """Return N,C,H,W as contiguous N,H,W,C; a view if the memory is laid out like that already."""
    return x.permute(0, 2, 3, 1).contiguous()
