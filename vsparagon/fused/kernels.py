"""The kernels of `vsparagon.fused`, in Triton. One program computes as many rows as it is told, of `COLUMNS` pixels.

A picture is float32 of 3,height,pitch, features are float16 of height,pitch,channels; both have a border of zeros
around them, wide enough for every kernel to look beyond the edges without asking. `origin` is where pixel 0, 0 lies;
it and `pitch` are counted in pixels. Arithmetic is float32; the matrix products take float16 and add in float32.
"""

from __future__ import annotations

import triton
import triton.language as tl

COLUMNS = tl.constexpr(32)
MOST_ROWS = 16


@triton.jit
def _places(ROWS: tl.constexpr, ABREAST: tl.constexpr = 1):
    """Return row and column of each pixel of this program, of several side by side those of the first."""
    first = tl.arange(0, ROWS * COLUMNS // ABREAST) * ABREAST
    return tl.program_id(1) * ROWS + first // COLUMNS, tl.program_id(0) * COLUMNS + first % COLUMNS


@triton.jit
def add(a, b):
    return a + b


@triton.jit
def _store_codes(target, at, values, low, high, inside, INTEGER: tl.constexpr):
    """Write nominal code values as samples: rounded and held within legal ones, or floats as they are."""
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
    """Make each sample of two planes of weighted samples of its column (`DOWN`) or its row.

    Args:
        first, second: samples of any type; `pitch` of them a row.
        indices, weights: TAPS,count: for each row or column of the targets, and more for those that programs have
            beyond them.
        limits: least and greatest code value, where the targets are `INTEGER`.
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
    """Return the sum of one or three values times their factors, and a summand that comes after those."""
    value = tl.load(factors + COUNT) + tl.load(factors) * a
    if COUNT == 3:
        value += tl.load(factors + 1) * b + tl.load(factors + 2) * c
    return value


@triton.jit
def read(
    first, second, third, rows, columns, matrix, target, features, height, width, samples, pitch, plane, origin,
    PLANES: tl.constexpr, CHANNELS: tl.constexpr, LIMITS: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    """Make the extended picture of planes of one size: `rows` and `columns` say which sample stands where.

    Args:
        samples: of a row of the planes.
        matrix: three rows of `PLANES` factors and a summand, from samples to red, green and blue.
        features: takes the same picture, a channel for each colour, limited to 0..1 if `LIMITS`.
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
    """Convolve each colour of a picture with its own kernel: `TAPS` offsets, and for each colour as many weights."""
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
    """Convolve features, then PReLU if `ACTIVE`.

    A row of the products makes `ABREAST` pixels of `TALL` rows of `WIDE` pixels.

    Args:
        weights: float16 of TALL,WIDE,CHANNELS,ABREAST,RESULTS.
        bias, slopes: ABREAST,RESULTS.
        origin: where the kernel of pixel 0, 0 begins.
    """
    y, x = _places(ROWS, ABREAST)
    n = tl.arange(0, ABREAST * RESULTS)
    at = ((origin + y * pitch + x) * CHANNELS)[:, None]
    total = tl.full((ROWS * COLUMNS // ABREAST, ABREAST * RESULTS), 0.0, tl.float32) + tl.load(bias + n)[None, :]
    for row in tl.static_range(TALL):
        for halving in tl.static_range(4):  # pixels of a row lie one behind the other: products of 8, 4, 2 and 1
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
    """Convolve each channel of features on its own, PReLU if `ACTIVE`, then a 1x1 convolution; add, normalise, add.

    Args:
        offsets, weights: GROUPS,TAPS of them, and for each as many weights, float16, as channels. A group is added up
            in float16, which is twice as fast, groups in float32.
        kept: takes what the 1x1 convolution is given, where `KEEP`.
        matrix: float16 of CHANNELS,RESULTS; `shift` is added to its results.
        before, after: features that are added before and after the norm, where they are wanted.
        scale, offset: of the norm, where `NORM`; `share` is 1 over their true number.
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
    """Add the detail to the base, shuffle the phases to pixels, cut, and convert the colours to planes.

    Args:
        source: the picture that the base is made of.
        offsets, weights: of the base's kernels: TAPS, and 3,TAPS,PHASES.
        detail: float16 of height,width,RESULTS.
        matrix: rows of three factors and a summand, from red, green and blue to code values.
        limits: for each plane, least and greatest code value.
        first, second, third: planes of tall,wide.
        cut: enlarged pixels that are left out at the top and at the left.
        PHASES: SCALE**2, and more up to a power of two.
        FIRST, OTHERS: whether these planes are integers.
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
