"""`vsparagon compare`: show frames of a video, or an image, upscaled in several ways."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from vsparagon.cli.options import add_filter_script, add_network, parse_time, read_job, variant_names
from vsparagon.extras import check_needs
from vsparagon.wording import counted

DESCRIPTION = """\
Upscale some frames of a video, or an image, in several ways, and write
  FOLDER/compare.png   the same detail in all of them, side by side
  FOLDER/compare.html  a page with a slider between any two, zoom and keyboard control, in a single file
INPUT may be a VapourSynth script (.vpy) that does not upscale by itself."""


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `compare`."""
    parser = commands.add_parser(
        "compare",
        help="compare the networks on a video or an image",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("input", metavar="INPUT", type=Path, help="video, image or script")
    parser.add_argument(
        "--at",
        metavar="TIMES",
        default="",
        help="times of the frames to show: 12.5s,1:02 (default: three, spread over the video)",
    )
    parser.add_argument(
        "--variants",
        metavar="NAMES",
        default="",
        help=f"some of {variant_names()} (default: all; with --model, none), also with a profile, precision "
        "or chroma of their own: swift,swift:compressed,swift:int8:resizer",
    )
    parser.add_argument(
        "--peers",
        metavar="NAMES",
        default="bicubic,lanczos",
        help="resizers to compare with: point, bilinear, bicubic, lanczos, spline16, spline36, spline64 "
        "(default bicubic,lanczos)",
    )
    parser.add_argument("--output", metavar="FOLDER", type=Path, help="where to write (default: INPUT.compare)")
    add_filter_script(parser)
    add_network(parser, variant=False)  # so that --variant is short for --variants
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> str:
    check_needs("compare")
    from vsparagon.compare.run import compare

    job = read_job(args)
    made = compare(
        job,
        args.output or Path(f"{args.input}.compare"),
        at=[parse_time(time) for time in _list(args.at)],
        variants=_list(args.variants),
        peers=_list(args.peers),
        tell=lambda text: print(text, file=sys.stderr),  # noqa: T201
    )
    return f"{made.page}\n{made.sheet}\n{counted(made.frames, 'frame')} by {', '.join(made.versions)}\n"


def _list(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]
