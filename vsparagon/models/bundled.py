"""The networks bundled with the package. Imports neither torch nor a runtime."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import product
from pathlib import Path

from vsparagon.errors import InvalidInput, ModelError
from vsparagon.models.model import Model, own_model
from vsparagon.models.variants import SCALES, VARIANTS

WEIGHTS = Path(__file__).parent / "weights"
# Suffixes of a network's files: its weights, its graph, and its graph after quantisation-aware training for int8.
CHECKPOINT, GRAPH, QUANTISED = ".safetensors", ".onnx", ".int8.onnx"
PROFILES = ("clean", "compressed")
DEFAULT_VARIANT, DEFAULT_SCALE, DEFAULT_PROFILE = "nano", 2, "clean"


def bundled(*, quantised: bool = False) -> list[tuple[str, int, str]]:
    """Return variant, scale and profile of every bundled network, smallest variant first.

    Args:
        quantised: list only those that also have weights trained for int8.
    """
    suffix = QUANTISED if quantised else CHECKPOINT
    return [key for key in product(VARIANTS, SCALES, PROFILES) if _file(*key, suffix).is_file()]


def bundled_models() -> list[Model]:
    """Return all bundled networks, in the order of `bundled`."""
    return [_model(*key) for key in bundled()]


def bundled_model(variant: str, scale: int, profile: str) -> Model:
    """Return one bundled network; "" and 0 stand for the defaults: nano, 2 and clean.

    Raises:
        InvalidInput: unknown variant, scale or profile.
        ModelError: no weights are bundled for this combination.
    """
    variant, scale, profile = variant or DEFAULT_VARIANT, scale or DEFAULT_SCALE, profile or DEFAULT_PROFILE
    if variant not in VARIANTS:
        raise InvalidInput(f"unknown variant {variant!r}; the variants are {', '.join(VARIANTS)}.")
    if scale not in (scales := sorted({scale for _, scale, _ in bundled()}) or SCALES):
        raise InvalidInput(f"scale is {scale}; it must be one of {', '.join(map(str, scales))}.")
    if profile not in PROFILES:
        raise InvalidInput(f"unknown profile {profile!r}; the profiles are {', '.join(PROFILES)}.")
    if (variant, scale, profile) not in bundled():
        raise ModelError(
            f"no weights are bundled for {variant} x{scale} {profile} (bundled: {_near(variant, scale)}); "
            "choose one of these, or give a file of your own as model=."
        )
    return _model(variant, scale, profile)


def checkpoint_path(model: str | Path, *, scale: int = 0, profile: str = "") -> Path:
    """Return the file of a variant's bundled weights, or `model` as a path if it is not the name of a variant.

    Args:
        model: name of a variant, or a file.
        scale: of the bundled weights; 0 for 2. Not looked at for a file.
        profile: of the bundled weights; "" for clean.

    Raises:
        InvalidInput: neither a variant nor a file, unknown scale or profile, or a profile given together with a file.
        ModelError: no weights are bundled for this combination.
    """
    if isinstance(model, str) and model in VARIANTS:
        checkpoint = bundled_model(model, scale, profile).checkpoint
        assert checkpoint is not None
        return checkpoint
    if profile:
        raise InvalidInput(
            f"profile is {profile!r}, which chooses a bundled network, but {model} is a file; leave profile= out."
        )
    if not (path := Path(model)).is_file():
        raise InvalidInput(f"{model} is neither a variant ({', '.join(VARIANTS)}) nor a file.")
    return path


def describe() -> list[str]:
    """Return one line per bundled model, for example "nano x2 clean", as `core.paragon.Models()` lists them."""
    return [_name(*key) for key in bundled()]


def _near(variant: str, scale: int) -> str:
    """Return the names of all bundled weights of this variant or, if there are none, of this scale."""
    own = [key for key in bundled() if key[0] == variant]
    return ", ".join(_name(*key) for key in own or [key for key in bundled() if key[1] == scale]) or "none"


def _name(variant: str, scale: int, profile: str) -> str:
    return f"{variant} x{scale} {profile}"


def _file(variant: str, scale: int, profile: str, suffix: str) -> Path:
    return WEIGHTS / f"{variant}_x{scale}_{profile}{suffix}"


def _model(variant: str, scale: int, profile: str) -> Model:
    checkpoint, graph, quantised = (_file(variant, scale, profile, suffix) for suffix in (CHECKPOINT, GRAPH, QUANTISED))
    found = own_model(_name(variant, scale, profile), graph, _notes(checkpoint), checkpoint=checkpoint)
    return replace(found, quantised=quantised) if quantised.is_file() else found


def _notes(checkpoint: Path) -> dict[str, str]:
    """Return the metadata of a safetensors file, read without the library: 8 bytes of length, then a JSON header."""
    with checkpoint.open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    notes: dict[str, str] = header["__metadata__"]
    return notes
