"""Swift: a plain network of 3x3 convolutions, all at low resolution.

It consists only of what a processor does best: dense convolutions on few channels, PReLU between them, and one pixel
shuffle. It learns the difference to an enlargement by repeated pixels. Layout of every tensor: N,C,H,W.

The convolutions see the picture clamped to 0..1, the range that they were trained on; the repeated pixels keep values
beyond it, which saturated YUV gives. Without the limit the convolutions drew dotted lines and wrong colours there.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 -- its usual name

from vsparagon.models.folding import convolution
from vsparagon.models.variants import COLOURS, SwiftOptions

type Ranges = tuple[tuple[float, float], ...]


class Swift(nn.Module):
    """The generator: N,3,H,W RGB to N,3,scale*H,scale*W, not clamped; nominal range 0..1, values beyond are allowed.

    Args:
        **options: fields of `vsparagon.models.variants.SwiftOptions`.

    Attributes:
        options: those options.
        ranges: lowest and highest value after each PReLU, if quantisation-aware training rounded them to 8-bit integers
            (`vsparagon.training.quantisation`); else ().

    Raises:
        InvalidInput: an option is out of range.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.options = SwiftOptions(**options)
        self.ranges: Ranges = ()
        features, scale = self.options.num_feat, self.options.scale
        layers: list[nn.Module] = []
        for channels in (COLOURS, *[features] * self.options.num_layers):
            layers += [nn.Conv2d(channels, features, 3, padding=1), nn.PReLU(features)]
        self.body = nn.Sequential(*layers)
        self.up_conv = nn.Conv2d(features, COLOURS * scale * scale, 3, padding=1)
        self._initialise()

    def _initialise(self) -> None:
        """Start with repeated pixels, to which nothing is added, and with inner layers near the identity."""
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d) and layer.bias is not None:
                nn.init.zeros_(layer.bias)
                nn.init.kaiming_normal_(layer.weight, a=0.25)
                if layer.in_channels == layer.out_channels:
                    layer.weight.data *= 0.3
                    layer.weight.data[:, :, 1, 1] += torch.eye(layer.out_channels)
        nn.init.zeros_(self.up_conv.weight)

    def forward(self, x: Tensor) -> Tensor:
        scale = self.options.scale
        repeated = F.interpolate(x, scale_factor=scale, mode="nearest")
        return repeated + F.pixel_shuffle(self.up_conv(self.body(x.clamp(0.0, 1.0))), scale)


class SwiftForm(nn.Module):
    """The inference form of a `Swift`: pixels are repeated as channels, before the only pixel shuffle.

    It maps N,3,H,W to N,3,sH,sW and equals the published form up to the border. It shares the generator's layers.

    Attributes:
        options, ranges: as of the generator.
        shift: enlarged pixels missing at the top and left of the result: none.
    """

    shift = SwiftOptions.inference_shift

    def __init__(self, model: Swift) -> None:
        super().__init__()
        self.options, self.ranges, self.body, self.up_conv = model.options, model.ranges, model.body, model.up_conv
        self.anchor = repeating(model.options.scale)

    def forward(self, x: Tensor) -> Tensor:
        phases = self.up_conv(self.body(x.clamp(0.0, 1.0))) + self.anchor(x)
        return F.pixel_shuffle(phases, self.options.scale)


def repeating(scale: int) -> nn.Conv2d:
    """Return the fixed 1x1 convolution from N,3,H,W to the phases of the repeated pixels, N,3*s*s,H,W."""
    every = torch.eye(COLOURS).repeat_interleave(scale**2, dim=0)
    return convolution(every[..., None, None])
