"""Training data: pairs of low- and high-resolution crops, in batches.

Every crop depends only on the seed and its own number. So neither the number of processes that load data nor the
iteration at which a run resumes changes what is trained on.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import msgspec
import numpy as np
import torch
from msgspec import Meta
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from vsparagon.errors import InvalidInput
from vsparagon.system.interrupt import Interrupt
from vsparagon.training.degradation import Degradation, Pair, degrade
from vsparagon.training.pairs import Folders, PairFiles, folder_pairs, load_pair, read_pairs
from vsparagon.training.pictures import Picture
from vsparagon.training.resize import REACH

MOST = 2**31 - 1
Positive = Annotated[int, Meta(ge=1, le=MOST)]

CLIP_SIDE = 128  # sides of a degraded clip in low-resolution pixels, or less for small pictures
CROPS_PER_CLIP = 8  # more than one, because starting an encoder takes longer than encoding a few frames


class TrainingData(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`datasets.train` of a configuration.

    Attributes:
        dataroot_gt: folder or folders of high-resolution pictures.
        dataroot_lq: folders of their low-resolution versions, in the same order and with the same file names (without
            suffix); without them, low resolution is made during training.
        degradation: how low resolution is made without `dataroot_lq`.
        lq_size: side of a low-resolution crop in pixels.
        batch_size_per_gpu: crops per step and process. With the video degradation, choose a multiple of 8: so many
            crops are cut from one clip, which several worker processes would otherwise make more than once.
        use_hflip: whether to mirror crops at random.
        use_rot: whether to rotate crops by a random multiple of 90 degrees.
        num_worker_per_gpu: processes that prepare crops; 0 prepares them between the steps.
        memory_mb: MiB of decoded pictures to keep in memory; others are decoded again for each crop.
    """

    dataroot_gt: Folders
    dataroot_lq: Folders | None = None
    degradation: Degradation = Degradation()
    lq_size: Positive = 48
    batch_size_per_gpu: Positive = 16
    use_hflip: bool = True
    use_rot: bool = True
    num_worker_per_gpu: Annotated[int, Meta(ge=0)] = 1
    memory_mb: Annotated[int, Meta(ge=0)] = 4096


class CropPairs(Dataset[tuple[Tensor, Tensor]]):
    """A dataset whose item i is crop number i, as (low, high).

    Both are uint8 RGB: low is 3,lq_size,lq_size and high 3,scale*lq_size,scale*lq_size. Numbers have no upper limit.
    Pictures are drawn with a probability proportional to their area. Unusable ones (unreadable, smaller than a crop,
    or of a size that does not fit the other of the pair) are logged once and skipped.

    Args:
        data: where the pictures are and how crops are made from them.
        scale: how many times smaller the low resolution is.
        seed: for all random choices.

    Attributes:
        kept_bytes: size of the decoded pictures in memory.

    Raises:
        FileNotFoundError: a folder is missing, or there is no usable picture.
        InvalidInput: the numbers of low- and high-resolution folders differ.
    """

    def __init__(self, data: TrainingData, *, scale: int, seed: int) -> None:
        self._data, self._scale, self._seed = data, scale, seed
        self._files: list[PairFiles] = []
        self._kept: dict[int, Pair] = {}
        self.kept_bytes = 0
        areas = []
        for high, low in folder_pairs(data.dataroot_gt, data.dataroot_lq):
            for files, pair in read_pairs(high, low, scale=scale, smallest=_smallest(data, scale)):
                size = pair.high.nbytes + pair.low.nbytes
                if self.kept_bytes + size <= data.memory_mb << 20:
                    self._kept[len(self._files)] = pair
                    self.kept_bytes += size
                self._files.append(files)
                areas.append(pair.high.shape[0] * pair.high.shape[1])
        if not areas:
            raise FileNotFoundError(f"no usable picture in {data.dataroot_gt}; see the log for why each was left out")
        self._probability = np.array(areas) / sum(areas)
        self._last_clip: tuple[int, list[Pair]] = (-1, [])

    @property
    def pictures(self) -> int:
        """Number of pictures that crops are taken from."""
        return len(self._files)

    def __getitem__(self, number: int) -> tuple[Tensor, Tensor]:
        random = np.random.default_rng((self._seed, 0, number))
        if self._data.dataroot_lq is not None:
            pair = self._cut(self._picture(random), random)
        elif self._data.degradation.video is None:
            pair = self._reduced(random)
        else:
            clip = self._clip(number // CROPS_PER_CLIP)
            pair = self._cut(clip[random.integers(len(clip))], random)
        turns = int(random.integers(4)) if self._data.use_rot else 0
        mirrored = self._data.use_hflip and bool(random.integers(2))
        return _tensor(_turned(pair.low, turns, mirrored)), _tensor(_turned(pair.high, turns, mirrored))

    def _picture(self, random: np.random.Generator) -> Pair:
        chosen = int(random.choice(len(self._files), p=self._probability))
        if pair := self._kept.get(chosen):
            return pair
        try:
            return load_pair(*self._files[chosen], scale=self._scale, smallest=_smallest(self._data, self._scale))
        except (OSError, ValueError) as error:
            raise InvalidInput(f"{self._files[chosen][0]} cannot be used any more: {error}") from error

    def _cut(self, pair: Pair, random: np.random.Generator) -> Pair:
        side = self._data.lq_size
        y, x = (int(random.integers(pixels - side + 1)) for pixels in pair.low.shape[:2])
        return _window(pair, y, x, side, side, self._scale)

    def _reduced(self, random: np.random.Generator) -> Pair:
        """Return a crop reduced by `degradation`. To save time, only the crop and what the kernel reads is reduced."""
        high, side, scale = self._picture(random).high, self._data.lq_size, self._scale
        y, x = (int(random.integers(pixels // scale - side + 1)) for pixels in high.shape[:2])
        top, left = max(0, y - REACH), max(0, x - REACH)
        area = high[top * scale : (y + side + REACH) * scale, left * scale : (x + side + REACH) * scale]
        (pair,) = degrade(area, scale, self._data.degradation, random)
        return _window(pair, y - top, x - left, side, side, scale)

    def _clip(self, number: int) -> list[Pair]:
        """Return clip `number`. The last clip is kept, since crops of the same clip have consecutive numbers."""
        if self._last_clip[0] != number:
            self._last_clip = number, self._make_clip(number)
        return self._last_clip[1]

    def _make_clip(self, number: int) -> list[Pair]:
        random = np.random.default_rng((self._seed, 1, number))
        high, scale, video = self._picture(random).high, self._scale, self._data.degradation.video
        assert video is not None
        side = max(CLIP_SIDE, self._data.lq_size + 2) * scale + video.path
        height, width = (min(pixels, side) // scale * scale for pixels in high.shape[:2])
        y, x = int(random.integers(high.shape[0] - height + 1)), int(random.integers(high.shape[1] - width + 1))
        return degrade(high[y : y + height, x : x + width], scale, self._data.degradation, random)


class _Batches(Sampler[list[int]]):
    """Yields the crop numbers of each step from `begin` up to, but not including, `end`, for one of the processes."""

    def __init__(self, begin: int, end: int, size: int, rank: int, processes: int) -> None:
        self._steps, self._size, self._rank, self._processes = range(begin, end), size, rank, processes

    def __iter__(self) -> Iterator[list[int]]:
        for step in self._steps:
            first = (step * self._processes + self._rank) * self._size
            yield list(range(first, first + self._size))

    def __len__(self) -> int:
        return len(self._steps)


def load_batches(
    crops: CropPairs, data: TrainingData, *, begin: int, end: int, rank: int = 0, processes: int = 1
) -> DataLoader[tuple[Tensor, Tensor]]:
    """Return a loader of the batches of steps `begin` to `end` - 1, for the process `rank` of `processes`.

    A batch is (low, high): N,3,lq_size,lq_size and N,3,scale*lq_size,scale*lq_size, uint8.
    """
    batches = _Batches(begin, end, data.batch_size_per_gpu, rank, processes)
    workers = data.num_worker_per_gpu
    return DataLoader(crops, batch_sampler=batches, num_workers=workers, worker_init_fn=_outlast_interrupts)


def _outlast_interrupts(_worker: int) -> None:
    """Go on in a worker at the first Ctrl-C, SIGTERM or SIGHUP.

    They often reach the main process, too, and it needs crops to end. A second one ends the worker; Python itself sends
    one to those that are left when the main process exits.
    """
    Interrupt().__enter__()


def _smallest(data: TrainingData, scale: int) -> int:
    """Return the least side, in pixels, of a high-resolution picture that crops can be taken from."""
    video = data.degradation.video if data.dataroot_lq is None else None
    return data.lq_size * scale if video is None else video.least_side(data.lq_size, scale)


def _window(pair: Pair, y: int, x: int, height: int, width: int, scale: int) -> Pair:
    high = pair.high[y * scale : (y + height) * scale, x * scale : (x + width) * scale]
    return Pair(pair.low[y : y + height, x : x + width], high)


def _turned(picture: Picture, turns: int, mirrored: bool) -> Picture:
    picture = np.rot90(picture, turns)
    return picture[:, ::-1] if mirrored else picture


def _tensor(picture: Picture) -> Tensor:
    # Not `ascontiguousarray`, which would return a turned picture of a single pixel as it is, with negative strides.
    return torch.from_numpy(picture.transpose(2, 0, 1).copy())
