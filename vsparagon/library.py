"""Which models there are, and which one the arguments of the filter mean. Neither torch nor a runtime is imported."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from vsparagon.cache import cache_folder
from vsparagon.errors import InvalidInput, ModelError, reason_of
from vsparagon.extend import WHOLE_WINDOWS, Sizes
from vsparagon.models.memory import bytes_per_pixel
from vsparagon.models.variants import NETWORKS, SCALES, VARIANTS, Options

WEIGHTS = Path(__file__).parent / "models" / "weights"
PROFILES = ("clean", "compressed")
DEFAULT_VARIANT, DEFAULT_SCALE, DEFAULT_PROFILE = "nano", 2, "clean"


@dataclass(frozen=True, kw_only=True)
class Model:
    """A network as the backends take it.

    Attributes:
        name: for people, for example "nano x2 clean".
        scale: enlargement of both sides.
        graph: ONNX file with one input N,channels,H,W and one output N,channels,scale*H,scale*W, float32 or float16,
            of nominal range 0..1, whose weights may lie beside it; a generator's is its inference form, for extended
            pictures only.
        checkpoint: the weights that the graph was exported from, None for an ONNX file of somebody else.
        channels: 3 for RGB, 1 for a network that takes one plane at a time.
        sizes: which heights and widths the graph takes.
        shift: enlarged pixels that are missing at the top and left of its output, as the inference form's are.
        reach: how far in source pixels a result pixel looks at most; None where it looks at the whole picture, or where
            that is not known.
        parameters: trained numbers; None where that is not known.
        is_half: whether its graph takes and returns float16.
        bytes_per_pixel: about what its layers take for each source pixel; None where that is not known.
    """

    name: str
    scale: int
    graph: Path
    checkpoint: Path | None
    channels: int = 3
    sizes: Sizes
    shift: int
    reach: int | None = None
    parameters: int | None = None
    bytes_per_pixel: int | None = None
    is_half: bool = False


def bundled_models() -> list[Model]:
    """Return the models that come with the package, smallest variant first."""
    every = product(VARIANTS, SCALES, PROFILES)
    return [_bundled(*key) for key in every if _checkpoint(*key).is_file()]


def find_model(*, variant: str = "", scale: int = 0, profile: str = "", model: str = "", cache: str = "") -> Model:
    """Return the model that the arguments of `core.paragon.Upscale` ask for; "" and 0 mean: not given.

    Args:
        variant, scale, profile: of a bundled model; nano, 2 and clean where they are not given.
        model: path of a model file instead; it brings its own scale.
        cache: folder for what is made of a model file; "" for the user's cache folder.

    Raises:
        InvalidInput: unknown variant, scale or profile, or one beside a model file that it does not fit.
        ModelError: no weights are bundled for them, or the file is no model that can be used.
        BackendUnavailable: reading a checkpoint for the first time needs torch.
    """
    if model:
        from vsparagon.model_file import open_model_file

        for name, value in (("variant", variant), ("profile", profile)):
            if value:
                raise InvalidInput(
                    f"{name} is {value!r}, which chooses a bundled network, and model is {model!r}; give one of them."
                )
        found = open_model_file(Path(os.path.expanduser(model)), cache_folder(cache))  # noqa: PTH111 (never raises)
        if scale not in (0, found.scale):
            raise InvalidInput(
                f"scale is {scale}, but {found.name} enlarges {found.scale} times; leave scale= out, and use width= "
                "and height= for another size."
            )
        return found
    variant, scale, profile = variant or DEFAULT_VARIANT, scale or DEFAULT_SCALE, profile or DEFAULT_PROFILE
    if variant not in VARIANTS:
        raise InvalidInput(f"unknown variant {variant!r}; the variants are {', '.join(VARIANTS)}.")
    if scale not in SCALES:
        raise InvalidInput(f"scale is {scale}; it must be one of {', '.join(map(str, SCALES))}.")
    if profile not in PROFILES:
        raise InvalidInput(f"unknown profile {profile!r}; the profiles are {', '.join(PROFILES)}.")
    if not _checkpoint(variant, scale, profile).is_file():
        raise ModelError(
            f"no weights are bundled for {variant} x{scale} {profile} (bundled: {_names()}); "
            "choose one of these, or name a file of your own with model=."
        )
    return _bundled(variant, scale, profile)


def describe() -> list[str]:
    """Return one line for each bundled model, as `core.paragon.Models()` shows them."""
    return [model.name for model in bundled_models()]


def _names() -> str:
    return ", ".join(describe()) or "none"


def _checkpoint(variant: str, scale: int, profile: str) -> Path:
    return WEIGHTS / f"{variant}_x{scale}_{profile}.safetensors"


def _bundled(variant: str, scale: int, profile: str) -> Model:
    checkpoint = _checkpoint(variant, scale, profile)
    graph = checkpoint.with_suffix(".onnx")
    return own_model(f"{variant} x{scale} {profile}", graph, _notes(checkpoint), checkpoint=checkpoint)


def own_model(name: str, graph: Path, notes: dict[str, str], *, checkpoint: Path | None) -> Model:
    """Return a generator of this project from its inference form and what a file of it says about it.

    Args:
        name, graph, checkpoint: as in `Model`.
        notes: the kind of network under "network", its options as JSON under "options".

    Raises:
        ModelError: no network can be what the notes say.
    """
    try:
        options = NETWORKS[notes["network"]](**json.loads(notes["options"]))
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ModelError(
            f"{graph.name} says of itself what no network of vsparagon can be: {reason_of(error)}"
        ) from error
    return Model(
        name=name,
        scale=options.scale,
        graph=graph,
        checkpoint=checkpoint,
        sizes=WHOLE_WINDOWS if isinstance(options, Options) else Sizes(),
        shift=options.inference_shift,
        reach=options.reach if options.is_local else None,
        parameters=options.parameters,
        bytes_per_pixel=bytes_per_pixel(options),
    )


def _notes(checkpoint: Path) -> dict[str, str]:
    """Return what a safetensors file says about itself, read without the library: a length, then JSON."""
    with checkpoint.open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    notes: dict[str, str] = header["__metadata__"]
    return notes
