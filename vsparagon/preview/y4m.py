"""Present a clip as the bytes of a YUV4MPEG2 file, without writing one."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import closing
from typing import Final

import numpy as np
import vapoursynth as vs

from vsparagon.colours.description import FULL, frame_range
from vsparagon.frames import first_frame
from vsparagon.input.pixel_formats import PIXEL_FORMATS
from vsparagon.input.source import rate_of

MARK: Final = b"FRAME\n"
# VapourSynth's _ChromaLocation -> the name of 8-bit 4:2:0 with that chroma location.
PLACES: Final = {0: "420mpeg2", 1: "420jpeg", 2: "420paldv"}


class RawFile:
    """A clip as a file: a header, followed by frames of equal size.

    Args:
        clip: of a format in `PIXEL_FORMATS`.
        on_frame: called for each frame that is read, with the seconds spent waiting for it.

    Attributes:
        size: of the file in bytes.
    """

    def __init__(self, clip: vs.VideoNode, on_frame: Callable[[float], None]) -> None:
        self._clip = clip
        self._on_frame = on_frame
        self._header = _header(clip)
        self._frame_size = len(MARK) + _picture_size(clip)
        self.size = len(self._header) + clip.num_frames * self._frame_size

    def read(self, first: int) -> Generator[memoryview]:
        """Yield the bytes from offset `first` to the end of the file, in pieces.

        Raises:
            vapoursynth.Error: a frame cannot be made.
        """
        if first < len(self._header):
            yield memoryview(self._header)[first:]
        number, skipped = divmod(max(first - len(self._header), 0), self._frame_size)
        if number >= self._clip.num_frames:
            return
        began = time.monotonic()
        with closing(self._clip[number:].frames(close=True)) as frames:
            for frame in frames:
                self._on_frame(time.monotonic() - began)
                for data in (memoryview(MARK), *map(_bytes, frame)):
                    if skipped < len(data):
                        yield data[skipped:]
                    skipped = max(skipped - len(data), 0)
                began = time.monotonic()


def _bytes(plane: vs.VideoPlane) -> memoryview:
    return memoryview(np.ascontiguousarray(np.asarray(plane))).cast("B")


def _picture_size(clip: vs.VideoNode) -> int:
    shape = clip.format
    chroma = (clip.width >> shape.subsampling_w) * (clip.height >> shape.subsampling_h)
    return int((clip.width * clip.height + (shape.num_planes - 1) * chroma) * shape.bytes_per_sample)


def _header(clip: vs.VideoNode) -> bytes:
    name = next(name for name, number in PIXEL_FORMATS.items() if number == clip.format.id)
    with first_frame(clip) as frame:
        props = dict(frame.props)
    kind = name.removeprefix("yuv").removesuffix("p")
    if kind == "420":
        kind = PLACES.get(props.get("_ChromaLocation", 0), "420mpeg2")
    rate = rate_of(clip)
    across, down = props.get("_SARNum", 0), props.get("_SARDen", 0)
    shape = f"{across}:{down}" if across > 0 and down > 0 else "1:1"
    said = f"YUV4MPEG2 W{clip.width} H{clip.height} F{rate.numerator}:{rate.denominator} Ip A{shape} C{kind}"
    values = "FULL" if frame_range(props, vs.YUV) == FULL else "LIMITED"
    return f"{said} XYSCSS={kind.upper()} XCOLORRANGE={values}\n".encode()
