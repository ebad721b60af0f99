"""Read, enlarge and write image files, with transparency and metadata. Built on libvips."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyvips

from vsparagon.errors import InvalidInput, ParagonError, check_name, reason_of
from vsparagon.image.stills import is_animated_png, to_8_bit
from vsparagon.image.tiff_exif import add_to_tiff, read_tiff
from vsparagon.system.files import replacing
from vsparagon.system.interrupt import Interrupt

logging.getLogger("pyvips").setLevel(logging.ERROR)  # failures are raised; a warning would repeat them

EIGHT_BIT: Final = (".jpg", ".jpeg", ".webp")  # 16-bit samples are rounded to 8 bits for these
TIFF: Final = (".tif", ".tiff")
OPAQUE: Final = (".jpg", ".jpeg")
KEPT: Final = ("icc-profile-data", "exif-data", "xmp-data", "iptc-data", "orientation", "resolution-unit")

Samples = npt.NDArray[Any]  # uint8 or uint16
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class ImageFile:
    """An image and its metadata.

    Attributes:
        colour: H,W,3 (RGB) or H,W,1 (gray); uint8 or uint16, using the whole range of the type.
        alpha: H,W,1 of the same type, not premultiplied; None for an opaque image.
        header: a pyvips image that holds the metadata (colour profile, EXIF, XMP, resolution).
    """

    colour: Samples
    alpha: Samples | None
    header: Any


def read_picture(path: Path) -> ImageFile:
    """Read an image of 8 or 16 bits per sample. It is not rotated: its orientation tag is kept.

    Raises:
        InvalidInput: the file cannot be read, holds several images, or is neither RGB nor gray of 8 or 16 bits.
    """
    check_name(path)
    try:
        if is_animated_png(path):  # libvips would silently read only the first image
            raise InvalidInput(f"{path} holds an animation; split it into files of one image each.")
        image = pyvips.Image.new_from_file(str(path), access="sequential", fail_on="error")
        if image.get_typeof("n-pages") and image.get("n-pages") > 1:
            raise InvalidInput(f"{path} holds {image.get('n-pages')} images; split it into files of one each.")
        if image.format not in ("uchar", "ushort"):
            raise InvalidInput(f"{path} has samples of type {image.format}; convert it to 8 or 16 bits first.")
        colours = image.bands - int(image.hasalpha())
        if colours not in (1, 3) or image.interpretation not in ("srgb", "rgb", "rgb16", "b-w", "grey16"):
            kind = f"{image.interpretation} with {image.bands} samples per pixel"
            raise InvalidInput(f"{path} is {kind}; convert it to RGB or gray first.")
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
    """Return the image enlarged. The network takes alpha for a gray picture.

    Colours of fully transparent pixels, mostly black, would darken the visible pixels beside them. The network is given
    colours from nearby instead; where the result is fully transparent, it has the hidden colours of the original.

    Args:
        picture: the image.
        upscale: maps H,W,3 and H,W,1 to scale*H,scale*W and as many channels, of the same type.
    """
    if picture.alpha is None or picture.alpha.all():
        alpha = None if picture.alpha is None else upscale(picture.alpha)
        return replace(picture, colour=upscale(picture.colour), alpha=alpha)
    weight = np.divide(picture.alpha, np.iinfo(picture.alpha.dtype).max, dtype=np.float32)
    visible = np.rint(_filled(picture.colour.astype(np.float32), weight)).astype(picture.colour.dtype)
    colour, alpha = upscale(visible), upscale(picture.alpha)
    scale = len(alpha) // len(picture.alpha)
    hidden = picture.colour.repeat(scale, axis=0).repeat(scale, axis=1)
    return replace(picture, colour=np.where(alpha == 0, hidden, colour), alpha=alpha)


def _filled(colour: Floats, weight: Floats) -> Floats:
    """Replace colours of weight 0 by a mean of those nearby: of the smallest of 2x2, 4x4, … blocks that has any.

    Args:
        colour: H,W,C.
        weight: H,W,1, 0 or more.
    """
    if weight.all() or not weight.any():
        return colour
    weights = _block_sums(weight)
    means = np.divide(_block_sums(colour * weight), np.where(weights > 0, weights, 1), dtype=np.float32)
    height, width = weight.shape[:2]
    nearby = _filled(means, weights).repeat(2, axis=0).repeat(2, axis=1)[:height, :width]
    return np.where(weight > 0, colour, nearby)


def _block_sums(planes: Floats) -> Floats:
    """Return the sums of 2x2 blocks; what is missing at the end counts as 0."""
    even = np.pad(planes, [(0, planes.shape[0] % 2), (0, planes.shape[1] % 2), (0, 0)])
    rows = even[::2] + even[1::2]
    return rows[:, ::2] + rows[:, 1::2]


def write_picture(picture: ImageFile, path: Path, *, quality: int) -> None:
    """Write an image atomically, replacing an existing file.

    Args:
        picture: the image; 16 bits are rounded to 8 for JPEG and WebP.
        path: its suffix, one of `vsparagon.image.stills.SUFFIXES`, chooses the file type.
        quality: 1 to 100, for JPEG and WebP.

    Raises:
        InvalidInput: the image has transparency, which the file type cannot hold.
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
    """Delay Ctrl-C until the block ends: libvips calls Python to log, and would lose a KeyboardInterrupt raised there.

    Raises:
        KeyboardInterrupt: at the end of the block, if Ctrl-C was pressed.
    """
    with Interrupt() as interrupt:
        try:
            yield
        finally:
            if interrupt.asked:
                raise KeyboardInterrupt


def _system_reason(error: Any) -> str:
    """Return the first system error in a libvips error, or else the last line of its message."""
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
