"""The ParagonSR2 generator in its published form, which is trained, exported, and loads checkpoints by weight name.

Network design by Philip Hofmann (MIT, https://github.com/Phhofm/traiNNer-redux). Layout of every tensor: N,C,H,W.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 -- its usual name

from vsparagon.models.attention import LocalWindowAttention, is_exporting
from vsparagon.models.variants import ParagonSR2Options

LEAK = 0.1
STRIP = 128  # source rows that are enlarged at a time


class SeparableConv(nn.Module):
    """A fixed depthwise kernel, applied horizontally, then vertically; stored in checkpoints, never trained."""

    def __init__(self, kernel: list[float], channels: int = 3) -> None:
        super().__init__()
        taps = torch.tensor(kernel)
        size = len(kernel)
        self.conv_h = nn.Conv2d(channels, channels, (1, size), padding=(0, size // 2), groups=channels, bias=False)
        self.conv_v = nn.Conv2d(channels, channels, (size, 1), padding=(size // 2, 0), groups=channels, bias=False)
        with torch.no_grad():
            self.conv_h.weight.copy_(taps.view(1, 1, 1, size).expand_as(self.conv_h.weight))
            self.conv_v.weight.copy_(taps.view(1, 1, size, 1).expand_as(self.conv_v.weight))
        self.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv_v(self.conv_h(x))
        return out


class MagicKernelSharp2021Upsample(nn.Module):
    """Classical enlargement: sharpen by `alpha`, repeat pixels, smooth.

    Kernels of the Magic Kernel Sharp 2021 by John Costella (https://johncostella.com/magic).
    """

    def __init__(self, alpha: float, channels: int = 3) -> None:
        super().__init__()
        self.alpha = alpha
        self.sharpen = SeparableConv([t / 32 for t in (-1, 0, 9, 16, 9, 0, -1)], channels)
        self.resample_conv = SeparableConv([t / 16 for t in (1, 4, 6, 4, 1)], channels)

    def sharpened(self, x: Tensor) -> Tensor:
        """Return x sharpened by `alpha`, of the same size."""
        if self.alpha == 0:
            return x
        out: Tensor = x + self.alpha * (self.sharpen(x) - x)
        return out

    def enlarged(self, sharp: Tensor, **target: Any) -> Tensor:
        """Enlarge by `scale_factor=` or to `size=`, as `torch.nn.functional.interpolate` takes them."""
        out: Tensor = self.resample_conv(F.interpolate(sharp, mode="nearest", **target))
        return out


class InceptionDWConv2d(nn.Module):
    """Depthwise context: 3x3, 1xk and kx1 kernels on an eighth of the channels each (at least one); the rest pass."""

    def __init__(self, channels: int, band: int) -> None:
        super().__init__()
        c = max(1, int(channels * 0.125))
        self.split = [channels - 3 * c, c, c, c]
        self.dwconv_hw = nn.Conv2d(c, c, 3, padding=1, groups=c)
        self.dwconv_w = nn.Conv2d(c, c, (1, band), padding=(0, band // 2), groups=c)
        self.dwconv_h = nn.Conv2d(c, c, (band, 1), padding=(band // 2, 0), groups=c)

    def forward(self, x: Tensor) -> Tensor:
        same, hw, w, h = torch.split(x, self.split, dim=1)
        return torch.cat((same, self.dwconv_hw(hw), self.dwconv_w(w), self.dwconv_h(h)), dim=1)


class LayerScale(nn.Module):
    """One trained factor per channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.full((1, channels, 1, 1), 1e-5))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma


class ChannelModulation(nn.Module):
    """Squeeze-and-excitation over the whole picture."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = max(1, channels // 4)
        self.net = nn.Sequential(
            GlobalMean(), nn.Conv2d(channels, inner, 1), nn.ReLU(), nn.Conv2d(inner, channels, 1), nn.Sigmoid()
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x * self.net(x)
        return out


class GlobalMean(nn.Module):
    """The mean over the picture, N,C,1,1, taken in float32: half precision would be too coarse on large frames."""

    def forward(self, x: Tensor) -> Tensor:
        return x.float().mean((2, 3), keepdim=True).to(x.dtype)


class StaticDepthwiseTransformer(nn.Module):
    """Channel mixing at D hidden channels, with optional attention and modulation."""

    def __init__(self, options: ParagonSR2Options) -> None:
        super().__init__()
        c, d = options.num_feat, options.hidden
        self.project_in = nn.Conv2d(c, d, 1)
        self.dw_mixer = nn.Sequential(nn.Conv2d(d, d, 3, padding=1, groups=d), nn.LeakyReLU(LEAK), nn.Conv2d(d, d, 1))
        self.attention = LocalWindowAttention(d) if options.use_attention else nn.Identity()
        self.channel_mod = ChannelModulation(d) if options.use_channel_mod else nn.Identity()
        self.project_out = nn.Conv2d(d, c, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.dw_mixer(self.project_in(x))
        out: Tensor = self.project_out(self.channel_mod(self.attention(x)))
        return out


class RMSNorm(nn.Module):
    """Root-mean-square normalisation over the channels of each pixel (Zhang and Sennrich, 2019)."""

    eps = 1e-6

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(channels, 1, 1))
        self.offset = nn.Parameter(torch.zeros(channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        wide = x.float()
        rms = wide.norm(2, dim=1, keepdim=True) * x.shape[1] ** -0.5
        unit: Tensor = (wide / (rms + self.eps)).to(x.dtype)
        return unit * self.scale + self.offset


class ParagonBlock(nn.Module):
    """Context, then channel mixing, each a residual with its own LayerScale; then an optional RMSNorm."""

    def __init__(self, options: ParagonSR2Options) -> None:
        super().__init__()
        self.context = InceptionDWConv2d(options.num_feat, options.band_kernel_size)
        self.ls1 = LayerScale(options.num_feat)
        self.transformer = StaticDepthwiseTransformer(options)
        self.ls2 = LayerScale(options.num_feat)
        self.norm = RMSNorm(options.num_feat) if options.use_norm else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.ls1(self.context(x))
        out: Tensor = self.norm(x + self.ls2(self.transformer(x)))
        return out


class ResidualGroup(nn.Module):
    """Blocks in a row; the group adds its input."""

    def __init__(self, options: ParagonSR2Options) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*(ParagonBlock(options) for _ in range(options.blocks)))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.blocks(x)
        return out


class PixelShufflePack(nn.Module):
    """Convolution to s*s times the channels, then pixel shuffle (Shi et al., 2016)."""

    def __init__(self, channels: int, scale: int) -> None:
        super().__init__()
        self.scale = scale
        self.up_conv = nn.Conv2d(channels, channels * scale * scale, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return F.pixel_shuffle(self.up_conv(x), self.scale)


class ContentAwareDetailProcessor(nn.Module):
    """One gain per picture: 0.05 for the busiest, 0.20 for the plainest, of shape N,1,1,1."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        small, large = channels // 4, channels // 2
        self.content_analyzer = nn.Sequential(
            nn.Conv2d(3, small, 3, padding=1),
            nn.LeakyReLU(LEAK),
            nn.Conv2d(small, large, 5, padding=2),
            nn.LeakyReLU(LEAK),
            nn.Conv2d(large, large, 7, padding=3),
            nn.LeakyReLU(LEAK),
            GlobalMean(),
            nn.Conv2d(large, 1, 1),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        complexity: Tensor = self.content_analyzer(x)
        return 0.05 + 0.15 * (1.0 - complexity)


class ParagonSR2(nn.Module):
    """The generator: a classical base plus a learned detail, all features at low resolution.

    Takes N,3,H,W RGB of nominal range 0..1 (H and W at least 4) and returns N,3,scale*H,scale*W, not clamped. Any
    floating dtype; means and norms are taken in float32.

    Args:
        **options: fields of `vsparagon.models.variants.ParagonSR2Options`.

    Raises:
        InvalidInput: an option is out of range.
        TypeError: an option is unknown.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.options = ParagonSR2Options(**options)
        o = self.options
        self.conv_in = nn.Conv2d(3, o.num_feat, 3, padding=1)
        self.body = nn.Sequential(*(ResidualGroup(o) for _ in range(o.groups)))
        self.conv_fuse = nn.Conv2d(o.num_feat, o.num_feat, 3, padding=1)
        self.upsampler_net = PixelShufflePack(o.num_feat, o.scale)
        self.conv_out = nn.Conv2d(o.num_feat, 3, 3, padding=1)
        self.magic_upsampler = MagicKernelSharp2021Upsample(o.upsampler_alpha)
        self.content_processor = ContentAwareDetailProcessor(o.num_feat) if o.use_content_aware else None
        self._initialise()

    @torch.no_grad()
    def _initialise(self) -> None:
        # ICNR (Aitken et al., 2017): the s*s phases of an output channel start equal, so no checkerboard.
        up, area = self.upsampler_net.up_conv, self.options.scale**2
        phase = torch.empty_like(up.weight[::area])
        nn.init.kaiming_normal_(phase)
        up.weight.copy_(phase.repeat_interleave(area, dim=0))
        nn.init.zeros_(_bias(up))
        self.conv_out.weight.mul_(self.options.detail_gain)
        nn.init.zeros_(_bias(self.conv_out))

    def forward(self, x: Tensor) -> Tensor:
        sharp = self.magic_upsampler.sharpened(x)
        gain = self.content_processor(x) if self.content_processor is not None else None
        features = self._features(x)
        if torch.is_grad_enabled() or is_exporting():
            return self._enlarge(sharp, features, gain)
        # Tensors at high resolution are by far the largest of a frame. Without gradients, which need them whole, they
        # are computed in strips. In total, the convolutions look two rows beyond a strip.
        height, scale = x.shape[2], self.options.scale
        strips = []
        for top in range(0, height, STRIP):
            rows = slice(max(top - 2, 0), top + STRIP + 2)
            strip = self._enlarge(sharp[:, :, rows], features[:, :, rows], gain)
            begin = (top - rows.start) * scale
            strips.append(strip[:, :, begin : begin + STRIP * scale])
        return torch.cat(strips, dim=2)

    def _features(self, x: Tensor) -> Tensor:
        body = self.body(self.conv_in(x))
        fused: Tensor = self.conv_fuse(body) + body
        return fused

    def _enlarge(self, sharp: Tensor, features: Tensor, gain: Tensor | None) -> Tensor:
        base = self.magic_upsampler.enlarged(sharp, scale_factor=self.options.scale)
        detail: Tensor = self.conv_out(self.upsampler_net(features))
        return base + (detail if gain is None else gain * detail)


def _bias(conv: nn.Conv2d) -> Tensor:
    assert conv.bias is not None
    return conv.bias
