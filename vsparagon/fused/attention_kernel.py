"""The Triton kernel of `vsparagon.fused.attention`."""

from __future__ import annotations

import triton
import triton.language as tl

from vsparagon.fused.kernels import add


@triton.jit
def _larger(a, b):
    return tl.maximum(a, b)


@triton.jit
def attend(
    query, key, value, target, height, width, down, across,
    REDUCED: tl.constexpr, KEY_CHANNELS: tl.constexpr, CHANNELS: tl.constexpr, VALUE_CHANNELS: tl.constexpr,
    WINDOW: tl.constexpr, STEP: tl.constexpr, QUERIES: tl.constexpr, KEYS: tl.constexpr,
):  # fmt: skip
    """Attend from `QUERIES` pixels of a window to the whole window, with an online softmax in float32.

    The grid is windows, groups of queries in a window, N.

    Args:
        query, key: float16, N,height,width,REDUCED; KEY_CHANNELS is REDUCED padded for matrix products.
        value: float16, N,height,width,CHANNELS; VALUE_CHANNELS is CHANNELS padded likewise.
        target: the attended windows side by side, float16, N,down*WINDOW,across*WINDOW,CHANNELS.
        down, across: number of rows of windows, and of windows in a row.
        WINDOW: side of a window, in pixels.
        STEP: pixels from one window to the next.
        KEYS: pixels of the window that are processed at a time.
    """
    image = tl.program_id(2)
    top, left = tl.program_id(0) // across * STEP, tl.program_id(0) % across * STEP
    r, c = tl.arange(0, KEY_CHANNELS), tl.arange(0, VALUE_CHANNELS)
    own = tl.program_id(1) * QUERIES + tl.arange(0, QUERIES)
    y, x = tl.minimum(top + own // WINDOW, height - 1), tl.minimum(left + own % WINDOW, width - 1)
    at = ((image * height + y) * width + x) * REDUCED
    q = tl.load(query + at[:, None] + r[None, :], mask=(r < REDUCED)[None, :], other=0.0)
    pixels = tl.minimum(height - top, WINDOW) * tl.minimum(width - left, WINDOW)
    scale = 1.4426950408889634 / tl.sqrt(pixels.to(tl.float32))  # log2(e), so that exp2 can replace exp
    most = tl.full((QUERIES,), float("-inf"), tl.float32)
    total = tl.full((QUERIES,), 0.0, tl.float32)
    result = tl.full((QUERIES, VALUE_CHANNELS), 0.0, tl.float32)
    # The first keys begin with the window's first row, which lies in the picture: `larger` is finite from the start.
    for begin in range(0, WINDOW * WINDOW, KEYS):
        other = begin + tl.arange(0, KEYS)
        y, x = top + other // WINDOW, left + other % WINDOW
        inside = (y < height) & (x < width)
        pixel = (image * height + tl.minimum(y, height - 1)) * width + tl.minimum(x, width - 1)
        k = tl.load(key + (pixel * REDUCED)[None, :] + r[:, None], mask=(r < REDUCED)[:, None], other=0.0)
        v = tl.load(value + (pixel * CHANNELS)[:, None] + c[None, :], mask=(c < CHANNELS)[None, :], other=0.0)
        logits = tl.where(inside[None, :], tl.dot(q, k) * scale, float("-inf"))
        larger = tl.maximum(most, tl.reduce(logits, 1, _larger))
        share = tl.exp2(logits - larger[:, None])
        shrunk = tl.exp2(most - larger)
        total = total * shrunk + tl.reduce(share, 1, add)
        result = tl.dot(share.to(tl.float16), v, result * shrunk[:, None])
        most = larger
    line = image * down * WINDOW + tl.program_id(0) // across * WINDOW + own // WINDOW
    place = (line * across * WINDOW + tl.program_id(0) % across * WINDOW + own % WINDOW) * CHANNELS
    result = (result / total[:, None]).to(tl.float16)
    tl.store(target + place[:, None] + c[None, :], result, mask=(c < CHANNELS)[None, :])
