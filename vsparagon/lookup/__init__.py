"""Find the model that the filter's arguments select: a bundled one, or one in a file.

model_file.py        what the filter has to know of a model file
receptive_field.py   how far the network in an ONNX file looks, from its graph
"""

from __future__ import annotations

from vsparagon.cache import usable_cache_folder
from vsparagon.errors import InvalidInput
from vsparagon.lookup.model_file import open_model_file
from vsparagon.models.bundled import bundled_model
from vsparagon.models.model import Model
from vsparagon.system.files import expanded


def find_model(*, variant: str = "", scale: int = 0, profile: str = "", model: str = "", cache: str = "") -> Model:
    """Return the model that the arguments of `core.paragon.Upscale` select; "" and 0 mean "not given".

    Args:
        variant, scale, profile: of a bundled model; the defaults are nano, 2 and clean.
        model: path of a model file to use instead, which may begin with "~"; it determines its own scale.
        cache: cache folder for the graph of a checkpoint; "" for the user's.

    Raises:
        InvalidInput: unknown variant, scale or profile; a variant or profile together with a model file; a scale that
            the file does not have; or a cache folder that cannot be written to.
        ModelError: no weights are bundled for this combination, or the file is not a usable model.
        BackendUnavailable: OpenVINO is missing, or torch, which reading a checkpoint for the first time needs.
    """
    if not model:
        return bundled_model(variant, scale, profile)
    for name, value in (("variant", variant), ("profile", profile)):
        if value:
            raise InvalidInput(
                f"{name} is {value!r}, which chooses a bundled network, and model is {model!r}; give one of them."
            )
    found = open_model_file(expanded(model), usable_cache_folder(cache))
    if scale not in (0, found.scale):
        raise InvalidInput(
            f"scale is {scale}, but {found.name} enlarges {found.scale} times; leave scale= out, and use width= "
            "and height= for another size."
        )
    return found
