"""The input's other streams and metadata, and which of them the output can hold."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Final

import av
from av.sidedata.sidedata import Type
from av.stream import Disposition

from vsparagon.errors import InvalidInput
from vsparagon.input.streams import Stream, Track, describe_stream, first_video, opened_container, track_of

MUXERS: Final = {".mkv": "matroska", ".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".webm": "webm"}
TEXT: Final = {"subrip", "srt", "ass", "ssa", "webvtt", "text", "mov_text"}
# The one text subtitle codec of a container; all others are converted to it.
OWN_TEXT: Final = {"mp4": "mov_text", "mov": "mov_text", "webm": "webvtt"}
LOSSLESS: Final = "flac"  # for audio that Matroska cannot hold as it is
COVERS: Final = {"png": (".png", "image/png"), "mjpeg": (".jpg", "image/jpeg")}  # codec -> suffix, MIME type
# Tags (mostly by mkvmerge and ffmpeg) that describe the old video stream and are wrong for the new one.
STALE: Final = (
    "ALPHA_MODE", "BPS", "DURATION", "ENCODER", "NUMBER_OF_BYTES", "NUMBER_OF_FRAMES", "SOURCE_ID", "_STATISTICS",
)  # fmt: skip
LOOKED_AT: Final = 3  # pictures that are looked at for captions
EDITING: Final = {"mp4", "mov"}  # muxers that can hide the beginning of a stream, by an edit list
PRIMING: Final = Fraction(1, 5)  # seconds
TS_DISCONT: Final = 0x200  # ffmpeg's AVFMT_TS_DISCONT: formats whose timestamps may jump


@dataclass(frozen=True, kw_only=True)
class Carried:
    """A stream that the output keeps.

    Attributes:
        index: its number in the input.
        kind: "audio", "subtitle", "video" (a cover picture) or "attachment".
        was: its codec in the input.
        codec: the codec it is converted to, or "copy".
    """

    index: int
    kind: str
    was: str
    codec: str = "copy"

    @property
    def is_rewritten_text(self) -> bool:
        """Whether it is subtitles that are converted."""
        return self.kind == "subtitle" and self.codec != "copy"


@dataclass(frozen=True, kw_only=True)
class Cover:
    """A cover picture. In Matroska it is an attachment that players recognise by its name.

    Attributes:
        name: from the input's metadata; it may be invalid as a file name on this system.
        mimetype: such as "image/png".
        data: content of the picture file.
    """

    name: str
    mimetype: str
    data: bytes


@dataclass(frozen=True, kw_only=True)
class Contents:
    """What a file holds apart from its frames.

    Attributes:
        path: of the file.
        track: the video stream.
        width, height: of the video as stored, in pixels.
        begin: file timestamp of the first frame, in seconds.
        seconds: duration that the file states for its video, or else for the whole; 0 if it states none.
        carried: the other streams that the output keeps.
        left_out: what it does not keep, a few words each.
        metadata: of the video stream, without the tags that are true only of the old stream.
        disposition: of the video stream, in ffmpeg's notation; "0" for none.
        covers: to attach; empty unless the output is Matroska, since elsewhere covers are streams.
        jumps: whether timestamps in this container may jump, as in recorded broadcasts.
        trimmed: whether audio is stored that the container hides, before 0:00, and the output would show.
    """

    path: Path
    track: Track
    width: int
    height: int
    begin: Fraction
    seconds: float = 0
    carried: tuple[Carried, ...] = ()
    left_out: tuple[str, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    disposition: str = "0"
    covers: tuple[Cover, ...] = ()
    jumps: bool = False
    trimmed: bool = False


def muxer_for(output: Path) -> str:
    """Return ffmpeg's name for the container that the output's suffix stands for.

    Raises:
        InvalidInput: the suffix is not in `MUXERS`.
    """
    muxer = MUXERS.get(output.suffix.lower())
    if muxer is None:
        raise InvalidInput(f"the output is called {output.name}; it must end in one of {', '.join(MUXERS)}.")
    return muxer


def read_contents(path: Path, muxer: str) -> Contents:
    """Return what a file holds, and which of it an output of another kind can hold.

    Args:
        path: of the file.
        muxer: a value in `MUXERS`: ffmpeg's name for the output container.

    Raises:
        InvalidInput: the file cannot be read, has no video, or has audio that the output cannot hold.
    """
    with opened_container(path) as container:
        streams = [describe_stream(stream) for stream in container.streams]
        chapters = bool(container.chapters())
        covers = dict(_read_covers(container, streams)) if muxer == "matroska" else {}
        video = first_video(path, streams)
        track = track_of(container, video.index)
        pictures = next(stream for stream in container.streams.video if stream.index == video.index)
        height, width, seconds = pictures.height, pictures.width, _seconds(container, pictures)
        begin = Fraction(pictures.start_time or 0) * (pictures.time_base or 1)
        jumps = bool(container.format.flags & TS_DISCONT)
        captions = _has_captions(container, pictures)
        trimmed = muxer not in EDITING and _begins_early(container)
    carried, left_out = [], []
    if "1" in (video.metadata.get("alpha_mode"), video.metadata.get("ALPHA_MODE")):
        left_out.append("transparency")  # VP8 and VP9 keep it in a side channel that BestSource does not read
    if captions:
        left_out.append("the closed captions inside the video stream")
    able = _codecs_of(muxer)
    titles = int(chapters)  # MP4 stores chapter titles in a data stream; they are kept as chapters
    for stream in streams:
        if stream is video or stream.index in covers:
            continue
        codec = _fate(stream, muxer, able)
        if codec:
            carried.append(Carried(index=stream.index, kind=stream.kind, was=stream.codec, codec=codec))
        elif stream.kind == "audio":
            raise InvalidInput(f"{path}: the audio is {stream.codec}, which {muxer} cannot hold; use an .mkv output.")
        elif stream.kind == "data" and titles:
            titles = 0
        else:
            left_out.append(f"stream {stream.index} ({stream.kind}{', ' if stream.codec else ''}{stream.codec})")
    return Contents(
        path=path,
        track=track,
        width=width,
        height=height,
        begin=begin,
        seconds=seconds,
        carried=tuple(carried),
        left_out=tuple(left_out),
        metadata={k: v for k, v in video.metadata.items() if not k.upper().startswith(STALE)},
        disposition="+".join(d.name for d in Disposition if d.name and d & video.disposition) or "0",
        covers=tuple(covers.values()),
        jumps=jumps,
        trimmed=trimmed,
    )


def _seconds(container: av.container.InputContainer, pictures: av.VideoStream) -> float:
    """Return the video's duration in seconds: the stream's own, its DURATION tag (Matroska), or the whole file's."""
    if pictures.duration and pictures.time_base:
        return float(pictures.duration * pictures.time_base)
    if noted := re.fullmatch(r"(\d+):(\d+):(\d+(?:\.\d+)?)", pictures.metadata.get("DURATION", "")):
        hours, minutes, seconds = map(float, noted.groups())
        return 3600 * hours + 60 * minutes + seconds
    return float(container.duration or 0) / 1_000_000


def _has_captions(container: av.container.InputContainer, pictures: av.VideoStream) -> bool:
    """Return whether the first pictures carry closed captions (CEA-608 or CEA-708), as in American broadcasts."""
    try:
        return any(Type.A53_CC in list(frame.side_data) for frame in islice(container.decode(pictures), LOOKED_AT))
    except av.FFmpegError:  # a damaged picture
        return False


def _begins_early(container: av.container.InputContainer) -> bool:
    """Return whether audio is stored that was cut off at the beginning of an MP4, more of it than any decoder needs."""
    if "mp4" not in container.format.name.split(","):
        return False
    container.seek(0)
    firsts = (next(container.demux(stream)) for stream in container.streams.audio)
    return any(packet.pts is not None and packet.pts * packet.time_base < -PRIMING for packet in firsts)


def _read_covers(container: av.container.InputContainer, streams: Sequence[Stream]) -> Iterator[tuple[int, Cover]]:
    """Yield each cover with its stream number; a nameless first one is called "cover", which players look for."""
    pictures = [stream for stream in streams if stream.is_picture and stream.codec in COVERS]
    for stream in pictures:
        suffix, mimetype = COVERS[stream.codec]
        number = "" if stream is pictures[0] else stream.index
        name = stream.metadata.get("filename") or f"cover{number}{suffix}"
        packet = next(container.demux(container.streams[stream.index]))
        yield stream.index, Cover(name=name, mimetype=mimetype, data=bytes(packet))


def _codecs_of(muxer: str) -> set[str]:
    class Nowhere:
        def write(self, data: bytes) -> int:
            return len(data)

    with av.open(Nowhere(), "w", format=muxer) as container:
        return set(container.supported_codecs)


def _fate(stream: Stream, muxer: str, able: set[str]) -> str:
    """Return the codec to convert a stream to, "copy", or "" if the output cannot hold it.

    Args:
        stream: of the input.
        muxer: ffmpeg's name for the output container.
        able: names of the codecs that the container can hold.
    """
    if stream.kind == "subtitle" and stream.codec in TEXT:
        own = OWN_TEXT.get(muxer)
        if own:
            return "copy" if stream.codec == own else own
        return "srt" if stream.codec == "mov_text" else "copy"
    if stream.kind == "audio" and muxer == "matroska" and stream.codec not in able:
        return LOSSLESS
    if stream.kind == "attachment":
        return "copy" if muxer == "matroska" else ""
    if stream.kind == "video" and not stream.is_picture:
        return ""  # another video stream, such as a second camera angle: only the first is upscaled
    return "copy" if stream.kind in {"audio", "subtitle", "video"} and stream.codec in able else ""
