"""The two command lines of ffmpeg: for a segment, and for the finished file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import ffmpeg
import vapoursynth as vs

from vsparagon.encode.codec import HEVC, encoder_options
from vsparagon.encode.contents import Contents
from vsparagon.ffmpeg import aspect_arguments, colour_arguments
from vsparagon.frames import first_frame
from vsparagon.input.job import Encoding
from vsparagon.input.source import rate_of


@dataclass(frozen=True, kw_only=True)
class RawVideo:
    """What a pipe of raw frames does not say about them.

    Attributes:
        width, height: in pixels.
        rate: frames per second; the average where it varies.
        props: of the first frame: colours, pixel shape, mastering metadata.
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
        """Options of ffmpeg that label the colours, given for input and output."""
        return _options(colour_arguments(self.props))

    @property
    def shape(self) -> dict[str, str]:
        """The option of ffmpeg for the shape on the screen."""
        return _options(aspect_arguments(self.props, self.width, self.height))


def segment_command(program: str, video: RawVideo, encoding: Encoding, out: Path) -> list[str]:
    """Return the command that encodes raw frames from its standard input."""
    options = encoder_options(encoding, video.props)
    raw = ffmpeg.input(
        "pipe:0",
        format="rawvideo",
        pix_fmt=encoding.pix_fmt if encoding.pix_fmt.endswith("p") else f"{encoding.pix_fmt}le",
        video_size=(video.width, video.height),
        framerate=f"{video.rate.numerator}/{video.rate.denominator}",
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
) -> list[str]:
    """Return the command that puts the encoded video, as NUT on its standard input, beside the rest of a file.

    Args:
        program: ffmpeg.
        video: what the video shows.
        encoding: how it is encoded.
        out: file to write.
        muxer: its kind.
        shift: what to add to the video's times, in seconds.
        part: where what comes along begins and ends, in seconds as players count them; (0, 0) for all.
        contents: of the file that everything else comes from, or None.
        covers: files with the covers in `contents`.
    """
    encoded = ffmpeg.input("pipe:0", format="nut", itsoffset=_seconds(shift))["v:0"]
    streams, place = [encoded], 0
    # FLAC in MP4 was experimental in older versions of ffmpeg.
    options: dict[str, Any] = {"c": "copy", "copyts": None, "strict": "-2", **video.shape}
    if contents is not None:
        rest = _rest(contents, part[0])
        place = sum(stream.index < contents.track for stream in contents.carried)
        streams = [rest[str(stream.index)] for stream in contents.carried]
        streams.insert(place, encoded)
        # A stream that no file has, so that ffmpeg-python keeps an input of which only metadata is wanted.
        streams.append(rest["999999?"])
        options |= _rest_options(contents, place, part)
    if muxer in {"mp4", "mov"}:
        options["movflags"] = "+faststart"
        if encoding.codec in HEVC:
            options[f"tag:{place}"] = "hvc1"  # players of Apple know no other
    output = ffmpeg.output(*streams, str(out), format=muxer, **options)
    if contents is not None and contents.jumps:
        # Where times may jump, older versions of ffmpeg count from the first stream that they are to use.
        used = {name: value for name, value in options.items() if name in {"c", "copyts", "t"}}
        output = ffmpeg.merge_outputs(output, rest[str(contents.track)].output("-", format="null", **used))
    command = _compile(output, program)
    last = command.index(str(out))
    return [*command[:last], *(_attachments(contents, covers) if contents else ()), *command[last:]]


def _rest(contents: Contents, start: float) -> Any:
    """Return the file that everything else comes from, from a time on."""
    options: dict[str, Any] = {"itsoffset": _seconds(-contents.start - Fraction(start))}
    if start:
        # By itself, ffmpeg trims what it decodes at the time in the file, not at that which the offset makes of it.
        options |= {"ss": _seconds(start), "noaccurate_seek": None}
    if contents.jumps:
        options["fflags"] = "+discardcorrupt"  # what a reception error has left would end the command
    return ffmpeg.input(str(contents.path), **options)


def _rest_options(contents: Contents, place: int, part: tuple[float, float]) -> dict[str, Any]:
    """Return the options for what comes along, with the video as the stream of that number."""
    start, end = part
    source = "1" if place == 0 else "0"  # ffmpeg-python numbers the inputs as the streams name them
    options: dict[str, Any] = {
        "map_metadata": source,
        "map_chapters": source,
        f"disposition:{place}": contents.disposition,
    }
    if start:
        options["copypriorss"] = 0  # or packets from the key frame before would come along
    if end:
        options["t"] = _seconds(end - start)
    for position, stream in enumerate(contents.carried):
        number = position + (position >= place)
        if stream.codec != "copy":
            options[f"c:{number}"] = stream.codec
            if start and stream.kind == "audio":
                options[f"filter:{number}"] = "atrim=start=0"
    return options


def _attachments(contents: Contents, covers: Sequence[Path]) -> list[str]:
    """Return the options for the covers, which ffmpeg-python would give once."""
    arguments = []
    before = sum(stream.kind == "attachment" for stream in contents.carried)
    for number, (cover, path) in enumerate(zip(contents.covers, covers, strict=True), start=before):
        arguments += ["-attach", str(path)]
        for name, value in (("filename", cover.name), ("mimetype", cover.mimetype)):
            arguments += [f"-metadata:s:t:{number}", f"{name}={value}"]
    return arguments


def sound_command(program: str, contents: Contents, muxer: str, out: Path) -> list[str]:
    """Return the command that puts the first second of the sound into a file like the output.

    Args:
        program, contents, muxer: as above.
        out: file to write.
    """
    given = ffmpeg.input(str(contents.path))
    sound = [stream for stream in contents.carried if stream.kind == "audio"]
    codecs = {f"c:{number}": stream.codec for number, stream in enumerate(sound)}
    streams = [given[str(stream.index)] for stream in sound]
    return _compile(ffmpeg.output(*streams, str(out), format=muxer, strict="-2", t="1", **codecs), program)


def _compile(output: Any, program: str) -> list[str]:
    quiet = output.global_args("-hide_banner", "-loglevel", "error", "-y")
    command: list[str] = ffmpeg.compile(quiet, cmd=program)
    return command


def _options(arguments: list[str]) -> dict[str, str]:
    return {name.removeprefix("-"): value for name, value in zip(arguments[::2], arguments[1::2], strict=True)}


def _seconds(time: Fraction | float) -> str:
    return f"{float(time):.6f}"


def _plain(value: Any) -> Any:
    """Return a frame property as a number, a string or a list of them, which can be sent to other machines."""
    if isinstance(value, int):
        return int(value)
    return list(value) if isinstance(value, list | tuple) else value
