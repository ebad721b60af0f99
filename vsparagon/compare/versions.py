"""The ways to enlarge that are compared, and the frames made in each."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final, get_args

import numpy as np
import numpy.typing as npt
import vapoursynth as vs
from PIL import Image, ImageOps

from vsparagon.arguments import CHROMA
from vsparagon.backends.options import Precision
from vsparagon.colours.description import matrix_code, read_colour
from vsparagon.errors import InvalidInput
from vsparagon.filter import upscale
from vsparagon.frames import first_frame
from vsparagon.image.stills import as_rgb
from vsparagon.input.job import Network
from vsparagon.lookup import find_model
from vsparagon.models.bundled import bundled

Picture = npt.NDArray[np.uint8]  # H,W,3 of RGB

KERNELS: Final = {
    "point": "Point",
    "bilinear": "Bilinear",
    "bicubic": "Bicubic",
    "lanczos": "Lanczos",
    "spline16": "Spline16",
    "spline36": "Spline36",
    "spline64": "Spline64",
}


@dataclass(frozen=True, kw_only=True)
class Version:
    """One way to enlarge.

    Attributes:
        name: for people.
        clip: the whole clip enlarged this way, as RGB24.
    """

    name: str
    clip: vs.VideoNode

    def picture(self, n: int) -> Picture:
        """Return frame `n` as H,W,3 uint8 RGB.

        Raises:
            vapoursynth.Error: the frame cannot be made.
        """
        with self.clip.get_frame(n) as frame:
            return np.stack([np.asarray(frame[plane]) for plane in range(3)], axis=-1)


def versions_of(
    clip: vs.VideoNode, *, variants: Sequence[str], peers: Sequence[str], network: Network, **run: Any
) -> list[Version]:
    """Return a clip enlarged in several ways to one size: the peers, then the model file if any, then the variants.

    Args:
        clip: the source.
        variants: names of variants, with suffixes such as ":compressed", ":int8" and ":resizer" for a profile, a
            precision and a way to upscale chroma other than the network's. There must be at least one unless the
            network has a model file.
        peers: names in `KERNELS`.
        network: all other arguments of the networks.
        run: arguments of `upscale` that do not change the result.

    Raises:
        ParagonError: the clip, a variant or a peer cannot be used.
    """
    unknown = [name for name in peers if name not in KERNELS]
    if unknown:
        raise InvalidInput(f"unknown peer {unknown[0]!r}; the peers are {', '.join(KERNELS)}.")
    usual = _beside(network, clip, run.get("cache", "")) if network.model else network
    networks = [network] if network.model else []
    networks += dict.fromkeys(_chosen(usual, variant) for variant in variants)
    code = matrix_code(network.matrix)
    ours = []
    for chosen in networks:
        name = Path(chosen.model).name if chosen.model else _name(chosen, usual)
        large = upscale(clip, **asdict(chosen), **run)
        ours.append(Version(name=name, clip=_as_rgb(large, "Bicubic", code)))
    size = {"width": ours[0].clip.width, "height": ours[0].clip.height}
    return [Version(name=name, clip=_as_rgb(clip, KERNELS[name], code, **size)) for name in dict.fromkeys(peers)] + ours


def _beside(network: Network, clip: vs.VideoNode, cache: str) -> Network:
    """Return the arguments for bundled networks that are compared with a model file.

    They use the model's scale if there are bundled weights for it, else the default, and are resized to the model's
    output size.
    """
    scale = find_model(model=network.model, cache=cache).scale
    usual = replace(network, model="", scale=scale if any(scale == s for _, s, _ in bundled()) else 0)
    if network.width or network.height:
        return usual
    return replace(usual, width=clip.width * scale, height=clip.height * scale)


def _chosen(network: Network, text: str) -> Network:
    variant, *others = text.split(":")
    for other in others:
        if other in get_args(Precision):
            network = replace(network, precision=other)
        elif other in CHROMA:
            network = replace(network, chroma=other)
        else:
            network = replace(network, profile=other)
    return replace(network, variant=variant)


def _name(network: Network, usual: Network) -> str:
    """Return the variant, followed by what differs from the usual profile, precision and chroma."""
    parts = [network.variant]
    parts += [network.profile] if network.profile != usual.profile else []
    parts += [network.precision] if network.precision != usual.precision else []
    parts += [f"chroma by the {network.chroma}"] if network.chroma != usual.chroma else []
    return " ".join(parts)


def _as_rgb(clip: vs.VideoNode, kernel: str, matrix: int | None, **size: int) -> vs.VideoNode:
    arguments: dict[str, Any] = {"format": vs.RGB24, "dither_type": "error_diffusion", **size}
    if clip.format.color_family != vs.RGB:
        with first_frame(clip) as frame:
            arguments["matrix_in"] = read_colour(frame, matrix).matrix
    made: vs.VideoNode = getattr(clip.resize, kernel)(**arguments)
    return made


def read_still(path: Path) -> vs.VideoNode:
    """Return an image as a clip of one RGB24 frame, rotated upright by its EXIF and without transparency.

    Raises:
        InvalidInput: the file cannot be read as an image.
    """
    try:
        with Image.open(path) as image:
            picture = as_rgb(ImageOps.exif_transpose(image))
    except (OSError, ValueError, SyntaxError, struct.error, Image.DecompressionBombError) as error:
        raise InvalidInput(f"{path} cannot be read as an image: {error}.") from error
    height, width, _ = picture.shape
    blank = vs.core.std.BlankClip(None, width, height, vs.RGB24, 1)

    def fill(n: int, f: vs.VideoFrame) -> vs.VideoFrame:  # noqa: ARG001  (passed by name)
        frame = f.copy()
        for plane in range(3):
            np.asarray(frame[plane])[:] = picture[..., plane]
        return frame

    clip: vs.VideoNode = blank.std.ModifyFrame(blank, fill)
    return clip
