"""Read checkpoints (files of weights, of this project or of the published networks) as generators, and write them.

Safetensors and PyTorch files (`.pth`) can be read; the first bytes decide which it is, not the suffix. Code that a file
may contain is never run.
"""

from __future__ import annotations

import json
import logging
import math
import pickle
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from vsparagon.errors import ModelError, first_line_of, reason_of
from vsparagon.models.bundled import checkpoint_path
from vsparagon.models.generators import Generator, new_generator
from vsparagon.models.model import RANGES
from vsparagon.models.recognise import FORMAT_VERSION, kind_of, listed, recognised, shape_of
from vsparagon.models.swift import Ranges, Swift
from vsparagon.models.variants import variant_of
from vsparagon.system.files import write_atomically

log = logging.getLogger(__name__)

# Keys under which trainers store the state dict in a PyTorch file; averaged weights (EMA) are preferred.
NESTS = ("params_ema", "params", "state_dict")
PREFIXES = ("module.", "_orig_mod.")  # that DataParallel and torch.compile put before names


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """The contents of a checkpoint file.

    Attributes:
        weights: finite float32 tensors on the CPU, by their published names.
        metadata: of a safetensors file; empty for a PyTorch file.
    """

    weights: dict[str, Tensor]
    metadata: dict[str, str]


def save_generator(model: Generator, path: Path, *, variant: str, note: str, licence: str | None = None) -> None:
    """Write a generator's weights as safetensors, with metadata.

    The metadata are format version, network, variant, options, scale, training note, licence and, for a Swift network
    trained for int8, its ranges.

    Args:
        model: a generator in any dtype and memory format, on any device.
        path: safetensors file to write or replace; it appears complete or not at all.
        variant: the name that the generator was created by, or "custom".
        note: how the weights were trained, for people.
        licence: of the weights; None to leave it out.

    Raises:
        OSError: the file cannot be written.
    """
    metadata = {
        "format_version": FORMAT_VERSION,
        "network": model.options.network,
        "variant": variant,
        "options": json.dumps(asdict(model.options)),
        "scale": str(model.options.scale),
        "training": note,
    }
    if licence:
        metadata["licence"] = licence
    if isinstance(model, Swift) and model.ranges:
        metadata[RANGES] = json.dumps(model.ranges)
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    write_atomically(path, safetensors.torch.save(weights, metadata))


def load_generator(model: str | Path, *, scale: int = 0, profile: str = "") -> Generator:
    """Return a generator in its published form, in eval mode, float32, on the CPU.

    Args:
        model: name of a variant, for its bundled weights, or a file.
        scale: of the bundled weights; 0 for 2. If it is given with a file, the file must have this scale.
        profile: of the bundled weights; "" for clean.

    Raises:
        InvalidInput: `model` is neither a variant nor a file, unknown scale or profile, or a profile given together
            with a file.
        ModelError: no weights are bundled for this combination, or the file is damaged, or of another network or scale.
    """
    path = checkpoint_path(model, scale=scale, profile=profile)
    return build_generator(read_checkpoint(path), path, scale=scale)


def read_checkpoint(path: Path) -> Checkpoint:
    """Return the weights in a file, whatever network they belong to.

    Raises:
        ModelError: the file is missing, damaged or not a checkpoint, contains code, or holds weights that are not
            finite floating-point tensors.
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
            raise _unreadable(path, f"it starts with {_shown(start[:8])}" if start else "it is empty")
    except pickle.UnpicklingError as error:
        raise ModelError(
            f"{path} holds more than weights, or is damaged; it was not loaded, and no code in it was run. "
            "Save only the state dict, preferably as .safetensors."
        ) from error
    except ModelError:
        raise
    except Exception as error:  # a damaged file can make the readers raise anything
        raise _unreadable(path, first_line_of(error)) from error
    return Checkpoint(weights=_tensors(state, path), metadata=metadata)


def _unreadable(path: Path, why: str) -> ModelError:
    return ModelError(f"{path} is damaged or not a checkpoint ({why}); give a .safetensors or a PyTorch .pth file.")


def _shown(data: bytes) -> str:
    """Return bytes as they are readable in a message: printable ASCII as text, others in hexadecimal."""
    if data.isascii() and (text := data.decode("ascii")).isprintable():
        return f'"{text}"'
    return f"the bytes {data.hex(' ')}"


def _read_safetensors(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    # Cloned, because memory-mapped tensors would change with the file, and Windows does not replace a mapped file.
    with safetensors.safe_open(path, framework="pt") as file:
        return dict(file.metadata() or {}), {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118


def _tensors(state: Any, path: Path) -> dict[str, Tensor]:
    """Unwrap a state dict and check that it holds nothing but finite floating-point tensors."""
    for _ in range(3):
        nest = next((n for n in NESTS if isinstance(state, dict) and isinstance(state.get(n), dict)), None)
        if nest is None:
            break
        log.info("%s: reading its %r", path, nest)
        state = state[nest]
    if not isinstance(state, dict) or not state:
        raise ModelError(f"{path} holds {kind_of(state)}, not a state dict (names of tensors with their values).")
    wrong = [f"{name} ({kind_of(value)})" for name, value in state.items() if not isinstance(value, Tensor)]
    if wrong:
        raise ModelError(f"{path} is not a state dict: it holds {listed(wrong)}, which are not tensors.")
    for prefix in PREFIXES:
        if all(str(name).startswith(prefix) for name in state):
            state = {str(name).removeprefix(prefix): value for name, value in state.items()}
    whole = [str(name) for name, tensor in state.items() if not tensor.is_floating_point()]
    if whole:
        raise ModelError(f"{path} holds {listed(whole)} as integers; the weights of these networks are floating point.")
    bad = [str(name) for name, tensor in state.items() if not tensor.isfinite().all()]
    if bad:
        raise ModelError(f"{path} holds infinite or NaN values in {listed(bad)}.")
    return {str(name): tensor.detach().float().contiguous() for name, tensor in state.items()}


def build_generator(checkpoint: Checkpoint, path: Path, *, scale: int = 0) -> Generator:
    """Return the generator that the weights' shapes describe, in eval mode; it shares the checkpoint's tensors.

    Nothing is allocated before the shapes are known to fit.

    Args:
        checkpoint: what `read_checkpoint` returned.
        path: where it was read from, for error messages.
        scale: that the generator must have; 0 for any.

    Raises:
        ModelError: weights are missing, unexpected or of another shape, the options or ranges in the metadata are
            unusable, or the scale differs from `scale`.
    """
    options = recognised(checkpoint.weights, checkpoint.metadata, path)
    if scale not in (0, options.scale):
        raise ModelError(
            f"{path} enlarges {options.scale} times, not {scale}; leave scale= out, or set it to {options.scale}."
        )
    with torch.device("meta"):
        model = new_generator(options)
    wanted, given = model.state_dict(), checkpoint.weights
    faults = {
        "missing": [name for name in wanted if name not in given],
        "unexpected": [name for name in given if name not in wanted],
        "of another shape": [
            f"{name} ({shape_of(given[name])}, not {shape_of(tensor)})"
            for name, tensor in wanted.items()
            if name in given and given[name].shape != tensor.shape
        ],
    }
    if any(faults.values()):
        text = "; ".join(f"{kind}: {listed(names)}" for kind, names in faults.items() if names)
        raise ModelError(
            f"{path} is not the {options.network} generator that its shapes describe ({variant_of(options)} "
            f"x{options.scale}): {text}."
        )
    model.load_state_dict(given, assign=True)
    if isinstance(model, Swift) and RANGES in checkpoint.metadata:
        model.ranges = _ranges(checkpoint.metadata[RANGES], model.options.num_layers + 1, path)
    return model.eval()


def _ranges(text: str, count: int, path: Path) -> Ranges:
    try:
        ranges = tuple((float(low), float(high)) for low, high in json.loads(text))
    except (TypeError, ValueError) as error:
        raise ModelError(f"{path} has unusable ranges in its metadata: {reason_of(error)}") from error
    if len(ranges) != count or not all(-math.inf < low <= 0 < high < math.inf for low, high in ranges):
        raise ModelError(f"{path} has ranges in its metadata that are not {count} pairs around 0: {text}")
    return ranges
