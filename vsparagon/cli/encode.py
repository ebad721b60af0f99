"""`vsparagon encode`: upscale a video file and keep everything else in it."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
from collections.abc import Container, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Final

from vsparagon.cli.options import add_filter_script, add_network, parse_time, read_job
from vsparagon.encode.encoders import CODECS
from vsparagon.errors import InvalidInput
from vsparagon.extras import check_needs, installation
from vsparagon.system.interrupt import end_tidily_on_signals
from vsparagon.wording import counted

if TYPE_CHECKING:
    from vsparagon.encode.run import Result, Workers
    from vsparagon.input.job import Job

# ffmpeg options that are given in another way here, without stream specifiers such as ":v".
OWN_OPTIONS: Final = {
    "c": "--codec", "codec": "--codec", "vcodec": "--codec", "crf": "--crf", "cq": "--crf", "preset": "--preset",
    "pix_fmt": "--pix-fmt", "colorspace": "--matrix", "f": "OUTPUT's suffix", "format": "OUTPUT's suffix",
    "filename": "OUTPUT",
}  # fmt: skip
# ffmpeg options that are taken from the frames, and the frame properties that set them.
PROPERTIES: Final = {
    "color_primaries": "_Primaries", "color_trc": "_Transfer", "color_range": "_Range",
    "chroma_sample_location": "_ChromaLocation", "aspect": "_SARNum and _SARDen",
}  # fmt: skip
# ffmpeg options that change which frames there are, or their size.
CHANGING: Final = {
    "r", "t", "to", "ss", "frames", "vframes", "fps_mode", "vsync", "s", "vf", "filter", "filter_complex", "lavfi",
}  # fmt: skip

DESCRIPTION = """\
Upscale a video and keep everything else: audio, subtitles, chapters, attachments, metadata, timestamps, colour tags.
OUTPUT's suffix chooses the container: .mkv (holds everything), .mp4, .m4v, .mov or .webm.

An interrupted encode leaves its finished segments in OUTPUT.parts, and the same command resumes from them.
INPUT may be a VapourSynth script (.vpy). If it calls core.paragon.Upscale, its output is encoded as it is; otherwise
it is upscaled first."""


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `encode`."""
    parser = commands.add_parser(
        "encode",
        help="upscale a video file",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("input", metavar="INPUT", type=Path, help="video file or script")
    parser.add_argument("output", metavar="OUTPUT", type=Path, help="file to write")
    parser.add_argument("-y", dest="overwrite", action="store_true", help="replace OUTPUT if it exists")
    parser.add_argument("--json", action="store_true", help="print progress and result as JSON, one object per line")

    add_network(parser)
    add_filter_script(parser)

    parser.add_argument(
        "--rest-from",
        type=Path,
        metavar="FILE",
        help="file to take audio and everything else from, if INPUT is a script, which has only video",
    )

    parser.add_argument(
        "--start", metavar="TIME", help="start at this time, such as 12.5s or 1:02.5, to try settings on a part"
    )
    parser.add_argument("--end", metavar="TIME", help="end at this time")

    encoding = parser.add_argument_group("encoding")
    encoding.add_argument(
        "--codec", choices=CODECS, default="", help="default: libx264 for 8 bits, libx265 for more, libsvtav1 for .webm"
    )
    encoding.add_argument("--crf", type=float, help="constant quality on the codec's own scale; lower is better")
    encoding.add_argument("--preset", default="", help="the encoder's preset, by name or number")
    encoding.add_argument(
        "--pix-fmt",
        default="",
        help="yuv420p, yuv420p10, yuv444p10, …; default: as the input, in 10 bits if that has more than 8",
    )
    encoding.add_argument(
        "--encoder-option",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="another option for ffmpeg's encoder, such as tune=grain or x265-params=aq-mode=3; may be repeated",
    )
    encoding.add_argument(
        "--segment-frames",
        type=int,
        metavar="N",
        help="frames per segment: at most this many are encoded again after an interruption (default 240)",
    )

    elsewhere = parser.add_argument_group("several processes or machines", f"needs Dask: {installation('cluster')}")
    choice = elsewhere.add_mutually_exclusive_group()
    choice.add_argument("--workers", type=int, default=0, metavar="N", help="encode the segments in N processes")
    choice.add_argument(
        "--cluster",
        default="",
        metavar="ADDRESS",
        help="encode them on the Dask cluster of this scheduler, such as tcp://scheduler:8786; its workers need "
        "vsparagon, ffmpeg, and INPUT under the same path",
    )
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> str:
    check_needs("encode")
    from vsparagon.encode.progress import choose_progress
    from vsparagon.encode.run import encode

    workers = _workers(args)
    end_tidily_on_signals()
    job = _job(args)
    progress = choose_progress(as_json=args.json)
    output = args.output.absolute()
    if output.is_symlink():  # the file that it points to is written, even if there is none yet
        output = Path(os.path.realpath(output))
    with contextlib.redirect_stdout(sys.stderr):  # for what scripts print while frames are made
        result = encode(job, output, overwrite=args.overwrite, progress=progress, workers=workers)
    return _json(result) if args.json else _text(result)


def _workers(args: argparse.Namespace) -> Workers | None:
    from vsparagon.encode.run import Workers

    if args.workers < 0:
        raise InvalidInput(f"--workers is {args.workers}; it must be at least 1.")
    if not (args.workers or args.cluster):
        return None
    check_needs("encode --workers")
    return Workers(count=args.workers, address=args.cluster)


def _job(args: argparse.Namespace) -> Job:
    from vsparagon.input.job import SEGMENT_FRAMES, Encoding
    from vsparagon.input.pixel_formats import PIXEL_FORMATS

    pix_fmt = args.pix_fmt.removesuffix("le")
    if pix_fmt and pix_fmt not in PIXEL_FORMATS:
        raise InvalidInput(f"--pix-fmt is {args.pix_fmt}; it must be one of {', '.join(PIXEL_FORMATS)}.")
    segment_frames = SEGMENT_FRAMES if args.segment_frames is None else args.segment_frames
    if segment_frames < 1:
        raise InvalidInput(f"--segment-frames is {segment_frames}; it must be at least 1.")
    start, end = (parse_time(time) if time else 0.0 for time in (args.start, args.end))
    if args.end and end <= start:
        raise InvalidInput(f"--end is {args.end}, which is not after --start.")
    return read_job(
        args,
        start=start,
        end=end,
        encoding=Encoding(
            codec=args.codec, crf=args.crf, preset=args.preset, pix_fmt=pix_fmt, options=_options(args.encoder_option)
        ),
        rest=args.rest_from.absolute() if args.rest_from else None,
        segment_frames=segment_frames,
    )


def _options(given: Sequence[str]) -> tuple[tuple[str, str], ...]:
    options: dict[str, str] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not (name and equals and value):
            raise InvalidInput(f"--encoder-option is {text}; write it as NAME=VALUE, such as tune=grain.")
        if reason := _refusal(name, options):
            raise InvalidInput(f"--encoder-option {name} {reason}.")
        options[name] = value
    return tuple(options.items())


def _refusal(name: str, options: Container[str]) -> str:
    """Return why an encoder option cannot be given after these others, or ""."""
    stem = name.partition(":")[0]
    if name in options:
        return "is given twice"
    if stem in OWN_OPTIONS:
        return f"cannot be given; use {OWN_OPTIONS[stem]} instead"
    if stem in PROPERTIES:
        return f"is taken from the frames; set {PROPERTIES[stem]} by std.SetFrameProps in a --filter-script"
    if stem in CHANGING:
        return "would change the frames; change them in a --filter-script instead"
    return ""


def _text(result: Result) -> str:
    encoding = result.encoding
    new = result.frames - result.resumed
    return (
        f"{result.output}: {counted(result.frames, 'frame')} of {result.width}x{result.height}, {encoding.codec} "
        f"{encoding.pix_fmt}, {result.bytes / 2**20:.1f} MiB; {new} of them in {result.seconds:.1f} s, "
        f"{new / result.seconds:.2f} frames per second\n"
    )


def _json(result: Result) -> str:
    values = asdict(result) | {"output": str(result.output), "seconds": round(result.seconds, 3)}
    return json.dumps({"event": "done", **values}) + "\n"
