"""Folds linear parts of ParagonSR2 into single convolutions. They are computed in float64 and returned in float32.

Only the zero padding between two folded layers is lost, which changes the outermost pixels alone.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 -- its usual name

from vsparagon.models.paragonsr2 import ParagonBlock, ParagonSR2


def convolution(
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    groups: int = 1,
    stride: int = 1,
    padding: tuple[int, int] | None = None,
) -> nn.Conv2d:
    """Return a float32 convolution with these values; by default it keeps the size.

    Args:
        weight: out, in / groups, height, width.
        bias: (out,), or None.
        groups: as in `torch.nn.Conv2d`.
        stride: horizontal stride; the vertical one is 1.
        padding: zeros above and below, and at the left and right; half the kernel by default.
    """
    out, each, height, width = weight.shape
    conv = nn.Conv2d(
        each * groups,
        out,
        (height, width),
        stride=(1, stride),
        padding=padding or (height // 2, width // 2),
        groups=groups,
        bias=bias is not None,
    )
    conv.weight.copy_(weight)
    if conv.bias is not None and bias is not None:
        conv.bias.copy_(bias)
    return conv


class ShiftedConv2d(nn.Conv2d):
    """A 4x4 convolution over the pixel itself, one before it and two after it on each axis. It keeps the size."""

    pads = (1, 1, 2, 2)  # top, left, bottom, right

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.pad(x, (1, 2, 1, 2)))


def shifted_convolution(weight: Tensor, bias: Tensor | None = None) -> ShiftedConv2d:
    """Return a float32 `ShiftedConv2d` with these values: weight out, in, 4, 4; bias (out,), or None."""
    conv = ShiftedConv2d(weight.shape[1], weight.shape[0], 4, bias=bias is not None)
    conv.weight.copy_(weight)
    if conv.bias is not None and bias is not None:
        conv.bias.copy_(bias)
    return conv


def fold_tail(model: ParagonSR2) -> ShiftedConv2d:
    """Fold `up_conv`, the pixel shuffle and `conv_out` into one 4x4 convolution from C channels to 3*s*s phases.

    A pixel shuffle must follow. Phase (a, b) of a low-resolution pixel is its enlarged pixel (1 + a, 1 + b): shifted by
    one, a block of s*s enlarged pixels depends on 4x4 low-resolution pixels; aligned with the grid, it would depend on
    5x5. Phase (a, b) of colour o takes, for every tap (u, v) of `conv_out`, the phase (a+u, b+v) of `up_conv`'s result,
    which may belong to a neighbouring pixel.
    """
    up, last, s = model.upsampler_net.up_conv, model.conv_out, model.options.scale
    channels = up.in_channels
    inner = up.weight.double().view(channels, s, s, channels, 3, 3)  # feature, a, b, C, taps
    inner_bias = bias_of(up).view(channels, s, s)
    outer = last.weight.double()
    kernel = outer.new_zeros(3, s, s, channels, 4, 4)
    bias = bias_of(last)[:, None, None].repeat(1, s, s)
    for a in range(s):
        for b in range(s):
            for u in range(3):
                for v in range(3):
                    (down, row), (right, column) = divmod(a + u, s), divmod(b + v, s)
                    taps = torch.einsum("om,mcij->ocij", outer[:, :, u, v], inner[:, row, column])
                    kernel[:, a, b, :, down : 3 + down, right : 3 + right] += taps
                    bias[:, a, b] += outer[:, :, u, v] @ inner_bias[:, row, column]
    return shifted_convolution(kernel.flatten(0, 2), bias.flatten())


def fold_sharpening(model: ParagonSR2) -> nn.Conv2d:
    """Fold the base's `x + alpha * (sharpen(x) - x)` into one depthwise 7x7 convolution."""
    alpha, separable = model.options.upsampler_alpha, model.magic_upsampler.sharpen
    kernel = alpha * separable.conv_v.weight.double() * separable.conv_h.weight.double()
    kernel[..., 3, 3] += 1 - alpha
    return convolution(kernel, groups=3)


def fold_smoothing(model: ParagonSR2) -> ShiftedConv2d:
    """Fold the base's repeated pixels and blur into one 4x4 convolution, from 3 channels to `fold_tail`'s phases."""
    s, separable = model.options.scale, model.magic_upsampler.resample_conv

    def by_phase(taps: Tensor) -> Tensor:
        """Turn 3,5 taps at high resolution into 3,s,4: what each phase takes from each low-resolution pixel."""
        folded = taps.new_zeros(3, s, 4)
        for phase in range(s):
            for tap in range(5):
                folded[:, phase, (phase + tap - 1) // s + 1] += taps[:, tap]
        return folded

    rows = by_phase(separable.conv_v.weight.double().flatten(1))
    columns = by_phase(separable.conv_h.weight.double().flatten(1))
    kernel = rows.new_zeros(3, s, s, 3, 4, 4)
    for colour in range(3):
        kernel[colour, :, :, colour] = torch.einsum("ai,bj->abij", rows[colour], columns[colour])
    return shifted_convolution(kernel.flatten(0, 2))


def fold_fusion(model: ParagonSR2) -> nn.Conv2d:
    """Fold `conv_fuse(b) + b` into one convolution."""
    kernel = model.conv_fuse.weight.double().clone()
    kernel[..., 1, 1] += torch.eye(kernel.shape[0], dtype=kernel.dtype)
    return convolution(kernel, bias_of(model.conv_fuse))


def fold_context(block: ParagonBlock) -> nn.Conv2d:
    """Fold `x + ls1(context(x))` into one depthwise k x k convolution."""
    context, scale = block.context, block.ls1.gamma.double().flatten()
    size = context.dwconv_w.kernel_size[1]
    middle = size // 2
    kernel = scale.new_zeros(len(scale), 1, size, size)
    same, square, across, down = torch.split(kernel, context.split)  # views
    same[..., middle, middle] = 1
    square[..., middle - 1 : middle + 2, middle - 1 : middle + 2] = context.dwconv_hw.weight
    across[..., middle : middle + 1, :] = context.dwconv_w.weight
    down[..., middle : middle + 1] = context.dwconv_h.weight
    convs = (context.dwconv_hw, context.dwconv_w, context.dwconv_h)
    bias = torch.cat([scale.new_zeros(context.split[0]), *(bias_of(c) for c in convs)]) * scale
    kernel *= scale[:, None, None, None]
    kernel[..., middle, middle] += 1
    return convolution(kernel, bias, groups=len(scale))


def fold_projection(block: ParagonBlock, *, with_mixer: bool) -> nn.Conv2d:
    """Fold `ls2(project_out(x))` into one 1x1 convolution; `with_mixer`: with the mixer's last 1x1 before it."""
    project, scale = block.transformer.project_out, block.ls2.gamma.double().flatten()
    matrix, bias = project.weight.double().flatten(1), bias_of(project)
    if with_mixer:
        mixer = block.transformer.dw_mixer[2]
        assert isinstance(mixer, nn.Conv2d)
        matrix, bias = matrix @ mixer.weight.double().flatten(1), matrix @ bias_of(mixer) + bias
    return convolution((matrix * scale[:, None])[..., None, None], bias * scale)


def pack_columns(conv: nn.Conv2d, *, packed_input: bool) -> nn.Conv2d:
    """Return a convolution that computes two columns of `conv`'s result at once: twice the channels, half the width.

    Args:
        conv: dense, with a bias; keeps the size; its kernel's width is odd.
        packed_input: whether the input comes as pairs of columns, too.
    """
    out, channels, height, width = conv.weight.shape
    reach = width // 2
    if packed_input:
        packs = (reach + 1) // 2  # pairs on either side
        kernel = conv.weight.new_zeros(2, out, 2, channels, height, 2 * packs + 1)
        for column in range(2):
            for tap in range(width):
                pack, parity = divmod(column + tap - reach, 2)
                kernel[column, :, parity, ..., packs + pack] = conv.weight[..., tap]
        return convolution(kernel.flatten(2, 3).flatten(0, 1), bias_of(conv).repeat(2))
    kernel = conv.weight.new_zeros(2, out, channels, height, width + 1)
    for column in range(2):
        kernel[column, ..., column : column + width] = conv.weight
    return convolution(kernel.flatten(0, 1), bias_of(conv).repeat(2), stride=2, padding=(height // 2, reach))


def bias_of(conv: nn.Conv2d) -> Tensor:
    """Return a convolution's bias in float64; it must have one."""
    assert conv.bias is not None
    return conv.bias.double()


def wider(conv: nn.Conv2d, *, inputs: int = 0, outputs: int = 0) -> nn.Conv2d:
    """Return a dense convolution with this many zero channels appended to its inputs and outputs."""
    weight = F.pad(conv.weight.double(), (0, 0, 0, 0, 0, inputs, 0, outputs))
    bias = None if conv.bias is None else F.pad(conv.bias.double(), (0, outputs))
    return shifted_convolution(weight, bias) if isinstance(conv, ShiftedConv2d) else convolution(weight, bias)


def with_one(conv: nn.Conv2d) -> nn.Conv2d:
    """Return a depthwise convolution with one more channel at the end, whose output is 1 everywhere."""
    weight = F.pad(conv.weight.double(), (0, 0, 0, 0, 0, 0, 0, 1))
    return convolution(weight, F.pad(bias_of(conv), (0, 1), value=1.0), groups=len(weight))
