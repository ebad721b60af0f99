"""Training pairs: crops of high-resolution pictures and of their reductions."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vsparagon.training.pictures import Picture, crop_to_multiple, load_picture, picture_files, reduce

log = logging.getLogger(__name__)

@dataclass(frozen=True)
class Pair:
    """A picture and its reduction, both H,W,3 uint8."""

    low: Picture
    high: Picture


class PairedCrops:
    """An endless, seeded stream of batches of aligned crops, flipped and turned at random.

    Args:
        folder: pictures; unreadable ones, and ones smaller than a crop, are named once in the log and left out.
        scale: reduction.
        crop: side of the low-resolution crop in pixels.
        batch: crops in a batch.
        seed: of the generator; the same seed gives the same batches.

    Raises:
        FileNotFoundError: no usable picture in the folder.
    """

    def __init__(self, folder: Path, *, scale: int, crop: int, batch: int, seed: int) -> None:
        self.scale, self.crop, self.batch = scale, crop, batch
        self.random = np.random.default_rng(seed)
        self.pairs = list(self._load(folder))
        if not self.pairs:
            raise FileNotFoundError(f"no picture in {folder} has {crop * scale} pixels on both sides")
        areas = np.array([pair.low.shape[0] * pair.low.shape[1] for pair in self.pairs], dtype=np.float64)
        self.probability = areas / areas.sum()

    def _load(self, folder: Path) -> Iterator[Pair]:
        for path in picture_files(folder):
            try:
                high = crop_to_multiple(load_picture(path), self.scale)
            except (OSError, ValueError) as error:
                log.warning("left out %s: %s", path, error)
                continue
            if min(high.shape[:2]) < self.crop * self.scale:
                log.warning("left out %s: smaller than a crop of %d pixels", path, self.crop * self.scale)
                continue
            yield Pair(reduce(high, self.scale), high)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield (low, high): N,3,crop,crop and N,3,scale*crop,scale*crop float32 in 0..1."""
        while True:
            chosen = self.random.choice(len(self.pairs), self.batch, p=self.probability)
            crops = [self._crop(self.pairs[i]) for i in chosen]
            yield _tensor([low for low, _ in crops]), _tensor([high for _, high in crops])

    def _crop(self, pair: Pair) -> tuple[Picture, Picture]:
        height, width = pair.low.shape[:2]
        y = int(self.random.integers(height - self.crop + 1))
        x = int(self.random.integers(width - self.crop + 1))
        low = pair.low[y : y + self.crop, x : x + self.crop]
        s = self.scale
        high = pair.high[y * s : (y + self.crop) * s, x * s : (x + self.crop) * s]
        turns, flip = int(self.random.integers(4)), bool(self.random.integers(2))
        return _turned(low, turns, flip), _turned(high, turns, flip)


def _turned(picture: Picture, turns: int, flip: bool) -> Picture:
    picture = np.rot90(picture, turns)
    return picture[:, ::-1] if flip else picture


def _tensor(pictures: list[Picture]) -> Tensor:
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float().div_(255)
