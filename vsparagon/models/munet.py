"""MUNet, the discriminator for adversarial training: a U-Net that judges every pixel in four ways.

Network design by Philip Hofmann (MIT, https://github.com/Phhofm/traiNNer-redux). For training only. Layout of every
tensor: N,C,H,W. All trained convolutions are spectrally normalised (Miyato et al., 2018).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 -- its usual name
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.utils.parametrizations import spectral_norm

from vsparagon.errors import InvalidInput
from vsparagon.models.attention import LocalWindowAttention
from vsparagon.models.paragonsr2 import MagicKernelSharp2021Upsample

LEAK = 0.2
GRADIENT_LUMA = (0.299, 0.587, 0.114)
FREQUENCY_LUMA = (0.2989, 0.5870, 0.1140)
FREQUENCY_FLOOR = 1e-8
# About the magnitude of 8-bit rounding noise in the spectrum; below it there is nothing to learn from.
GRADIENT_FLOOR = 1e-3


def _conv(inputs: int, outputs: int, size: int, *, stride: int = 1, bias: bool = False) -> nn.Conv2d:
    """Return a spectrally normalised convolution that keeps the size, or halves it with `stride` 2 and `size` 4."""
    conv = nn.Conv2d(inputs, outputs, size, stride, padding=(size - 1) // 2, bias=bias)
    return _normalised(conv)


def _normalised(conv: nn.Conv2d) -> nn.Conv2d:
    nn.init.kaiming_normal_(conv.weight, a=LEAK)
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)
    spectral_norm(conv)
    return conv


def _leaky() -> nn.LeakyReLU:
    return nn.LeakyReLU(LEAK)


def _two_convs(inputs: int, middle: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(_conv(inputs, middle, 3), _leaky(), _conv(middle, outputs, 3), _leaky())


class UpBlock(nn.Module):
    """One step up: the magic kernel's enlargement, a convolution, and a fusion with the skip connection."""

    def __init__(self, inputs: int, skip: int) -> None:
        super().__init__()
        self.magic_upsample = MagicKernelSharp2021Upsample(1.0, inputs)
        self.post_upsample_conv = _conv(inputs, skip, 3)
        self.fusion_conv = nn.Sequential(_conv(2 * skip, skip, 3), _leaky())

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        sharp = self.magic_upsample.sharpened(x)
        x = self.post_upsample_conv(self.magic_upsample.enlarged(sharp, size=skip.shape[2:]))
        out: Tensor = self.fusion_conv(torch.cat((x, skip), dim=1))
        return out


class AttentionFusion(nn.Module):
    """Merges four branches: a weighted sum, by a softmax over them at each pixel, then two convolutions."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.attention_conv = nn.Sequential(
            _conv(4 * channels, channels, 1, bias=True), _leaky(), _conv(channels, 4, 1, bias=True)
        )
        self.fusion_conv = _two_convs(channels, channels, channels)

    def forward(self, branches: Sequence[Tensor]) -> Tensor:
        """Map four tensors N,F,H,W to one."""
        shares = self.attention_conv(torch.cat(tuple(branches), dim=1)).softmax(dim=1)
        mixed = (torch.stack(tuple(branches), dim=1) * shares[:, :, None]).sum(dim=1)
        out: Tensor = self.fusion_conv(mixed)
        return out


class MUNet(nn.Module):
    """The discriminator: N,3,H,W RGB of nominal range [0, 1] to one logit for each pixel, N,1,H,W.

    H and W are at least two to the power of the number of stages. Gradients, and gradients of gradients, reach the
    picture through all four branches, as R1 and R2 penalties need.

    Args:
        num_in_ch: channels of the picture; 3, because two of the branches judge its luma.
        num_feat: features F at full size, at least 2.
        ch_mult: features of each stage as a multiple of F; each stage has half the size of the one before.

    Raises:
        InvalidInput: an option is out of range.
    """

    def __init__(self, num_in_ch: int = 3, num_feat: int = 64, ch_mult: Sequence[int] = (1, 2, 4, 8)) -> None:
        super().__init__()
        if num_in_ch != 3:
            raise InvalidInput(f"num_in_ch is {num_in_ch}; it must be 3, because MUNet judges RGB pictures.")
        if num_feat < 2 or not ch_mult or min(ch_mult) < 1:
            raise InvalidInput(
                f"num_feat is {num_feat} and ch_mult {tuple(ch_mult)}; they must be at least 2, and one or more "
                "positive numbers."
            )
        f = num_feat
        widths = [f, *(f * m for m in ch_mult)]
        deepest = widths[-1]
        self.in_conv = _conv(num_in_ch, f, 3, bias=True)
        self.down_blocks = nn.ModuleList(nn.Sequential(_conv(a, b, 4, stride=2), _leaky()) for a, b in pairwise(widths))
        self.mid_conv = _two_convs(deepest, deepest, deepest)
        self.self_attn = LocalWindowAttention(deepest)
        for conv in (self.self_attn.query, self.self_attn.key, self.self_attn.value):
            _normalised(conv)
        self.up_blocks = nn.ModuleList(UpBlock(b, a) for a, b in reversed(list(pairwise(widths))))
        self.grad_conv = _two_convs(2, f // 2, f)
        self.freq_luma = nn.Conv2d(3, 1, 1, bias=False).requires_grad_(False)
        with torch.no_grad():
            self.freq_luma.weight.copy_(torch.tensor(FREQUENCY_LUMA).view(1, 3, 1, 1))
        self.freq_proc = _two_convs(1, f // 2, f)
        self.patch_reduce = nn.Sequential(_conv(deepest, f, 1), _leaky())
        self.patch_upsample = _two_convs(f, f, f)
        self.attention_fusion = AttentionFusion(f)
        self.out_conv = _conv(f, 1, 3, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        skips, deep = self._encode(x)
        spatial = deep
        for block, skip in zip(self.up_blocks, reversed(skips), strict=True):
            spatial = block(spatial, skip)
        size = spatial.shape[2:]
        patch = self.patch_upsample(F.interpolate(self.patch_reduce(deep), size=size, mode="nearest"))
        branches = [spatial, self._gradients(x), self._frequencies(x), patch]
        branches = [b if b.shape[2:] == size else F.interpolate(b, size=size, mode="bilinear") for b in branches]
        out: Tensor = self.out_conv(self.attention_fusion(branches))
        return out

    def _encode(self, x: Tensor) -> tuple[list[Tensor], Tensor]:
        """Return the input of every stage, and the output of the bottleneck."""
        x = self.in_conv(x)
        skips = []
        for block in self.down_blocks:
            skips.append(x)
            x = block(x)
        x = self.mid_conv(x)
        with sdpa_kernel(SDPBackend.MATH):  # the only one that can be differentiated twice
            return skips, self.self_attn(x)

    def _gradients(self, x: Tensor) -> Tensor:
        red, green, blue = (x[:, i : i + 1] for i in range(3))
        luma = GRADIENT_LUMA[0] * red + GRADIENT_LUMA[1] * green + GRADIENT_LUMA[2] * blue
        across = F.pad(luma[..., 1:] - luma[..., :-1], (0, 1))
        down = F.pad(luma[..., 1:, :] - luma[..., :-1, :], (0, 0, 0, 1))
        out: Tensor = self.grad_conv(torch.cat((across, down), dim=1))
        return out

    def _frequencies(self, x: Tensor) -> Tensor:
        spectrum = log_magnitude(self.freq_luma(x).float())
        out: Tensor = self.freq_proc(spectrum.to(x.dtype))
        return out


def log_magnitude(x: Tensor) -> Tensor:
    """Return log(|fft2(x)| + 1e-8), orthonormal, in float32, with a gradient that stays bounded.

    The true gradient grows to 1e8 where a frequency is absent, as nearly all are in a flat picture. The gradient here
    is that of log(sqrt(|.|^2 + 1e-3^2)): the same wherever there is anything but rounding noise, and at most 500.
    """
    spectrum = torch.view_as_real(torch.fft.fft2(x, norm="ortho"))
    squared = spectrum.square().sum(-1)
    smooth = 0.5 * (squared + GRADIENT_FLOOR**2).log()
    return smooth + ((squared.sqrt() + FREQUENCY_FLOOR).log() - smooth).detach()
