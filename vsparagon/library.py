"""Which model the arguments of the filter mean: a bundled one, or that in a file."""

from __future__ import annotations

import os
from pathlib import Path

from vsparagon.bundled import bundled_model
from vsparagon.cache import usable_cache_folder
from vsparagon.errors import InvalidInput
from vsparagon.model_file import open_model_file
from vsparagon.models.model import Model


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
    if not model:
        return bundled_model(variant, scale, profile)
    for name, value in (("variant", variant), ("profile", profile)):
        if value:
            raise InvalidInput(
                f"{name} is {value!r}, which chooses a bundled network, and model is {model!r}; give one of them."
            )
    found = open_model_file(Path(os.path.expanduser(model)), usable_cache_folder(cache))  # noqa: PTH111 (never raises)
    if scale not in (0, found.scale):
        raise InvalidInput(
            f"scale is {scale}, but {found.name} enlarges {found.scale} times; leave scale= out, and use width= "
            "and height= for another size."
        )
    return found
