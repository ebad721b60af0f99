"""Recognise the network that a state dict belongs to from the shapes of its weights.

Of ParagonSR2's options, the shapes determine all that matter but one: `upsampler_alpha`, the sharpening of its base.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from vsparagon.errors import InvalidInput, ModelError
from vsparagon.models.variants import VARIANTS, AnyOptions, ParagonSR2Options, SwiftOptions, variant_of

log = logging.getLogger(__name__)

FORMAT_VERSION = "1"
LISTED = 6  # most names that an error message lists
SWITCHES = ("scale", "use_norm", "use_channel_mod", "use_content_aware", "use_attention")


def recognised(weights: dict[str, Tensor], metadata: dict[str, str], path: Path) -> AnyOptions:
    """Return the options of the generator that the weights belong to.

    Args:
        weights: by name; all of them finite and of a floating dtype.
        metadata: of the file: "format_version", and "options" as JSON; either may be missing.
        path: of the file, for error messages.

    Raises:
        ModelError: the weights belong to no generator of this project, or the metadata are unusable.
    """
    given = _metadata_options(metadata, path)
    if "up_conv.weight" in weights:
        return _swift(weights, path)
    return _paragon(weights, given, path)


def _metadata_options(metadata: dict[str, str], path: Path) -> dict[str, Any]:
    version = metadata.get("format_version", FORMAT_VERSION)
    if version != FORMAT_VERSION:
        raise ModelError(
            f"{path} has format version {version}, but this vsparagon reads only {FORMAT_VERSION}; use a newer one."
        )
    try:
        options = json.loads(metadata.get("options", "{}"))
    except ValueError as error:
        raise ModelError(f"{path} has options in its metadata that are not JSON ({error}).") from error
    if not isinstance(options, dict):
        raise ModelError(f"{path} has options in its metadata that are {kind_of(options)}, not names with values.")
    return options


def _swift(weights: dict[str, Tensor], path: Path) -> SwiftOptions:
    shapes = _Shapes(weights, "Swift", path)
    convolutions = sum(name.startswith("body.") and tensor.ndim == 4 for name, tensor in weights.items())
    try:
        return SwiftOptions(
            scale=math.isqrt(shapes.length("up_conv.weight", 0) // 3),
            num_feat=shapes.length("body.0.weight", 0),
            num_layers=convolutions - 1,
        )
    except InvalidInput as error:
        raise ModelError(f"{path} is not a Swift generator that this version knows: {error}") from error


def _paragon(weights: dict[str, Tensor], given: Mapping[str, Any], path: Path) -> ParagonSR2Options:
    """Return the options read from the shapes and, where these do not determine them, from metadata or the variant."""
    read = _from_shapes(weights, path)
    variant = variant_of(read)
    candidates = [read]
    if variant != "custom":
        usual = VARIANTS[variant]
        assert isinstance(usual, ParagonSR2Options)
        candidates = [usual, replace(usual, fast_body_mode=not usual.fast_body_mode), read]
    names = {field.name for field in fields(ParagonSR2Options)}
    if names <= given.keys():
        try:
            candidates.insert(0, ParagonSR2Options(**{name: given[name] for name in names}))
        except (InvalidInput, TypeError, ValueError, OverflowError) as error:
            raise ModelError(f"{path} has unusable options in its metadata: {error}") from error
    key = _shape_key(read)
    switches = {name: getattr(read, name) for name in SWITCHES}
    options = next(o for c in candidates if _shape_key(o := replace(c, **switches)) == key)
    alpha = given.get("upsampler_alpha")
    if alpha is None:
        log.info("%s does not contain upsampler_alpha; using that of %s, %g", path, variant, options.upsampler_alpha)
        return options
    if not isinstance(alpha, (int, float)) or not math.isfinite(alpha):
        raise ModelError(f"{path} has an upsampler_alpha of {alpha!r} in its metadata; it must be a number.")
    return replace(options, upsampler_alpha=float(alpha))


def _from_shapes(weights: dict[str, Tensor], path: Path) -> ParagonSR2Options:
    length = _Shapes(weights, "ParagonSR2 or Swift", path).length

    def parts(prefix: str) -> int:
        return len({n[len(prefix) :].partition(".")[0] for n in weights if n.startswith(prefix)})

    block = "body.0.blocks.0."
    features = length("conv_in.weight", 0)
    hidden = length(f"{block}transformer.project_in.weight", 0)
    area = length("upsampler_net.up_conv.weight", 0) / features
    known = [o for o in VARIANTS.values() if isinstance(o, ParagonSR2Options)]
    expansion = next((o.ffn_expansion for o in known if (o.num_feat, o.hidden) == (features, hidden)), None)
    try:
        return ParagonSR2Options(
            scale=round(area**0.5),
            num_feat=features,
            num_groups=parts("body."),
            num_blocks=parts("body.0.blocks."),
            ffn_expansion=expansion or (hidden + 0.5) / features,  # int() of features times this is hidden
            band_kernel_size=length(f"{block}context.dwconv_w.weight", 3),
            use_norm=f"{block}norm.scale" in weights,
            use_channel_mod=f"{block}transformer.channel_mod.net.1.weight" in weights,
            use_content_aware="content_processor.content_analyzer.0.weight" in weights,
            use_attention=f"{block}transformer.attention.gamma" in weights,
        )
    except InvalidInput as error:
        raise ModelError(f"{path} is not a ParagonSR2 generator that this version knows: {error}") from error


def _shape_key(options: ParagonSR2Options) -> tuple[int, ...]:
    """Return the options that the shapes of a network determine, without `SWITCHES`."""
    o = options
    return o.scale, o.num_feat, o.hidden, o.groups, o.blocks, o.band_kernel_size


class _Shapes:
    """Looks up the shapes of weights by name; a missing or unusable weight is a ModelError."""

    def __init__(self, weights: dict[str, Tensor], kind: str, path: Path) -> None:
        self._weights, self._is_no = weights, f"{path} is not a {kind} generator"

    def length(self, name: str, axis: int) -> int:
        """Return the length of an axis of a convolution's weight.

        Raises:
            ModelError: the weight is missing, empty or not four-dimensional.
        """
        if name not in self._weights:
            raise ModelError(
                f"{self._is_no}: {name} is missing; it holds {listed(list(self._weights))}. For networks of "
                "other designs, give an ONNX file."
            )
        weight = self._weights[name]
        if weight.ndim != 4 or not weight.numel():
            raise ModelError(f"{self._is_no}: {name} is {shape_of(weight)}.")
        return weight.shape[axis]


def shape_of(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "a number"


def kind_of(value: object) -> str:
    return "nothing" if value is None or value == {} else f"a {type(value).__name__}"


def listed(names: list[str]) -> str:
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(names[:LISTED]) + more
