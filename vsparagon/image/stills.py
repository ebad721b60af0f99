"""Supported image file types, and conversion to 8-bit RGB. Imports neither Pillow nor libvips."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from PIL import Image

SUFFIXES: Final = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff")
PNG: Final = b"\x89PNG\r\n\x1a\n"
UNBOUNDED: Final = ("I", "F")  # Pillow's 32-bit modes, in which white has no defined value


def is_animated_png(path: Path) -> bool:
    """Return whether a file is a PNG with an acTL chunk, before its image data, that states more than one frame.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        if file.read(len(PNG)) != PNG:
            return False
        while len(head := file.read(8)) == 8:
            length, kind = int.from_bytes(head[:4]), head[4:]
            if kind == b"acTL":
                return int.from_bytes(file.read(4)) > 1
            if kind == b"IDAT":
                return False
            file.seek(length + 4, 1)  # past the chunk and its checksum
    return False


def to_8_bit(samples: npt.NDArray[np.uint16]) -> npt.NDArray[np.uint8]:
    """Return 16-bit samples (0..65535) rounded to 8 bits (0..255)."""
    rounded: npt.NDArray[np.uint8] = ((samples.astype(np.uint32) + 128) // 257).astype(np.uint8)
    return rounded


def as_rgb(image: Image.Image) -> npt.NDArray[np.uint8]:
    """Return a Pillow image as H,W,3 uint8 RGB, without its transparency.

    16-bit gray is converted here, because Pillow would clamp it to 255 instead of scaling it.

    Raises:
        OSError, SyntaxError: the image is damaged; the latter for a broken chunk of a PNG.
        ValueError: it is damaged, or has signed samples or samples of more than 16 bits.
    """
    if image.mode in UNBOUNDED:
        raise ValueError("its samples have 32 bits, or are signed; convert it to 8 or 16 bits first")
    if not image.mode.startswith("I;16"):
        return np.asarray(image.convert("RGB"))
    gray: npt.NDArray[Any] = to_8_bit(np.asarray(image))
    return np.repeat(gray[..., None], 3, axis=2)
