"""Picture files: what is in them besides the colours, and how it is kept. Built on libvips."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyvips

from vsparagon.errors import InvalidInput, ParagonError, check_name, reason_of
from vsparagon.files import replacing
from vsparagon.image.stills import is_animated_png, to_8_bit
from vsparagon.image.tiff_exif import add_to_tiff, read_tiff
from vsparagon.interrupt import Interrupt

logging.getLogger("pyvips").setLevel(logging.ERROR)  # what fails is raised; a warning of it would be said twice

EIGHT_BIT: Final = (".jpg", ".jpeg", ".webp")  # what these cannot hold is rounded
TIFF: Final = (".tif", ".tiff")
OPAQUE: Final = (".jpg", ".jpeg")
KEPT: Final = ("icc-profile-data", "exif-data", "xmp-data", "iptc-data", "orientation", "resolution-unit")

Samples = npt.NDArray[Any]  # uint8 or uint16


@dataclass(frozen=True, kw_only=True)
class ImageFile:
    """A picture and what belongs to it.

    Attributes:
        colour: H,W,3 of RGB, or H,W,1 of gray; uint8 or uint16.
        alpha: H,W,1 of the same type, not multiplied into the colours, or None.
        header: the image whose metadata (colour profile, EXIF, XMP, resolution) goes with it.
    """

    colour: Samples
    alpha: Samples | None
    header: Any


def read_picture(path: Path) -> ImageFile:
    """Read a picture of 8 or 16 bit.

    Raises:
        InvalidInput: the file cannot be read, or holds something else.
    """
    check_name(path)
    try:
        if is_animated_png(path):  # of which libvips reads the first picture
            raise InvalidInput(f"{path} holds an animation; split it into files of one image each.")
        image = pyvips.Image.new_from_file(str(path), access="sequential", fail_on="error")
        if image.get_typeof("n-pages") and image.get("n-pages") > 1:
            raise InvalidInput(f"{path} holds {image.get('n-pages')} images; split it into files of one each.")
        colours = image.bands - int(image.hasalpha())
        if colours not in (1, 3) or image.interpretation not in ("srgb", "rgb", "rgb16", "b-w", "grey16"):
            raise InvalidInput(f"{path} is {image.interpretation}; convert it to RGB or gray first.")
        if image.format not in ("uchar", "ushort"):
            raise InvalidInput(f"{path} has samples of type {image.format}; convert it to 8 or 16 bits first.")
        with _undisturbed():
            samples = image.numpy().reshape(image.height, image.width, image.bands)
    except (pyvips.Error, OSError) as error:
        raise InvalidInput(f"{path} cannot be read: {reason_of(error).rstrip('.')}.") from error
    if path.suffix.lower() in TIFF and (exif := read_tiff(path)):
        image = image.copy()
        image.set_type(pyvips.GValue.blob_type, "exif-data", exif)
    return ImageFile(
        colour=samples[..., :colours], alpha=samples[..., colours:] if image.hasalpha() else None, header=image
    )


def enlarge(picture: ImageFile, upscale: Callable[[Samples], Samples]) -> ImageFile:
    """Return the picture enlarged, gray and alpha by way of the same network.

    Args:
        picture: any.
        upscale: from H,W,3 to a multiple of that.
    """
    alpha = picture.alpha
    if alpha is not None:
        alpha = _enlarge_plane(alpha, upscale)
    gray = picture.colour.shape[2] == 1
    colour = _enlarge_plane(picture.colour, upscale) if gray else upscale(picture.colour)
    return ImageFile(colour=colour, alpha=alpha, header=picture.header)


def _enlarge_plane(plane: Samples, upscale: Callable[[Samples], Samples]) -> Samples:
    enlarged = upscale(np.repeat(plane, 3, axis=2))
    return np.rint(enlarged.mean(axis=2, keepdims=True)).astype(plane.dtype)


def write_picture(picture: ImageFile, path: Path, *, quality: int) -> None:
    """Write a picture, whole or not at all.

    Args:
        picture: any; 16 bit becomes 8 where the kind of file has no more.
        path: its suffix, one of `vsparagon.image.stills.SUFFIXES`, tells the kind.
        quality: 1 to 100, of JPEG and WebP.

    Raises:
        InvalidInput: the kind of file has no transparency, but the picture has.
        ParagonError: the file cannot be written.
    """
    suffix = path.suffix.lower()
    if picture.alpha is not None and suffix in OPAQUE:
        raise InvalidInput(f"{path.name} cannot hold the image's transparency; write to .png, .webp or .tif.")
    samples = picture.colour
    if picture.alpha is not None:
        samples = np.concatenate([samples, picture.alpha], axis=2)
    if samples.dtype == np.uint16 and suffix in EIGHT_BIT:
        samples = to_8_bit(samples)
    image = _with_header(pyvips.Image.new_from_array(np.ascontiguousarray(samples)), picture)
    try:
        with replacing(path) as draft:
            with _undisturbed():
                image.write_to_file(str(draft), **_options(suffix, quality))
            if suffix in TIFF and image.get_typeof("exif-data"):
                add_to_tiff(draft, bytes(image.get("exif-data")), width=image.width, height=image.height)
    except pyvips.Error as error:
        raise ParagonError(f"{path} cannot be written: {_system_reason(error)}.") from error
    except OSError as error:
        raise ParagonError(f"{path} cannot be written: {error.strerror}.") from error


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Have Ctrl-C wait for libvips, which calls Python to log, and loses what is raised there."""
    with Interrupt() as interrupt:
        try:
            yield
        finally:
            if interrupt.asked:
                raise KeyboardInterrupt


def _system_reason(error: Any) -> str:
    """Return what the system said first of what libvips could not do; its own last line if the system said nothing."""
    said = re.search(r"^system error: (.+)$", str(error), re.MULTILINE)
    return said[1] if said else reason_of(error).rstrip(".")


def _with_header(image: Any, picture: ImageFile) -> Any:
    header = picture.header
    wide = image.format == "ushort"
    gray = picture.colour.shape[2] == 1
    interpretation = ("grey16" if wide else "b-w") if gray else ("rgb16" if wide else "srgb")
    image = image.copy(interpretation=interpretation, xres=header.xres, yres=header.yres)
    for name in header.get_fields():
        if name in KEPT or name.startswith("png-comment"):
            image.set_type(header.get_typeof(name), name, header.get(name))
    return image


def _options(suffix: str, quality: int) -> dict[str, Any]:
    if suffix in (".jpg", ".jpeg"):
        return {"Q": quality, "optimize_coding": True}
    if suffix == ".webp":
        return {"Q": quality, "smart_subsample": True}
    return {"compression": "deflate", "predictor": "horizontal"} if suffix in TIFF else {}
