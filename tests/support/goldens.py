"""Golden vectors: weights, inputs and outputs of the published networks (float32, CPU).

`golden/NAME.weights.safetensors` holds a state dict, with variant, scale and options as metadata.
`golden/NAME.io.safetensors` holds `input.I` and `output.I`. VSPARAGON_GOLDEN names a folder with more vectors in the
same form, for example large ones that are not kept in this repository.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

import pytest
from places import GOLDEN

torch = pytest.importorskip("torch", reason="the networks are torch modules")
pytest.importorskip("safetensors", reason="the golden vectors are safetensors files")

from safetensors import safe_open  # noqa: E402
from safetensors.torch import load_file  # noqa: E402

from vsparagon.models.generators import create_generator  # noqa: E402
from vsparagon.models.paragonsr2 import ParagonSR2  # noqa: E402

# In float32, another order of summation makes a difference of about 5e-6. A larger one means another computation.
GOLDEN_TOLERANCE = 2e-5


@dataclass(frozen=True)
class Golden:
    """A published network with input pictures and its outputs for them."""

    name: str
    path: Path
    metadata: dict[str, str]
    weights: dict[str, torch.Tensor]
    pictures: list[tuple[torch.Tensor, torch.Tensor]]

    def generator(self) -> ParagonSR2:
        """Build the generator and load the weights, in eval mode."""
        options = json.loads(self.metadata["options"])
        model = create_generator(self.metadata["variant"], scale=int(self.metadata["scale"]), **options)
        model.load_state_dict(self.weights)
        return model.eval()


def golden_paths() -> dict[str, Path]:
    """Return the weights file of every golden, by name."""
    folders = [GOLDEN]
    if os.environ.get("VSPARAGON_GOLDEN"):
        folders.append(Path(os.environ["VSPARAGON_GOLDEN"]))
    suffix = ".weights.safetensors"
    return {path.name.removesuffix(suffix): path for folder in folders for path in sorted(folder.glob(f"*{suffix}"))}


def generator_names() -> list[str]:
    """Return the names of the goldens of generators."""
    return [name for name in golden_paths() if not name.startswith("munet")]


def golden(name: str) -> Golden:
    """Read one golden."""
    path = golden_paths()[name]
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata() or {}
    io = load_file(path.with_name(f"{name}.io.safetensors"))
    pictures = [(io[f"input.{i}"], io[f"output.{i}"]) for i in range(len(io) // 2)]
    return Golden(name, path, metadata, load_file(path), pictures)
