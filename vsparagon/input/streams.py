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
class Track:
    """The video stream of a file.

    Attributes:
        number: of the stream, as ffmpeg counts.
        start: file timestamp that players show as 0:00, in seconds.
        aspect: sample aspect ratio of the stored picture, before any rotation; 0 if it is unknown. The container's
            overrides the codec's, as in players.
    """

    number: int = 0
    start: Fraction = Fraction(0)
    aspect: Fraction = Fraction(0)


@dataclass(frozen=True, kw_only=True)
class Overview:
    """What a preview needs to know about a file.

    Attributes:
        track: the video stream.
        kinds: the kinds of streams in the file, such as "audio".
    """

    track: Track
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
        track = track_of(container, first_video(path, streams).index)
    return Overview(track=track, kinds=frozenset(stream.kind for stream in streams))


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


def track_of(container: av.container.InputContainer, number: int) -> Track:
    """Return what there is to know about a video stream before its frames are read."""
    aspect = container.streams[number].sample_aspect_ratio  # type: ignore[attr-defined]  # it is a video stream
    return Track(
        number=number,
        start=Fraction(container.start_time or 0, 1_000_000),
        aspect=Fraction(aspect.numerator, aspect.denominator) if aspect else Fraction(0),
    )


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
