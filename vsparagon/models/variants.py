"""The variants of the networks and their options, as plain data: no torch is needed to read this table.

ParagonSR2's numbers are those of the design document by Philip Hofmann (MIT,
https://github.com/Phhofm/traiNNer-redux).
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar

from vsparagon.errors import InvalidInput

SCALES = (2, 3, 4, 8)
COLOURS = 3  # channels of every generator's input and output
VECTOR = 16  # float32 channels in a vector register


@dataclass(frozen=True, kw_only=True)
class ParagonSR2Options:
    """Everything that fixes the shape of a ParagonSR2 generator, apart from its weights.

    Attributes:
        scale: enlargement of both sides, one of `SCALES`.
        num_feat: feature channels C at low resolution, at least 4.
        num_groups: residual groups before `fast_body_mode` is applied.
        num_blocks: blocks in a group before `fast_body_mode` is applied.
        ffn_expansion: hidden channels of a block are `int(num_feat * ffn_expansion)`.
        band_kernel_size: length of the long depthwise kernels of a block, odd.
        upsampler_alpha: strength of the fixed base upsampler's sharpening, nominally 0 (none) to 1; not checked.
        detail_gain: factor on the initial weights of the last convolution; no meaning after training.
        fast_body_mode: halves groups and blocks, to no less than one each.
        use_norm: RMSNorm at the end of each block.
        use_channel_mod: squeeze-and-excitation in each block.
        use_content_aware: one gain per picture on the detail, from the picture's complexity.
        use_attention: window attention in each block.

    Raises:
        InvalidInput: an option is out of range.
    """

    network: ClassVar[str] = "paragonsr2"
    inference_shift: ClassVar[int] = 1
    """Enlarged pixels that are missing at the top and left of the inference form's result."""

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
        _check_scale(self.scale)
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
        """The number of trained parameters of a generator with these options."""
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
        """How far, in source pixels, an output pixel looks to each side through convolutions.

        Attention (its windows) and the whole-picture means of gain and channel modulation look further.
        """
        block = max(1, self.band_kernel_size // 2) + 1
        body = self.groups * self.blocks * block
        return max(1 + body + 1 + 1 + 1, 3 + 1)  # conv_in, body, conv_fuse, up_conv, conv_out; the base

    @property
    def is_local(self) -> bool:
        """Whether an output pixel depends on nothing beyond `reach`."""
        return not (self.use_attention or self.use_content_aware or self.use_channel_mod)


@dataclass(frozen=True, kw_only=True)
class SwiftOptions:
    """Everything that fixes the shape of a Swift generator, apart from its weights.

    Attributes:
        scale: enlargement of both sides, one of `SCALES`.
        num_feat: feature channels C, at least 1.
        num_layers: convolutions from C to C channels, at least 0.

    Raises:
        InvalidInput: an option is out of range.
    """

    network: ClassVar[str] = "swift"
    inference_shift: ClassVar[int] = 0
    is_local: ClassVar[bool] = True

    scale: int = 2
    num_feat: int = 16
    num_layers: int = 3

    def __post_init__(self) -> None:
        _check_scale(self.scale)
        if self.num_feat < 1 or self.num_layers < 0:
            raise InvalidInput(
                f"num_feat is {self.num_feat} and num_layers {self.num_layers}; at least 1 and 0 are needed."
            )

    @property
    def parameters(self) -> int:
        """The number of trained parameters of a generator with these options."""
        c = self.num_feat
        return 29 * c + self.num_layers * c * (9 * c + 2) + 3 * self.scale**2 * (9 * c + 1)

    @property
    def reach(self) -> int:
        """How far, in source pixels, an output pixel looks to each side."""
        return self.num_layers + 2


AnyOptions = ParagonSR2Options | SwiftOptions
NETWORKS: dict[str, type[AnyOptions]] = {kind.network: kind for kind in (ParagonSR2Options, SwiftOptions)}


def _check_scale(scale: int) -> None:
    if scale not in SCALES:
        raise InvalidInput(f"scale is {scale}; it must be one of {', '.join(map(str, SCALES))}.")


def _variant(
    feat: int, groups: int, blocks: int, ffn: float, band: int, alpha: float, **rest: Any
) -> ParagonSR2Options:
    defaults: dict[str, Any] = {"fast_body_mode": True, "use_norm": True, "use_attention": True, "scale": 2}
    return ParagonSR2Options(
        num_feat=feat,
        num_groups=groups,
        num_blocks=blocks,
        ffn_expansion=ffn,
        band_kernel_size=band,
        upsampler_alpha=alpha,
        **(defaults | rest),
    )


VARIANTS: dict[str, AnyOptions] = {
    "nano": _variant(12, 1, 1, 1.2, 7, 0.40, detail_gain=0.05, use_norm=False, use_channel_mod=False),
    "micro": _variant(16, 1, 2, 1.5, 7, 0.45, detail_gain=0.08, use_norm=False),
    "tiny": _variant(24, 2, 2, 1.5, 9, 0.50),
    "xs": _variant(32, 2, 3, 1.8, 11, 0.50),
    "s": _variant(48, 3, 4, 2.0, 11, 0.50),
    "m": _variant(64, 4, 6, 2.0, 11, 0.50, fast_body_mode=False),
    "l": _variant(96, 6, 8, 2.0, 13, 0.55, fast_body_mode=False, use_attention=False),
    "xl": _variant(128, 8, 10, 2.0, 15, 0.60, fast_body_mode=False, use_attention=False),
    "swift_lite": SwiftOptions(num_feat=16, num_layers=1),
    "swift": SwiftOptions(num_feat=16, num_layers=3),
    "swift_plus": SwiftOptions(num_feat=16, num_layers=7),
}


def variant_options(variant: str, **overrides: Any) -> AnyOptions:
    """Return the options of a variant with some of them replaced.

    Args:
        variant: a name in `VARIANTS`.
        **overrides: fields of its options.

    Raises:
        InvalidInput: unknown variant or option, or an option out of range.
    """
    if variant not in VARIANTS:
        raise InvalidInput(f"unknown variant {variant!r}; the variants are {', '.join(VARIANTS)}.")
    usual = VARIANTS[variant]
    known = [field.name for field in fields(usual)]
    unknown = sorted(set(overrides) - set(known))
    if unknown:
        raise InvalidInput(f"{variant} has no option {', '.join(unknown)}; its options are {', '.join(known)}.")
    return replace(usual, **overrides)


def variant_of(options: AnyOptions) -> str:
    """Return the name of the variant with these features, hidden channels and kernels, or "custom" if there is none.

    The scale and the optional parts do not matter, nor does the depth of the body, except for Swift.
    """
    return next((name for name, known in VARIANTS.items() if _key(known) == _key(options)), "custom")


def _key(options: AnyOptions) -> tuple[str | int, ...]:
    if isinstance(options, SwiftOptions):
        return options.network, options.num_feat, options.num_layers
    return options.network, options.num_feat, options.hidden, options.band_kernel_size
