"""The Triton kernels of `vsparagon.fused`. One program computes `ROWS` rows of `COLUMNS` pixels.

A picture is float32, 3,height,pitch; features are float16, height,pitch,channels. Both have a border of zeros, wide
enough for every kernel to read beyond the edges without a bounds check. `origin` is the index of pixel 0, 0; it and
`pitch` are counted in pixels. Arithmetic is float32; matrix products take float16 and accumulate in float32.
"""

from __future__ import annotations

import triton
import triton.language as tl

COLUMNS = tl.constexpr(32)
MOST_ROWS = 16


@triton.jit
def _places(ROWS: tl.constexpr, ABREAST: tl.constexpr = 1):
    """Return row and column of each pixel of this program; of `ABREAST` pixels side by side, only of the first."""
    first = tl.arange(0, ROWS * COLUMNS // ABREAST) * ABREAST
    return tl.program_id(1) * ROWS + first // COLUMNS, tl.program_id(0) * COLUMNS + first % COLUMNS


@triton.jit
def add(a, b):
    return a + b


@triton.jit
def _store_codes(target, at, values, low, high, inside, INTEGER: tl.constexpr):
    """Store code values: integers clamped to legal values and rounded, floats as they are."""
    if INTEGER:
        codes = tl.floor(tl.minimum(tl.maximum(values, low), high) + 0.5)
        tl.store(target + at, codes.to(tl.int32).to(target.dtype.element_ty), mask=inside)
    else:
        tl.store(target + at, values.to(target.dtype.element_ty), mask=inside)


@triton.jit
def resample(
    first, second, indices, weights, limits, first_target, second_target, height, width, pitch, count,
    TAPS: tl.constexpr, DOWN: tl.constexpr, INTEGER: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    """Resample two planes vertically (`DOWN`) or horizontally.

    Args:
        first, second: planes of any type, with rows of `pitch` samples.
        indices, weights: TAPS,count: source positions and weights for each row or column of the targets; padded,
            because programs may extend beyond these.
        limits: smallest and largest code value, if the targets are `INTEGER`.
        first_target, second_target: height,width.
    """
    y, x = _places(ROWS)
    inside = (y < height) & (x < width)
    place = y if DOWN else x
    a = tl.full((ROWS * COLUMNS,), 0.0, tl.float32)
    b = tl.full((ROWS * COLUMNS,), 0.0, tl.float32)
    for tap in range(TAPS):
        index = tl.load(indices + tap * count + place)
        weight = tl.load(weights + tap * count + place)
        at = index * pitch + x if DOWN else y * pitch + index
        a += weight * tl.load(first + at, mask=inside, other=0).to(tl.float32)
        b += weight * tl.load(second + at, mask=inside, other=0).to(tl.float32)
    low, high = tl.load(limits), tl.load(limits + 1)
    _store_codes(first_target, y * width + x, a, low, high, inside, INTEGER)
    _store_codes(second_target, y * width + x, b, low, high, inside, INTEGER)


@triton.jit
def _combined(factors, a, b, c, COUNT: tl.constexpr):
    """Return the sum of one or three values (`COUNT`) times their factors, plus the offset stored after the factors."""
    value = tl.load(factors + COUNT) + tl.load(factors) * a
    if COUNT == 3:
        value += tl.load(factors + 1) * b + tl.load(factors + 2) * c
    return value


@triton.jit
def read(
    first, second, third, rows, columns, matrix, target, features, height, width, samples, pitch, plane, origin,
    PLANES: tl.constexpr, CHANNELS: tl.constexpr, LIMITS: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    """Make the extended picture from one or three planes (`PLANES`) of the same size.

    Args:
        rows, columns: for each row and column of the extended picture, that of the planes which it copies.
        samples: in a row of the planes.
        matrix: three rows of `PLANES` factors and an offset, from code values to red, green and blue.
        target: the picture.
        features: the same picture as features of `CHANNELS` channels, clamped to 0..1 if `LIMITS`.
    """
    y, x = _places(ROWS)
    inside = (y < height) & (x < width)
    at = tl.load(rows + tl.minimum(y, height - 1)) * samples + tl.load(columns + tl.minimum(x, width - 1))
    a = tl.load(first + at).to(tl.float32)
    b, c = a, a
    if PLANES == 3:
        b = tl.load(second + at).to(tl.float32)
        c = tl.load(third + at).to(tl.float32)
    red = _combined(matrix, a, b, c, PLANES)
    green = _combined(matrix + (PLANES + 1), a, b, c, PLANES)
    blue = _combined(matrix + 2 * (PLANES + 1), a, b, c, PLANES)
    pixel = origin + y * pitch + x
    tl.store(target + pixel, red, mask=inside)
    tl.store(target + plane + pixel, green, mask=inside)
    tl.store(target + 2 * plane + pixel, blue, mask=inside)
    n = tl.arange(0, CHANNELS)[None, :]
    colours = tl.where(n == 0, red[:, None], tl.where(n == 1, green[:, None], tl.where(n == 2, blue[:, None], 0.0)))
    if LIMITS:
        colours = tl.minimum(tl.maximum(colours, 0.0), 1.0)
    tl.store(features + (pixel * CHANNELS)[:, None] + n, colours.to(tl.float16), mask=inside[:, None])


@triton.jit
def sharpen(
    source, offsets, weights, target, height, width, pitch, plane, origin, TAPS: tl.constexpr, ROWS: tl.constexpr
):
    """Convolve each colour of a picture with its own kernel: `TAPS` offsets, in pixels, and 3,TAPS weights."""
    y, x = _places(ROWS)
    colour = tl.program_id(2)
    at = colour * plane + origin + y * pitch + x
    total = tl.full((ROWS * COLUMNS,), 0.0, tl.float32)
    for tap in range(TAPS):
        total += tl.load(weights + colour * TAPS + tap) * tl.load(source + at + tl.load(offsets + tap))
    tl.store(target + at, total, mask=(y < height) & (x < width))


@triton.jit
def dense(
    source, weights, bias, slopes, target, height, width, pitch, origin, pitch_target, origin_target,
    TALL: tl.constexpr, WIDE: tl.constexpr, CHANNELS: tl.constexpr, RESULTS: tl.constexpr, ABREAST: tl.constexpr,
    ACTIVE: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    """Convolve features (dense), then apply PReLU if `ACTIVE`.

    Each row of the matrix product computes `ABREAST` adjacent pixels from a window of `TALL` by `WIDE` pixels.

    Args:
        weights: float16, TALL,WIDE,CHANNELS,ABREAST,RESULTS.
        bias, slopes: ABREAST,RESULTS.
        origin: index of the first pixel of the window of pixel 0, 0.
        pitch_target, origin_target: of the target.
    """
    y, x = _places(ROWS, ABREAST)
    n = tl.arange(0, ABREAST * RESULTS)
    at = ((origin + y * pitch + x) * CHANNELS)[:, None]
    total = tl.full((ROWS * COLUMNS // ABREAST, ABREAST * RESULTS), 0.0, tl.float32) + tl.load(bias + n)[None, :]
    for row in tl.static_range(TALL):
        for halving in tl.static_range(4):  # pixels of a row are contiguous: split WIDE into products of 8, 4, 2 and 1
            if WIDE & (8 >> halving):
                before = WIDE // (16 >> halving) * (16 >> halving)
                k = tl.arange(0, (8 >> halving) * CHANNELS)
                taken = tl.load(source + at + ((row * pitch + before) * CHANNELS + k)[None, :])
                lines = (row * WIDE + before) * CHANNELS + k
                kernel = tl.load(weights + (lines * (ABREAST * RESULTS))[:, None] + n[None, :])
                total = tl.dot(taken, kernel, total)
    if ACTIVE:
        total = tl.where(total > 0, total, total * tl.load(slopes + n)[None, :])
    at_target = ((origin_target + y * pitch_target + x) * RESULTS)[:, None] + n[None, :]
    inside = (y < height)[:, None] & (x[:, None] + (n // RESULTS)[None, :] < width)
    tl.store(target + at_target, total.to(tl.float16), mask=inside)


@triton.jit
def mix(
    source, offsets, weights, bias, slopes, kept, matrix, shift, before, scale, offset, after, target,
    height, width, pitch, origin, share, eps,
    GROUPS: tl.constexpr, TAPS: tl.constexpr, CHANNELS: tl.constexpr, RESULTS: tl.constexpr,
    ACTIVE: tl.constexpr, KEEP: tl.constexpr, BEFORE: tl.constexpr, NORM: tl.constexpr, AFTER: tl.constexpr,
    ROWS: tl.constexpr,
):  # fmt: skip
    """Depthwise convolution, PReLU if `ACTIVE`, then a 1x1 convolution; add, normalise, add.

    Args:
        offsets, weights: GROUPS,TAPS offsets in pixels, and GROUPS,TAPS,CHANNELS weights in float16. The taps of a
            group are summed in float16, which is twice as fast, and the groups in float32.
        bias, slopes: CHANNELS, of the depthwise convolution.
        kept: receives the input of the 1x1 convolution if `KEEP`.
        matrix, shift: weights, float16, CHANNELS,RESULTS, and bias of the 1x1 convolution.
        before, after: features to add before the norm if `BEFORE`, and after it if `AFTER`.
        scale, offset: of the RMS norm if `NORM`.
        share: 1 over the number of channels of the norm, without padding.
    """
    y, x = _places(ROWS)
    c, n = tl.arange(0, CHANNELS), tl.arange(0, RESULTS)
    pixel = origin + y * pitch + x
    keep = ((y < height) & (x < width))[:, None]
    at = (pixel * CHANNELS)[:, None] + c[None, :]
    total = tl.full((ROWS * COLUMNS, CHANNELS), 0.0, tl.float32) + tl.load(bias + c)[None, :]
    for group in range(GROUPS):
        part = tl.full((ROWS * COLUMNS, CHANNELS), 0.0, tl.float16)
        for tap in tl.static_range(TAPS):
            index = group * TAPS + tap
            taken = tl.load(source + at + tl.load(offsets + index) * CHANNELS)
            part += taken * tl.load(weights + index * CHANNELS + c)[None, :]
        total += part.to(tl.float32)
    if ACTIVE:
        total = tl.where(total > 0, total, total * tl.load(slopes + c)[None, :])
    hidden = total.to(tl.float16)
    if KEEP:
        tl.store(kept + at, hidden, mask=keep)
    kernel = tl.load(matrix + c[:, None] * RESULTS + n[None, :])
    result = tl.dot(hidden, kernel) + tl.load(shift + n)[None, :]
    place = (pixel * RESULTS)[:, None] + n[None, :]
    if BEFORE:
        result += tl.load(before + place).to(tl.float32)
    if NORM:
        norm = tl.sqrt(tl.reduce(result * result, 1, add) * share)
        result = result / (norm + eps)[:, None]
        result = result * tl.load(scale + n)[None, :] + tl.load(offset + n)[None, :]
    if AFTER:
        result += tl.load(after + place).to(tl.float32)
    tl.store(target + place, result.to(tl.float16), mask=keep)


@triton.jit
def write(
    source, offsets, weights, detail, matrix, limits, first, second, third,
    height, width, pitch, plane, origin, cut, tall, wide,
    TAPS: tl.constexpr, SCALE: tl.constexpr, PHASES: tl.constexpr, RESULTS: tl.constexpr, PLANES: tl.constexpr,
    FIRST: tl.constexpr, OTHERS: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    """Compute the base, add the detail, shuffle the phases to pixels, crop, and convert the colours to planes.

    Args:
        source: the picture that the base upscales.
        offsets, weights: of the base's kernels: TAPS offsets in pixels, and 3,TAPS,PHASES weights.
        detail: float16, height,width,RESULTS; the phases of red come first, then those of green and blue.
        matrix: for each plane, three factors and an offset, from red, green and blue to code values.
        limits: for each plane, smallest and largest code value.
        first, second, third: planes, tall,wide, to write to.
        cut: upscaled rows and columns to leave out at the top and at the left.
        PHASES: SCALE**2, rounded up to a power of two.
        FIRST, OTHERS: whether the first plane and the others are integers.
    """
    y, x = _places(ROWS)
    q = tl.arange(0, PHASES)
    inside = (y < height) & (x < width)
    at = (origin + y * pitch + x)[:, None]
    phases = (y * width + x)[:, None] * RESULTS + q[None, :]
    real = inside[:, None] & (q < SCALE * SCALE)[None, :]
    red = tl.load(detail + phases, mask=real, other=0.0).to(tl.float32)
    green = tl.load(detail + phases + SCALE * SCALE, mask=real, other=0.0).to(tl.float32)
    blue = tl.load(detail + phases + 2 * SCALE * SCALE, mask=real, other=0.0).to(tl.float32)
    for tap in range(TAPS):
        place = at + tl.load(offsets + tap)
        kernel = weights + tap * PHASES + q
        red += tl.load(source + place) * tl.load(kernel)[None, :]
        green += tl.load(source + plane + place) * tl.load(kernel + TAPS * PHASES)[None, :]
        blue += tl.load(source + 2 * plane + place) * tl.load(kernel + 2 * TAPS * PHASES)[None, :]
    row = y[:, None] * SCALE + (q // SCALE)[None, :] - cut
    column = x[:, None] * SCALE + (q % SCALE)[None, :] - cut
    shown = real & (row >= 0) & (row < tall) & (column >= 0) & (column < wide)
    for index in tl.static_range(PLANES):
        value = _combined(matrix + index * 4, red, green, blue, 3)
        low, high = tl.load(limits + 2 * index), tl.load(limits + 2 * index + 1)
        if index == 0:
            _store_codes(first, row * wide + column, value, low, high, shown, FIRST)
        elif index == 1:
            _store_codes(second, row * wide + column, value, low, high, shown, OTHERS)
        else:
            _store_codes(third, row * wide + column, value, low, high, shown, OTHERS)
