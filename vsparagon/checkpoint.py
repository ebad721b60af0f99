"""Checkpoints: safetensors files that hold the weights of a generator and say what it is."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import save_file

from vsparagon.models.paragonsr2 import ParagonSR2

FORMAT_VERSION = "1"


def save_generator(model: ParagonSR2, path: Path, *, variant: str, note: str, licence: str = "MIT") -> None:
    """Write the weights with format version, variant, options, licence and a note on the training."""
    metadata = {
        "format_version": FORMAT_VERSION,
        "network": "paragonsr2",
        "variant": variant,
        "options": json.dumps(asdict(model.options)),
        "licence": licence,
        "training": note,
    }
    temporary = path.with_name(path.name + ".part")
    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, temporary, metadata)
    temporary.replace(path)


def load_generator(path: Path) -> ParagonSR2:
    """Return the generator of a file written by `save_generator`, in eval mode."""
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata() or {}
        weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    model = ParagonSR2(**json.loads(metadata["options"]))
    model.load_state_dict(weights)
    return model.eval()
