"""Read pairs of pictures from files: high resolution, and low resolution if it was made beforehand."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from vsparagon.errors import InvalidInput
from vsparagon.system.files import expanded
from vsparagon.training.degradation import Pair
from vsparagon.training.pictures import crop_to_multiple, load_picture, picture_files

log = logging.getLogger(__name__)

Folders = str | Annotated[tuple[str, ...], Meta(min_length=1)]
PairFiles = tuple[Path, Path | None]


def folders(given: Folders) -> list[Path]:
    """Return a configuration's folder or folders, which may begin with "~", as a list."""
    return [expanded(folder) for folder in ([given] if isinstance(given, str) else given)]


def folder_pairs(high: Folders, low: Folders | None) -> list[PairFiles]:
    """Return each folder of high resolution with its folder of low resolution, or with None if `low` is None.

    Raises:
        InvalidInput: the numbers of folders differ.
    """
    highs = folders(high)
    lows: Sequence[Path | None] = [None] * len(highs) if low is None else folders(low)
    if len(lows) != len(highs):
        raise InvalidInput(
            f"dataroot_lq has {len(lows)} folders and dataroot_gt {len(highs)}; give the same number of both."
        )
    return list(zip(highs, lows, strict=True))


def read_pairs(
    high: Path, low: Path | None, *, scale: int, smallest: int, degraded: Callable[[int, Pair], Pair] | None = None
) -> Iterator[tuple[PairFiles, Pair]]:
    """Yield the usable pictures of a folder, with their files; the others are logged and skipped.

    Args:
        high: folder of high-resolution pictures.
        low: folder of their low-resolution versions, with the same names (suffixes may differ); None for none.
        scale: how many times smaller the low resolution is.
        smallest: least side of a high-resolution picture in pixels.
        degraded: maps the number of a picture in the folder and its pair to the pair to yield; None to keep pairs. A
            ValueError that it raises also skips the picture.

    Raises:
        FileNotFoundError: a folder is missing or holds no pictures.
    """
    named = {} if low is None else {path.stem: path for path in picture_files(low)}
    for number, path in enumerate(picture_files(high)):
        try:
            if low is not None and path.stem not in named:
                raise ValueError(f"no picture of this name in {low}")
            files = path, named.get(path.stem)
            pair = load_pair(*files, scale)
            _check(pair, smallest, scale)
            yield files, degraded(number, pair) if degraded else pair
        except (OSError, ValueError) as error:
            log.warning("left out %s: %s", path, error)


def load_pair(high: Path, low: Path | None, scale: int) -> Pair:
    """Read a pair. High resolution is cropped to multiples of `scale`; without a file, low resolution has no rows.

    Raises:
        OSError, ValueError: a file is not an image, or is damaged.
    """
    picture = crop_to_multiple(load_picture(high), scale)
    return Pair(load_picture(low) if low else picture[:0], picture)


def _check(pair: Pair, smallest: int, scale: int) -> None:
    height, width = (pixels // scale for pixels in pair.high.shape[:2])
    if min(pair.high.shape[:2]) < smallest:
        raise ValueError(f"{width * scale}x{height * scale} is smaller than the {smallest} pixels that are needed")
    if pair.low.size and pair.low.shape[:2] != (height, width):
        raise ValueError(
            f"its low-resolution picture is {pair.low.shape[1]}x{pair.low.shape[0]} instead of {width}x{height}"
        )
