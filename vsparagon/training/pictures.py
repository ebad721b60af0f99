"""Pictures from files. Needs Pillow, not torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from vsparagon.image.stills import as_rgb

Picture = npt.NDArray[np.uint8]
SUFFIXES = {".png", ".webp", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"}


def load_picture(path: Path) -> Picture:
    """Read a picture as H,W,3 uint8 RGB.

    Raises:
        OSError, ValueError: not a picture, or a damaged one.
    """
    with Image.open(path) as image:
        return as_rgb(image)


def to_picture(values: npt.NDArray[np.floating]) -> Picture:
    """Return values of 0..255 rounded and clamped to uint8."""
    picture: Picture = np.rint(values).clip(0, 255).astype(np.uint8)
    return picture


def picture_files(folder: Path) -> list[Path]:
    """Return the pictures in a folder, sorted by name.

    Raises:
        FileNotFoundError: there is none.
    """
    files = sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES) if folder.is_dir() else []
    if not files:
        raise FileNotFoundError(f"no pictures in {folder}; expected files ending in {', '.join(sorted(SUFFIXES))}")
    return files


def crop_to_multiple(picture: Picture, scale: int) -> Picture:
    """Cut the right and bottom so that both sides divide by `scale`."""
    height, width = (side - side % scale for side in picture.shape[:2])
    return picture[:height, :width]
