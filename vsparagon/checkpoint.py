"""Checkpoints: files of weights, of this project or of the published network, as generators.

Read are safetensors files and PyTorch's own (`.pth`), told apart by their first bytes. What a generator is follows
from the shapes of its weights; only the sharpening of its base, `upsampler_alpha`, is not in them. No code that a
file may hold is ever run.
"""

from __future__ import annotations

import json
import logging
import math
import pickle
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from vsparagon.errors import InvalidInput, ModelError
from vsparagon.files import write_atomically
from vsparagon.library import find_model
from vsparagon.models.paragonsr2 import ParagonSR2
from vsparagon.models.variants import VARIANTS, Options, variant_of

log = logging.getLogger(__name__)

FORMAT_VERSION = "1"
# Where trainers put the state dict in a PyTorch file, the averaged weights before the last ones.
NESTS = ("params_ema", "params", "state_dict")
PREFIXES = ("module.", "_orig_mod.")  # of DataParallel and of torch.compile
LISTED = 6  # names in an error message


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """The contents of a file.

    Attributes:
        weights: float32 tensors by their published names.
        metadata: what a safetensors file says about itself; empty for others.
    """

    weights: dict[str, Tensor]
    metadata: dict[str, str]


def save_generator(model: ParagonSR2, path: Path, *, variant: str, note: str, licence: str = "MIT") -> None:
    """Write the weights with format version, variant, options, scale, licence and a note on the training.

    Args:
        model: a generator in any dtype and layout.
        path: safetensors file to write or replace; it appears complete or not at all.
        variant: the name that the generator was created by, or "custom".
        note: how the weights came about, for people.
        licence: of the weights.
    """
    metadata = {
        "format_version": FORMAT_VERSION,
        "network": "paragonsr2",
        "variant": variant,
        "options": json.dumps(asdict(model.options)),
        "scale": str(model.options.scale),
        "licence": licence,
        "training": note,
    }
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    write_atomically(path, safetensors.torch.save(weights, metadata))


def load_generator(model: str | Path, *, scale: int | None = None, profile: str = "clean") -> ParagonSR2:
    """Return a generator in its published form, in eval mode, float32, on the CPU.

    Args:
        model: name of a variant, for its bundled weights, or a file.
        scale: of the bundled weights, 2 when left out; a file must have this scale if it is given.
        profile: of the bundled weights.

    Raises:
        InvalidInput: no such scale or profile.
        ModelError: no bundled weights for these, or the file is missing, damaged, of another network or scale.
    """
    path = checkpoint_path(model, scale=scale or 2, profile=profile)
    generator = build_generator(read_checkpoint(path), path)
    if scale is not None and generator.options.scale != scale:
        raise ModelError(f"{path} enlarges {generator.options.scale} times, not {scale}; leave scale out or use it.")
    return generator


def checkpoint_path(model: str | Path, *, scale: int = 2, profile: str = "clean") -> Path:
    """Return the file of a variant's bundled weights, or `model` itself where that is no variant's name."""
    if isinstance(model, str) and model in VARIANTS:
        bundled = find_model(variant=model, scale=scale, profile=profile, model="").checkpoint
        assert bundled is not None
        return bundled
    return Path(model)


def read_checkpoint(path: Path) -> Checkpoint:
    """Return the weights in a file; what network they belong to is not looked at.

    Raises:
        ModelError: missing, damaged, no checkpoint at all, or with code in it.
    """
    try:
        with path.open("rb") as file:
            start = file.read(16)
    except OSError as error:
        raise ModelError(f"cannot read the model {path}: {error.strerror}.") from error
    try:
        if start[8:9] == b"{":
            metadata, state = _read_safetensors(path)
        elif start[:2] == b"PK" or start[:1] == b"\x80":
            metadata, state = {}, torch.load(path, map_location="cpu", weights_only=True)
        else:
            found = "is empty" if not start else f"starts with {start[:8]!r}"
            raise ModelError(f"{path} {found}: not a checkpoint; give a .safetensors or a PyTorch .pth file.")
    except pickle.UnpicklingError as error:
        raise ModelError(
            f"{path} holds more than weights, or is damaged; it was not loaded, and no code in it was run. "
            "Save the state dict alone, best as .safetensors."
        ) from error
    except ModelError:
        raise
    except Exception as error:  # a damaged file makes the readers fail in any way
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise ModelError(f"{path} is damaged or no checkpoint ({reason}).") from error
    return Checkpoint(weights=_tensors(state, path), metadata=metadata)


def _read_safetensors(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    with safetensors.safe_open(path, framework="pt") as file:
        return dict(file.metadata() or {}), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def _tensors(state: Any, path: Path) -> dict[str, Tensor]:
    """Unwrap a state dict, and check that it is one."""
    for _ in range(3):
        nest = next((n for n in NESTS if isinstance(state, dict) and isinstance(state.get(n), dict)), None)
        if nest is None:
            break
        log.info("%s: reading its %r", path, nest)
        state = state[nest]
    if not isinstance(state, dict) or not state:
        raise ModelError(f"{path} holds {_kind(state)}, not a state dict (names of tensors with their values).")
    wrong = [f"{name} ({_kind(value)})" for name, value in state.items() if not isinstance(value, Tensor)]
    if wrong:
        raise ModelError(f"{path} is not a state dict: it holds {_listed(wrong)}, which are not tensors.")
    for prefix in PREFIXES:
        if all(str(name).startswith(prefix) for name in state):
            state = {str(name).removeprefix(prefix): value for name, value in state.items()}
    bad = [name for name, tensor in state.items() if not tensor.is_floating_point() or not tensor.isfinite().all()]
    if bad:
        raise ModelError(f"{path} holds values that are no finite numbers in {_listed(bad)}.")
    return {str(name): tensor.detach().float().contiguous() for name, tensor in state.items()}


def build_generator(checkpoint: Checkpoint, path: Path) -> ParagonSR2:
    """Return the generator that the shapes describe, in eval mode, holding the checkpoint's own tensors.

    Nothing is allocated before the shapes are known to fit.

    Args:
        checkpoint: what `read_checkpoint` returned.
        path: where it was read from, for the messages.

    Raises:
        ModelError: weights are missing, too many or of another shape, or the options in the metadata are unusable.
    """
    options = _options(checkpoint, path)
    with torch.device("meta"):
        model = ParagonSR2(**asdict(options))
    wanted, given = model.state_dict(), checkpoint.weights
    faults = {
        "missing": [name for name in wanted if name not in given],
        "unexpected": [name for name in given if name not in wanted],
        "of another shape": [
            f"{name} ({_shape(given[name])}, not {_shape(tensor)})"
            for name, tensor in wanted.items()
            if name in given and given[name].shape != tensor.shape
        ],
    }
    if any(faults.values()):
        text = "; ".join(f"{kind}: {_listed(names)}" for kind, names in faults.items() if names)
        raise ModelError(
            f"{path} is not a ParagonSR2 generator as its shapes describe it ({variant_of(options)} x{options.scale}): "
            f"{text}."
        )
    model.load_state_dict(given, assign=True)
    return model.eval()


def _options(checkpoint: Checkpoint, path: Path) -> Options:
    """Read the options from the shapes; those that leave no trace in them from metadata or the variant."""
    read = _from_shapes(checkpoint.weights, path)
    variant = variant_of(read)
    candidates = [read]
    if variant != "custom":
        usual = VARIANTS[variant]
        candidates = [usual, replace(usual, fast_body_mode=not usual.fast_body_mode), read]
    given = _metadata_options(checkpoint.metadata, path)
    fields = Options.__dataclass_fields__.keys()
    if fields <= given.keys():
        try:
            candidates.insert(0, Options(**{name: given[name] for name in fields}))
        except (InvalidInput, TypeError, ValueError, OverflowError) as error:
            raise ModelError(f"{path} has unusable options in its metadata: {error}") from error
    key = _shape_key(read)
    switches = {
        n: getattr(read, n) for n in ("scale", "use_norm", "use_channel_mod", "use_content_aware", "use_attention")
    }
    options = next(o for c in candidates if _shape_key(o := replace(c, **switches)) == key)
    alpha = given.get("upsampler_alpha")
    if alpha is None:
        log.info("%s does not say its upsampler_alpha; taking that of %s, %g", path, variant, options.upsampler_alpha)
        return options
    if not isinstance(alpha, (int, float)) or not math.isfinite(alpha):
        raise ModelError(f"{path} has an upsampler_alpha of {alpha!r} in its metadata; it must be a number.")
    return replace(options, upsampler_alpha=float(alpha))


def _metadata_options(metadata: dict[str, str], path: Path) -> dict[str, Any]:
    version = metadata.get("format_version", FORMAT_VERSION)
    if version != FORMAT_VERSION:
        raise ModelError(
            f"{path} has format version {version}, this vsparagon reads {FORMAT_VERSION}; use a newer vsparagon."
        )
    try:
        options = json.loads(metadata.get("options", "{}"))
    except ValueError as error:
        raise ModelError(f"{path} has options in its metadata that are not JSON ({error}).") from error
    if not isinstance(options, dict):
        raise ModelError(f"{path} has options in its metadata that are {_kind(options)}, not names with values.")
    return options


def _from_shapes(weights: dict[str, Tensor], path: Path) -> Options:
    def length(name: str, axis: int) -> int:
        if name not in weights:
            raise ModelError(
                f"{path} is not a ParagonSR2 generator: {name} is missing; it holds {_listed(list(weights))}."
            )
        if weights[name].ndim != 4 or not weights[name].numel():
            raise ModelError(f"{path} is not a ParagonSR2 generator: {name} is {_shape(weights[name])}.")
        return weights[name].shape[axis]

    def parts(prefix: str) -> int:
        return len({n[len(prefix) :].partition(".")[0] for n in weights if n.startswith(prefix)})

    block = "body.0.blocks.0."
    features = length("conv_in.weight", 0)
    hidden = length(f"{block}transformer.project_in.weight", 0)
    area = length("upsampler_net.up_conv.weight", 0) / features
    expansion = next((o.ffn_expansion for o in VARIANTS.values() if (o.num_feat, o.hidden) == (features, hidden)), None)
    try:
        return Options(
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


def _shape_key(options: Options) -> tuple[int, ...]:
    """What of the options the shapes of a network fix, without its switches."""
    o = options
    return o.scale, o.num_feat, o.hidden, o.groups, o.blocks, o.band_kernel_size


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "a number"


def _kind(value: object) -> str:
    return "nothing" if value is None or value == {} else f"a {type(value).__name__}"


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(names[:LISTED]) + more
