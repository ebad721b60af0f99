"""Read pairs of pictures from files: high resolution, and low resolution if it was made beforehand."""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
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
    highs = picture_files(high)
    named = Counter(path.stem for path in highs)
    lows: dict[str, list[Path]] = defaultdict(list)
    for path in [] if low is None else picture_files(low):
        lows[path.stem].append(path)
    for number, path in enumerate(highs):
        try:
            files = path, None if low is None else _partner(path, lows[path.stem], alone=named[path.stem] == 1)
            pair = load_pair(*files, scale=scale, smallest=smallest)
            yield files, degraded(number, pair) if degraded else pair
        except (OSError, ValueError) as error:
            log.warning("left out %s: %s", path, error)


def load_pair(high: Path, low: Path | None, *, scale: int, smallest: int) -> Pair:
    """Read a pair. High resolution is cropped to multiples of `scale`; without a file, low resolution has no rows.

    Raises:
        OSError: a file cannot be read or is not an image.
        ValueError: an image is damaged, smaller than `smallest`, or of a size that does not fit the other.
    """
    picture = load_picture(high)
    height, width = (pixels // scale for pixels in picture.shape[:2])
    if min(height, width) * scale < smallest:
        size = f"{picture.shape[1]}x{picture.shape[0]}"
        raise ValueError(f"{size} is smaller than the {smallest} pixels that are needed")
    picture = crop_to_multiple(picture, scale)
    if low is None:
        return Pair(picture[:0], picture)
    reduced = load_picture(low)
    if reduced.shape[:2] != (height, width):
        size = f"{reduced.shape[1]}x{reduced.shape[0]}"
        raise ValueError(f"its low-resolution picture is {size} instead of {width}x{height}")
    return Pair(reduced, picture)


def _partner(path: Path, lows: Sequence[Path], *, alone: bool) -> Path:
    """Return the low-resolution file of a picture: the one with the same suffix, or else the only one.

    Args:
        path: of the picture.
        lows: low-resolution files of its name, but for the suffix.
        alone: whether it is the only high-resolution picture of that name.

    Raises:
        ValueError: there is none, or it is not clear which one it is.
    """
    if not lows:
        raise ValueError("no low-resolution picture has this name")
    if same := [low for low in lows if low.name == path.name]:
        return same[0]
    if len(lows) > 1 or not alone:
        raise ValueError(f"several pictures are called {path.stem}; give each pair a name of its own")
    return lows[0]
