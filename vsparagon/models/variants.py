"""The variants of ParagonSR2 and their options, as plain data: no torch is needed to read this table.

The numbers are those of the design document by Philip Hofmann (MIT, https://github.com/Phhofm/traiNNer-redux).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from vsparagon.errors import InvalidInput

SCALES = (2, 3, 4, 8)


@dataclass(frozen=True, kw_only=True)
class Options:
    """Everything that fixes the shape of a ParagonSR2 generator, apart from its weights.

    Attributes:
        scale: enlargement of both sides, one of `SCALES`.
        num_feat: feature channels C at low resolution.
        num_groups: residual groups before `fast_body_mode` is applied.
        num_blocks: blocks in a group before `fast_body_mode` is applied.
        ffn_expansion: hidden channels of a block are `int(num_feat * ffn_expansion)`.
        band_kernel_size: length of the long depthwise kernels of a block, odd.
        upsampler_alpha: sharpening of the fixed base upsampler, 0 (none) to 1.
        detail_gain: factor on the initial weights of the last convolution; no meaning after training.
        fast_body_mode: halves groups and blocks, to no less than one.
        use_norm: RMSNorm at the end of each block.
        use_channel_mod: squeeze-and-excitation in each block.
        use_content_aware: one gain per picture on the detail, from its complexity.
        use_attention: window attention in each block.
    """

    scale: int = 4
    num_feat: int = 64
    num_groups: int = 6
    num_blocks: int = 6
    ffn_expansion: float = 2.0
    band_kernel_size: int = 11
    upsampler_alpha: float = 0.5
    detail_gain: float = 0.1
    fast_body_mode: bool = False
    use_norm: bool = False
    use_channel_mod: bool = True
    use_content_aware: bool = True
    use_attention: bool = False

    def __post_init__(self) -> None:
        if self.scale not in SCALES:
            raise InvalidInput(f"scale is {self.scale}; it must be one of {', '.join(map(str, SCALES))}.")
        for name in ("num_feat", "num_groups", "num_blocks"):
            if getattr(self, name) < 1:
                raise InvalidInput(f"{name} is {getattr(self, name)}; it must be at least 1.")
        if self.num_feat < 4:
            raise InvalidInput(f"num_feat is {self.num_feat}; it must be at least 4.")
        if self.band_kernel_size < 1 or self.band_kernel_size % 2 == 0:
            raise InvalidInput(f"band_kernel_size is {self.band_kernel_size}; it must be odd and positive.")
        if self.hidden < 1:
            raise InvalidInput(f"ffn_expansion is {self.ffn_expansion}; num_feat times it must be at least 1.")

    @property
    def hidden(self) -> int:
        """Hidden channels D of a block."""
        return int(self.num_feat * self.ffn_expansion)

    @property
    def groups(self) -> int:
        """Residual groups actually built."""
        return max(1, self.num_groups // 2) if self.fast_body_mode else self.num_groups

    @property
    def blocks(self) -> int:
        """Blocks actually built in each group."""
        return max(1, self.num_blocks // 2) if self.fast_body_mode else self.num_blocks

    @property
    def parameters(self) -> int:
        """Trained numbers of a generator with these options."""
        c, d, area = self.num_feat, self.hidden, self.scale**2
        band, mixed, modulated = max(1, int(c * 0.125)), max(1, d // 8), max(1, d // 4)
        block = 2 * c + band * (9 + 2 * self.band_kernel_size + 3)  # LayerScales; context
        block += d * (c + 1) + 10 * d + d * (d + 1) + c * (d + 1)  # project_in, mixer, project_out
        if self.use_attention:
            block += 2 * mixed * (d + 1) + d * (d + 1) + 1
        if self.use_channel_mod:
            block += modulated * (d + 1) + d * (modulated + 1)
        if self.use_norm:
            block += 2 * c
        total = 28 * c + self.groups * self.blocks * block  # conv_in, body
        total += c * (9 * c + 1) + c * area * (9 * c + 1) + 3 * (9 * c + 1)  # conv_fuse, up_conv, conv_out
        if self.use_content_aware:
            small, large = c // 4, c // 2
            total += small * 28 + large * (25 * small + 1) + large * (49 * large + 1) + large + 1
        return total

    @property
    def reach(self) -> int:
        """How far, in pixels of the input, a pixel of the output looks to each side by convolutions.

        Attention (its windows) and the whole-picture means of gain and channel modulation look further.
        """
        block = max(1, self.band_kernel_size // 2) + 1
        body = self.groups * self.blocks * block
        return max(1 + body + 1 + 1 + 1, 3 + 1)  # conv_in, body, conv_fuse, up_conv, conv_out; the base

    @property
    def is_local(self) -> bool:
        """Whether a pixel of the output depends on nothing beyond `reach`."""
        return not (self.use_attention or self.use_content_aware or self.use_channel_mod)


def _variant(feat: int, groups: int, blocks: int, ffn: float, band: int, alpha: float, **rest: Any) -> Options:
    defaults: dict[str, Any] = {"fast_body_mode": True, "use_norm": True, "use_attention": True, "scale": 2}
    return Options(
        num_feat=feat,
        num_groups=groups,
        num_blocks=blocks,
        ffn_expansion=ffn,
        band_kernel_size=band,
        upsampler_alpha=alpha,
        **(defaults | rest),
    )


VARIANTS: dict[str, Options] = {
    "nano": _variant(12, 1, 1, 1.2, 7, 0.40, detail_gain=0.05, use_norm=False, use_channel_mod=False),
    "micro": _variant(16, 1, 2, 1.5, 7, 0.45, detail_gain=0.08, use_norm=False),
    "tiny": _variant(24, 2, 2, 1.5, 9, 0.50),
    "xs": _variant(32, 2, 3, 1.8, 11, 0.50),
    "s": _variant(48, 3, 4, 2.0, 11, 0.50),
    "m": _variant(64, 4, 6, 2.0, 11, 0.50, fast_body_mode=False),
    "l": _variant(96, 6, 8, 2.0, 13, 0.55, fast_body_mode=False, use_attention=False),
    "xl": _variant(128, 8, 10, 2.0, 15, 0.60, fast_body_mode=False, use_attention=False),
}


def variant_options(variant: str, **overrides: Any) -> Options:
    """Return the options of a variant with some of them replaced.

    Args:
        variant: a name in `VARIANTS`.
        **overrides: fields of `Options`.

    Raises:
        InvalidInput: unknown variant or option, or an option out of range.
    """
    if variant not in VARIANTS:
        raise InvalidInput(f"unknown variant {variant!r}; the variants are {', '.join(VARIANTS)}.")
    unknown = sorted(set(overrides) - set(Options.__dataclass_fields__))
    if unknown:
        raise InvalidInput(
            f"unknown option {', '.join(unknown)}; the options are {', '.join(Options.__dataclass_fields__)}."
        )
    return replace(VARIANTS[variant], **overrides)


def variant_of(options: Options) -> str:
    """Return the variant that has these features, hidden channels and kernels; "custom" when none has.

    The scale, the depth of the body and what can be switched on and off do not matter.
    """
    key = (options.num_feat, options.hidden, options.band_kernel_size)
    for name, known in VARIANTS.items():
        if (known.num_feat, known.hidden, known.band_kernel_size) == key:
            return name
    return "custom"
