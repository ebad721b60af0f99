"""Which models there are: the bundled ones. No torch and no runtime is needed to read this."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from vsparagon.errors import InvalidInput, ModelError
from vsparagon.models.variants import SCALES, VARIANTS

WEIGHTS = Path(__file__).parent / "models" / "weights"
PROFILES = ("clean", "compressed")


@dataclass(frozen=True, kw_only=True)
class Model:
    """A network as the backends take it.

    Attributes:
        name: for people, for example "nano x2 clean".
        scale: enlargement of both sides.
        graph: ONNX file with one input N,3,H,W and one output N,3,scale*H,scale*W, float32 RGB of nominal range
            0..1, height and width dynamic; it is the inference form, for extended pictures only.
        checkpoint: the safetensors file that the graph was exported from.
    """

    name: str
    scale: int
    graph: Path
    checkpoint: Path

    def onnx(self) -> bytes:
        """Return the ONNX graph.

        Raises:
            ModelError: the file cannot be read.
        """
        try:
            return self.graph.read_bytes()
        except OSError as error:
            raise ModelError(f"cannot read the model {self.graph}: {error.strerror}.") from error


def bundled_models() -> list[Model]:
    """Return the models that come with the package, smallest variant first."""
    order = list(VARIANTS)
    keys = [path.stem.split("_") for path in WEIGHTS.glob("*.onnx")]
    keys.sort(key=lambda key: (order.index(key[0]), key[1], PROFILES.index(key[2])))
    return [_bundled(variant, int(scale[1:]), profile) for variant, scale, profile in keys]


def find_model(*, variant: str, scale: int, profile: str, model: str) -> Model:
    """Return the model that the arguments of `core.paragon.Upscale` ask for.

    Raises:
        InvalidInput: unknown variant, scale or profile.
        ModelError: no weights are bundled for them.
    """
    if model:
        raise InvalidInput(
            f"model={model!r}: models of one's own cannot be loaded by this version yet; leave model= out to use a "
            f"bundled one ({_names()})."
        )
    if variant not in VARIANTS:
        raise InvalidInput(f"unknown variant {variant!r}; the variants are {', '.join(VARIANTS)}.")
    if scale not in SCALES:
        raise InvalidInput(f"scale is {scale}; it must be one of {', '.join(map(str, SCALES))}.")
    if profile not in PROFILES:
        raise InvalidInput(f"unknown profile {profile!r}; the profiles are {', '.join(PROFILES)}.")
    found = _bundled(variant, scale, profile)
    if not found.graph.is_file():
        raise ModelError(
            f"no weights are bundled for {found.name} (bundled: {_names()}); "
            "choose one of these, or name a file of your own with model=."
        )
    return found


def describe() -> list[str]:
    """Return one line for each bundled model, as `core.paragon.Models()` shows them."""
    return [model.name for model in bundled_models()]


def _names() -> str:
    return ", ".join(describe()) or "none"


def _bundled(variant: str, scale: int, profile: str) -> Model:
    stem = WEIGHTS / f"{variant}_x{scale}_{profile}"
    return Model(
        name=f"{variant} x{scale} {profile}",
        scale=scale,
        graph=stem.with_suffix(".onnx"),
        checkpoint=stem.with_suffix(".safetensors"),
    )
