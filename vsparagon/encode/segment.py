"""Cut a clip into segments and encode each into a file of its own."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import av
import numpy as np
import vapoursynth as vs

from vsparagon.encode.commands import RawVideo
from vsparagon.encode.parts import Segment
from vsparagon.encode.process import FedProcess
from vsparagon.errors import DecodingFailure, EncodeFailure, reason_of
from vsparagon.wording import counted

DECODER: Final = "VideoSource: "  # how the errors of BestSource begin
LABELS: Final = ("_Matrix", "_Range", "_Primaries", "_Transfer", "_SARNum", "_SARDen")
ADVICE: Final = " This may be due to an FFmpeg bug. Retry with threads=1 if not already set."


@dataclass(frozen=True, kw_only=True)
class Span:
    """The frames of segment `number`: from `first` up to, but not including, `last`."""

    number: int
    first: int
    last: int


def all_spans(frames: int, segment_frames: int) -> list[Span]:
    """Return the segments of a clip in order.

    Args:
        frames: length of the clip.
        segment_frames: length of each segment; the last may be shorter.
    """
    starts = range(0, frames, segment_frames)
    return [Span(number=n, first=s, last=min(s + segment_frames, frames)) for n, s in enumerate(starts)]


def stretches(spans: Iterable[Span]) -> Iterator[list[Span]]:
    """Group spans, given in order, into runs of consecutive numbers."""
    for _, group in itertools.groupby(enumerate(spans), key=lambda pair: pair[1].number - pair[0]):
        yield [span for _, span in group]


def render(clip: vs.VideoNode, first: int, last: int) -> Generator[vs.VideoFrame]:
    """Yield the frames from `first` up to, but not including, `last` in order, rendering several at once.

    Each frame is closed when the next is asked for.

    Raises:
        EncodeFailure: a frame cannot be made.
        DecodingFailure: the reason is that it cannot be decoded.
    """
    frames = clip[first:last].frames(close=True)
    number = first
    try:
        for frame in frames:
            yield frame
            number += 1
    except vs.Error as error:
        reason = reason_of(error).replace(ADVICE, "")
        failure = DecodingFailure if reason.startswith(DECODER) else EncodeFailure
        raise failure(f"frame {number} cannot be made: {reason}") from error
    finally:
        frames.close()


def encode_segment(
    frames: Iterator[vs.VideoFrame],
    span: Span,
    video: RawVideo,
    command: list[str],
    out: Path,
    on_frame: Callable[[], None],
) -> Segment:
    """Encode the next frames of an iterator into a segment.

    Args:
        frames: begins with the first frame of the span; as many as the span has are taken from it.
        span: the segment to make.
        video: how all frames are labelled.
        command: an ffmpeg command that reads raw frames and writes `out`.
        out: file that the command writes.
        on_frame: called after each frame.

    Returns:
        The description of the finished segment.

    Raises:
        EncodeFailure: a frame cannot be made, ffmpeg failed, or the file does not hold all frames.
    """
    durations: list[tuple[int, int]] = []
    times: list[float] = []
    unlike = 0
    with FedProcess(command) as encoder:
        for frame in itertools.islice(frames, span.last - span.first):
            for plane in range(frame.format.num_planes):
                encoder.write(np.ascontiguousarray(np.asarray(frame[plane])).data)
            durations.append(_duration(frame))
            if (time := frame.props.get("_AbsoluteTime")) is not None:
                times.append(float(time))
            unlike += _is_unlike(frame, video)
            on_frame()
        encoder.finish()
        said = encoder.said()
    wanted, found = span.last - span.first, count_packets(out)
    if found != wanted:
        why = f" (ffmpeg: {said[0]})" if said else ""
        raise EncodeFailure(
            f"segment {span.number} has {counted(found, 'frame')} instead of {wanted}{why}; run the command again."
        )
    runs = tuple((*value, len(list(group))) for value, group in itertools.groupby(durations))
    return Segment(frames=wanted, bytes=out.stat().st_size, durations=runs, times=tuple(times), unlike=unlike)


def _duration(frame: vs.VideoFrame) -> tuple[int, int]:
    """Return numerator and denominator of a frame's duration in seconds; 0 and 1 if the frame has none."""
    numerator, denominator = frame.props.get("_DurationNum"), frame.props.get("_DurationDen")
    if isinstance(numerator, int) and isinstance(denominator, int) and numerator > 0 and denominator > 0:
        return int(numerator), int(denominator)
    return 0, 1


def _is_unlike(frame: vs.VideoFrame, video: RawVideo) -> bool:
    """Return whether a frame says something else about its colours or pixels than the film's labels."""
    shared = (name for name in LABELS if name in frame.props and name in video.props)
    return any(frame.props[name] != video.props[name] for name in shared)


def count_packets(path: Path) -> int:
    """Return the number of frames in a file's first video stream, without decoding them.

    Raises:
        EncodeFailure: the file cannot be read or has no video.
    """
    try:
        with av.open(str(path)) as container:
            return sum(1 for packet in container.demux(video=0) if packet.size)
    except (OSError, av.FFmpegError, IndexError) as error:
        raise EncodeFailure(f"{path} is damaged; run the command again.") from error
