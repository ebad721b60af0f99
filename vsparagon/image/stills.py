"""Still pictures: which kinds of files there are, and 8 bit of what they hold. Imports neither Pillow nor libvips."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from PIL import Image

SUFFIXES: Final = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff")
PNG: Final = b"\x89PNG\r\n\x1a\n"
UNBOUNDED: Final = ("I", "F")  # Pillow's modes of 32 bit, in which nothing says what white is


def is_animated_png(path: Path) -> bool:
    """Return whether a file is a PNG whose chunk acTL, before its picture, announces more than one.

    Raises:
        OSError: it cannot be read.
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
    """Return samples of 16 bit rounded to 8."""
    rounded: npt.NDArray[np.uint8] = ((samples.astype(np.uint32) + 128) // 257).astype(np.uint8)
    return rounded


def as_rgb(image: Image.Image) -> npt.NDArray[np.uint8]:
    """Return a picture of Pillow's as H,W,3 uint8 RGB, without its transparency.

    Pillow's own conversion does not scale gray of 16 bit: all above 255 becomes white.

    Raises:
        OSError, ValueError: damaged, or of samples of more than 16 bit.
    """
    if image.mode in UNBOUNDED:
        raise ValueError("its samples have 32 bits, or are signed; convert it to 8 or 16 bits first")
    if not image.mode.startswith("I;16"):
        return np.asarray(image.convert("RGB"))
    gray: npt.NDArray[Any] = to_8_bit(np.asarray(image))
    return np.repeat(gray[..., None], 3, axis=2)
