"""The ffmpeg command lines: for a segment, for the finished file, and for a trial of the audio."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import ffmpeg
import vapoursynth as vs

from vsparagon.encode.codec import AV1, HEVC, encoder_options
from vsparagon.encode.contents import Carried, Contents
from vsparagon.ffmpeg import aspect_arguments, colour_arguments, sample_aspect_ratio
from vsparagon.frames import first_frame
from vsparagon.input.job import Encoding
from vsparagon.input.source import rate_of

# Removes the headers of ADTS. Muxers do this, too, but end at the first damaged header.
ADTS_FILTER = "aac_adtstoasc"
# Frames per second. At more than 1000, frames would have equal timestamps in Matroska, which are milliseconds. From
# 1000 on, ffmpeg ignores the rate that the encoder wrote, and decoding timestamps of the first frames are too late.
HIGHEST_RATE = 999


@dataclass(frozen=True, kw_only=True)
class RawVideo:
    """What raw frames in a pipe do not say about themselves.

    Attributes:
        width, height: in pixels.
        rate: frames per second as the clip has it; 25 if the clip has none.
        props: frame properties of the first frame: colours, pixel aspect ratio, mastering metadata.
    """

    width: int
    height: int
    rate: Fraction
    props: Mapping[str, Any]

    @classmethod
    def of(cls, clip: vs.VideoNode) -> RawVideo:
        """Describe a clip of constant format."""
        with first_frame(clip) as frame:
            props = {name: _plain(value) for name, value in frame.props.items() if not isinstance(value, vs.VideoFrame)}
        return cls(width=clip.width, height=clip.height, rate=rate_of(clip), props=props)

    @property
    def labels(self) -> dict[str, str]:
        """The ffmpeg options that label the colours; they belong to both the input and the output."""
        return _options(colour_arguments(self.props))

    @property
    def shape(self) -> dict[str, str]:
        """The ffmpeg output option for the sample aspect ratio; empty if it is unknown."""
        return _options(aspect_arguments(self.props))

    @property
    def display(self) -> dict[str, str]:
        """The ffmpeg output option for the display aspect ratio, which ffmpeg rounds; empty for square pixels."""
        ratio = sample_aspect_ratio(self.props)
        if ratio is None or ratio == 1:
            return {}
        return {"aspect": f"{self.width * ratio.numerator}:{self.height * ratio.denominator}"}


def segment_command(program: str, video: RawVideo, encoding: Encoding, out: Path) -> list[str]:
    """Return the command that encodes raw frames from standard input into a Matroska file.

    Its timestamps only tell the order of the frames; `vsparagon.encode.join` replaces them.
    """
    rate = min(video.rate, Fraction(HIGHEST_RATE))
    options = encoder_options(encoding, video.props)
    raw = ffmpeg.input(
        "pipe:0",
        format="rawvideo",
        pix_fmt=encoding.pix_fmt if encoding.pix_fmt.endswith("p") else f"{encoding.pix_fmt}le",
        video_size=(video.width, video.height),
        framerate=f"{rate.numerator}/{rate.denominator}",
        **video.labels,
    )
    encoded = raw.output(str(out), **options | video.labels | video.shape | {"format": "matroska"})
    return _compile(encoded, program)


def join_command(
    program: str,
    video: RawVideo,
    encoding: Encoding,
    out: Path,
    *,
    muxer: str,
    shift: Fraction,
    part: tuple[float, float],
    contents: Contents | None,
    covers: Sequence[Path],
    texts: Path | None = None,
) -> list[str]:
    """Return the command that muxes the encoded video, read as NUT from standard input, with the other streams.

    Args:
        program: path of ffmpeg.
        video: describes the encoded frames.
        encoding: how they are encoded.
        out: file to write.
        muxer: ffmpeg's name for its container.
        shift: seconds to add to the video's timestamps.
        part: start and end of the part to take from the other streams, in seconds as players count them; an end of 0
            means the end of the file.
        contents: describes the file that everything else comes from; None if there is no such file.
        covers: files that hold the covers in `contents`, in the same order.
        texts: file that `texts_command` wrote, or None to convert subtitles here.
    """
    encoded = ffmpeg.input("pipe:0", format="nut", itsoffset=_seconds(shift))["v:0"]
    streams, place = [encoded], 0
    # FLAC in MP4 was experimental in older versions of ffmpeg.
    options: dict[str, Any] = {"c": "copy", "copyts": None, "strict": "-2"}
    if encoding.codec in AV1:  # whose decoder says that pixels are square
        options |= video.display
    if contents is not None:
        rest = _rest(contents, part[0])
        place = sum(stream.index < contents.track.number for stream in contents.carried)
        streams = [rest[str(stream.index)] for stream in contents.carried]
        if texts:
            converted = iter(_streams_of(texts, part[0], contents))
            streams = [
                next(converted) if kept.is_rewritten_text else stream
                for kept, stream in zip(contents.carried, streams, strict=True)
            ]
        streams.insert(place, encoded)
        # ffmpeg-python drops an input from which no stream is mapped, but its metadata may be all that is wanted. So
        # map a stream that no file has; "?" makes it optional.
        streams.append(rest["999999?"])
        options |= _rest_options(contents, place, part, texts)
    if muxer in {"mp4", "mov"}:
        options["movflags"] = "+faststart"
        if encoding.codec in HEVC:
            options[f"tag:{place}"] = "hvc1"  # Apple's players accept no other tag for HEVC
    output = ffmpeg.output(*streams, str(out), format=muxer, **options)
    if contents is not None and contents.jumps:
        # Where timestamps may jump, older versions of ffmpeg count from the first packet of a stream that is used. So
        # the original video is used too, in an output that is thrown away.
        used = {name: value for name, value in options.items() if name in {"c", "copyts", "t"}}
        output = ffmpeg.merge_outputs(output, rest[str(contents.track.number)].output("-", format="null", **used))
    command = _compile(output, program)
    last = command.index(str(out))
    return [*command[:last], *(_attachments(contents, covers) if contents else ()), *command[last:]]


def _rest(contents: Contents, start: float) -> Any:
    """Return the ffmpeg input for everything but the video, from `start` (seconds as players count them) on."""
    options: dict[str, Any] = {"itsoffset": _seconds(-contents.track.start - Fraction(start))}
    if start:
        # Accurate seeking would trim decoded streams at their original timestamps, without the offset.
        options |= {"ss": _seconds(start), "noaccurate_seek": None}
    if contents.jumps:
        options["fflags"] = "+discardcorrupt"  # packets damaged by a reception error would end the command
    return ffmpeg.input(str(contents.path), **options)


def _streams_of(texts: Path, start: float, contents: Contents) -> list[Any]:
    """Return the subtitles in a file that `texts_command` wrote, from `start` on."""
    options = {"itsoffset": _seconds(-start), "ss": _seconds(start), "noaccurate_seek": None, "seek_timestamp": "1"}
    given = ffmpeg.input(str(texts), **options)
    return [given[f"s:{number}"] for number in range(sum(stream.is_rewritten_text for stream in contents.carried))]


def _rest_options(contents: Contents, place: int, part: tuple[float, float], texts: Path | None) -> dict[str, Any]:
    """Return the output options for the other streams.

    Args:
        contents: describes the file that they come from.
        place: number of the upscaled video among the output's streams.
        part, texts: as for `join_command`.
    """
    start, end = part
    # ffmpeg-python numbers the inputs in the order in which streams use them.
    used = ["texts" if texts and stream.is_rewritten_text else "rest" for stream in contents.carried]
    used = [*used[:place], "video", *used[place:], "rest"]
    source = str(list(dict.fromkeys(used)).index("rest"))
    options: dict[str, Any] = {
        "map_metadata": source,
        "map_chapters": source,
        f"disposition:{place}": contents.disposition,
    }
    if start or contents.trimmed:
        options["copypriorss"] = 0  # without it, packets from before the part would be copied too
    if end:
        options["t"] = _seconds(end - start)
    for position, stream in enumerate(contents.carried):
        number = position + (position >= place)
        if _is_adts(stream, contents):
            options[f"bsf:{number}"] = ADTS_FILTER
        if stream.codec != "copy" and not (texts and stream.is_rewritten_text):
            options[f"c:{number}"] = stream.codec
            if start and stream.kind == "audio":
                options[f"filter:{number}"] = "atrim=start=0"
    return options


def _is_adts(stream: Carried, contents: Contents) -> bool:
    """Return whether a stream is copied AAC audio with an ADTS header before each frame, as broadcasts have it."""
    return contents.jumps and (stream.was, stream.codec) == ("aac", "copy")


def _attachments(contents: Contents, covers: Sequence[Path]) -> list[str]:
    """Return the options that attach the covers; ffmpeg-python cannot repeat an option such as -attach."""
    arguments = []
    before = sum(stream.kind == "attachment" for stream in contents.carried)
    for number, (cover, path) in enumerate(zip(contents.covers, covers, strict=True), start=before):
        arguments += ["-attach", str(path)]
        for name, value in (("filename", cover.name), ("mimetype", cover.mimetype)):
            arguments += [f"-metadata:s:t:{number}", f"{name}={value}"]
    return arguments


def texts_command(program: str, contents: Contents, muxer: str, out: Path) -> list[str]:
    """Return the command that writes the subtitles that are converted to a file of the output's kind.

    ffmpeg can cut a part out of streams that it copies, but not of subtitles that it converts. Their times are those of
    the file as players count them.

    Args:
        program: path of ffmpeg.
        contents: describes the file that the subtitles come from; it must have some that are converted.
        muxer: ffmpeg's name for the output container.
        out: file to write.
    """
    given = ffmpeg.input(str(contents.path), itsoffset=_seconds(-contents.track.start))
    texts = [stream for stream in contents.carried if stream.is_rewritten_text]
    codecs = {f"c:{number}": stream.codec for number, stream in enumerate(texts)}
    streams = [given[str(stream.index)] for stream in texts]
    return _compile(ffmpeg.output(*streams, str(out), format=muxer, copyts=None, **codecs), program)


def sound_command(program: str, contents: Contents, muxer: str, out: Path) -> list[str]:
    """Return the command that writes the first second of all audio streams to a file of the output's kind.

    Args:
        program: path of ffmpeg.
        contents: describes the file that the audio comes from; it must have an audio stream that is kept.
        muxer: ffmpeg's name for the output container.
        out: file to write.
    """
    given = ffmpeg.input(str(contents.path))
    sound = [stream for stream in contents.carried if stream.kind == "audio"]
    options = {f"c:{number}": stream.codec for number, stream in enumerate(sound)}
    options |= {f"bsf:{number}": ADTS_FILTER for number, stream in enumerate(sound) if _is_adts(stream, contents)}
    streams = [given[str(stream.index)] for stream in sound]
    return _compile(ffmpeg.output(*streams, str(out), format=muxer, strict="-2", t="1", **options), program)


def _compile(output: Any, program: str) -> list[str]:
    quiet = output.global_args("-hide_banner", "-loglevel", "error", "-y")
    command: list[str] = ffmpeg.compile(quiet, cmd=program)
    return command


def _options(arguments: list[str]) -> dict[str, str]:
    return {name.removeprefix("-"): value for name, value in zip(arguments[::2], arguments[1::2], strict=True)}


def _seconds(time: Fraction | float) -> str:
    return f"{float(time):.6f}"


def _plain(value: Any) -> Any:
    """Return a frame property as a plain Python value, which can be pickled for other machines."""
    if isinstance(value, int):
        return int(value)
    return list(value) if isinstance(value, list | tuple) else value
