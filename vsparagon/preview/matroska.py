"""The bytes of a Matroska file with uncompressed video, before its frames exist.

The file has one track and, after its header, one cluster for each frame. All clusters have the same size, so the header
can list where each frame begins, and a program can read any frame without those before it. Matroska muxers such as
PyAV's cannot write such a file, since they take finished frames, one after the other. So this writer is ours; it knows
only what is needed here. The names are those of RFC 8794 (EBML: elements of identifier, size and content) and RFC 9559
(Matroska).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

import numpy as np

MICROSECOND: Final = 1000  # nanoseconds; all timestamps in the file are in microseconds
SECOND: Final = 1_000_000_000  # nanoseconds
TRACK: Final = 1  # number of the only track
VIDEO: Final = 1  # a type of track
PROGRESSIVE: Final = 2  # a kind of frames
ASPECT_RATIO: Final = 3  # a unit of a display size
KEYFRAME: Final = 0x80  # a flag of a block


@dataclass(frozen=True, kw_only=True)
class Video:
    """What the file says about its video.

    Attributes:
        title: of the file.
        fourcc: four bytes that name the pixel format.
        width, height: in pixels.
        aspect: width of the picture as it is shown to its height.
        colour: content of the element Colour.
        times: when the frames are shown, in microseconds from the first, rising.
        duration: of the whole video, in microseconds.
        rate: frames per second; None if it varies.
        frame_size: in bytes, of each frame.
    """

    title: str
    fourcc: bytes
    width: int
    height: int
    aspect: Fraction
    colour: bytes
    times: Sequence[int]
    duration: int
    rate: Fraction | None
    frame_size: int


def element(identifier: int, content: bytes | str | float) -> bytes:
    """Return an element.

    Args:
        identifier: as it is stored, with its length marker.
        content: bytes, a text or a number. Integers take eight bytes, so that the size does not depend on their value.
    """
    if isinstance(content, str):
        content = content.encode()
    elif isinstance(content, int):
        content = content.to_bytes(8)
    elif isinstance(content, float):
        content = struct.pack(">d", content)
    return start_of(identifier, len(content)) + content


def start_of(identifier: int, size: int) -> bytes:
    """Return what is before the content of an element, given the content's size in bytes."""
    length = -(-(size + 1).bit_length() // 7)  # seven bits a byte; all of them set would mean an unknown size
    return identifier.to_bytes(-(-identifier.bit_length() // 8)) + (size | 1 << 7 * length).to_bytes(length)


def header(video: Video) -> bytes:
    """Return everything before the first cluster."""
    described = _info(video) + _tracks(video)
    described += _cues(video, len(described))
    kind = element(0x4282, "matroska") + element(0x4287, 4) + element(0x4285, 2)  # DocType and its versions
    size = len(described) + len(video.times) * cluster_size(video)
    return element(0x1A45DFA3, kind) + start_of(0x18538067, size) + described  # EBML, Segment


def cluster_size(video: Video) -> int:
    """Return the size of each cluster in bytes."""
    return len(start_of_cluster(video, 0)) + video.frame_size


def start_of_cluster(video: Video, n: int) -> bytes:
    """Return the cluster of frame n up to the frame's own bytes."""
    timestamp = element(0xE7, video.times[n])
    block = struct.pack(">BhB", 0x80 | TRACK, 0, KEYFRAME)  # no time after the cluster's timestamp
    block = start_of(0xA3, len(block) + video.frame_size) + block  # SimpleBlock
    return start_of(0x1F43B675, len(timestamp) + len(block) + video.frame_size) + timestamp + block


def _info(video: Video) -> bytes:
    return element(
        0x1549A966,
        element(0x2AD7B1, MICROSECOND)  # TimestampScale
        + element(0x4489, float(video.duration))
        + element(0x7BA9, video.title)
        + element(0x4D80, "vsparagon")  # MuxingApp
        + element(0x5741, "vsparagon"),  # WritingApp
    )


def _tracks(video: Video) -> bytes:
    shape = (
        element(0x9A, PROGRESSIVE)  # FlagInterlaced
        + element(0xB0, video.width)
        + element(0xBA, video.height)
        + element(0x54B0, video.aspect.numerator)  # DisplayWidth
        + element(0x54BA, video.aspect.denominator)  # DisplayHeight
        + element(0x54B2, ASPECT_RATIO)  # DisplayUnit
        + element(0x2EB524, video.fourcc)
        + element(0x55B0, video.colour)
    )
    track = (
        element(0xD7, TRACK)
        + element(0x73C5, TRACK)  # TrackUID
        + element(0x83, VIDEO)
        + element(0x9C, 0)  # FlagLacing
        + element(0x22B59C, "und")  # Language; without it, English
        + element(0x86, "V_UNCOMPRESSED")
        + element(0xE0, shape)
    )
    if video.rate:
        track += element(0x23E383, round(SECOND / video.rate))  # DefaultDuration
    return element(0x1654AE6B, element(0xAE, track))


def _cues(video: Video, before: int) -> bytes:
    """Return the index of all frames, which is followed by the first cluster.

    Args:
        video: the video.
        before: size of what is before the index in the segment, in bytes.
    """
    place = element(0xF7, TRACK) + element(0xF1, 0)  # CueTrack, CueClusterPosition
    point = element(0xBB, element(0xB3, 0) + element(0xB7, place))  # CuePoint, CueTime, CueTrackPositions
    count, size = len(video.times), len(point)
    start = start_of(0x1C53BB6B, count * size)
    first = before + len(start) + count * size
    points = np.tile(np.frombuffer(point, np.uint8), (count, 1))
    points[:, 4:12] = _in_eight_bytes(np.array(video.times))  # after two identifiers and sizes of one byte each
    points[:, -8:] = _in_eight_bytes(first + cluster_size(video) * np.arange(count))
    return start + points.tobytes()


def _in_eight_bytes(numbers: np.ndarray) -> np.ndarray:
    return numbers.astype(">u8").view(np.uint8).reshape(-1, 8)
