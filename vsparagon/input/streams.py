"""Read which streams a video file has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
from av.stream import Disposition

from vsparagon.errors import InvalidInput


@dataclass(frozen=True, kw_only=True)
class Overview:
    """What a preview needs to know about a file.

    Attributes:
        track: number of the video stream.
        start: file timestamp that players show as 0:00, in seconds.
        kinds: the kinds of streams in the file, such as "audio".
    """

    track: int
    start: Fraction
    kinds: frozenset[str]


@dataclass(frozen=True, kw_only=True)
class Stream:
    """A stream as the file describes it.

    Attributes:
        index: its number, as ffmpeg counts.
        kind: "video", "audio", "subtitle", "attachment" or "data".
        codec: ffmpeg's name, or "" if unknown.
        metadata: its tags.
        disposition: its flags.
    """

    index: int
    kind: str
    codec: str
    metadata: Mapping[str, str]
    disposition: Disposition

    @property
    def is_picture(self) -> bool:
        """Whether it is a cover picture rather than a video."""
        return bool(self.disposition & Disposition.attached_pic)


def read_overview(path: Path) -> Overview:
    """Return what a preview needs to know about a file.

    Raises:
        InvalidInput: the file cannot be read or has no video.
    """
    with opened_container(path) as container:
        streams = [describe_stream(stream) for stream in container.streams]
        start = start_of(container)
    kinds = frozenset(stream.kind for stream in streams)
    return Overview(track=first_video(path, streams).index, start=start, kinds=kinds)


@contextmanager
def opened_container(path: Path) -> Iterator[av.container.InputContainer]:
    """Open a container for as long as the context is open.

    Raises:
        InvalidInput: the file cannot be read, when it is opened or in the block.
    """
    try:
        with av.open(str(path)) as container:
            yield container
    except (OSError, av.FFmpegError) as error:
        raise InvalidInput(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}.") from error


def start_of(container: av.container.InputContainer) -> Fraction:
    """Return the file timestamp that players show as 0:00, in seconds; 0 if the file states none."""
    return Fraction(container.start_time or 0, 1_000_000)


def first_video(path: Path, streams: Sequence[Stream]) -> Stream:
    """Return the stream to upscale: the first video that is not a cover picture.

    Raises:
        InvalidInput: there is none, or no decoder for it.
    """
    video = next((s for s in streams if s.kind == "video" and not s.is_picture), None)
    if video is None:
        raise InvalidInput(f"{path} has no video.")
    if not video.codec:
        raise InvalidInput(f"{path}: the codec of the video is unknown.")
    return video


def describe_stream(stream: av.stream.Stream) -> Stream:
    """Return the description of a stream; unlike PyAV's object, it remains valid when the file is closed."""
    context = stream.codec_context
    return Stream(
        index=stream.index,
        kind=stream.type,
        codec=context.name if context is not None else "",
        metadata=dict(stream.metadata),
        disposition=stream.disposition,
    )
