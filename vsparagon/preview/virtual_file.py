"""Present a clip as the bytes of a Matroska file, without writing one."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import closing
from typing import Final

import numpy as np
import vapoursynth as vs

from vsparagon.preview.matroska import Video, cluster_size, header, start_of_cluster

RGB_PLANES: Final = (1, 2, 0)  # green, blue, red


class VirtualFile:
    """A clip as a file: a header, followed by one cluster of equal size for each frame.

    Args:
        clip: the clip.
        video: its description.
        on_frame: called for each frame that is read, with the seconds spent waiting for it.

    Attributes:
        size: of the file in bytes.
    """

    def __init__(self, clip: vs.VideoNode, video: Video, on_frame: Callable[[float], None]) -> None:
        self._clip = clip
        self._video = video
        self._on_frame = on_frame
        self._header = header(video)
        self._cluster_size = cluster_size(video)
        self.size = len(self._header) + clip.num_frames * self._cluster_size

    def read(self, first: int) -> Generator[memoryview]:
        """Yield the bytes from offset `first` to the end of the file, in pieces.

        Raises:
            vapoursynth.Error: a frame cannot be made.
        """
        if first < len(self._header):
            yield memoryview(self._header)[first:]
        number, skipped = divmod(max(first - len(self._header), 0), self._cluster_size)
        if number >= self._clip.num_frames:
            return
        order = RGB_PLANES if self._clip.format.color_family == vs.RGB else range(self._clip.format.num_planes)
        began = time.monotonic()
        with closing(self._clip[number:].frames(close=True)) as frames:
            for n, frame in enumerate(frames, start=number):
                self._on_frame(time.monotonic() - began)
                start = memoryview(start_of_cluster(self._video, n))
                for data in (start, *(_bytes(frame[plane]) for plane in order)):
                    if skipped < len(data):
                        yield data[skipped:]
                    skipped = max(skipped - len(data), 0)
                began = time.monotonic()


def _bytes(plane: vs.VideoPlane) -> memoryview:
    return memoryview(np.ascontiguousarray(np.asarray(plane))).cast("B")
