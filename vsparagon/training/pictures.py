"""Read images from files. Needs Pillow, but not torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from vsparagon.image.stills import as_rgb

Picture = npt.NDArray[np.uint8]
SUFFIXES = {".png", ".webp", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"}


def load_picture(path: Path) -> Picture:
    """Read an image as H,W,3 uint8 RGB, without transparency.

    Raises:
        OSError, ValueError: the file is not an image, is damaged, has samples of more than 16 bits, or so many pixels
            that Pillow refuses it.
    """
    try:
        with Image.open(path) as image:
            return as_rgb(image)
    except Image.DecompressionBombError as error:
        raise ValueError(f"{str(error).rstrip('.')}; cut it into smaller pictures") from error
    except SyntaxError as error:  # raised by Pillow for a broken chunk of a PNG
        raise ValueError(f"it is damaged: {error}") from error


def to_picture(values: npt.NDArray[np.floating]) -> Picture:
    """Return values on a scale of 0..255, rounded and clamped to uint8."""
    picture: Picture = np.rint(values).clip(0, 255).astype(np.uint8)
    return picture


def picture_files(folder: Path) -> list[Path]:
    """Return the image files in a folder, sorted by name, without those in subfolders.

    Raises:
        FileNotFoundError: the folder is missing or holds none.
    """
    files = sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES) if folder.is_dir() else []
    if not files:
        raise FileNotFoundError(f"no pictures in {folder}; expected files ending in {', '.join(sorted(SUFFIXES))}")
    return files


def crop_to_multiple(picture: Picture, scale: int) -> Picture:
    """Return a picture cropped at the right and bottom so that both sides are multiples of `scale`."""
    height, width = (side - side % scale for side in picture.shape[:2])
    return picture[:height, :width]
