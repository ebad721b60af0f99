"""`vsparagon preview`: play a video while it is being upscaled."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from vsparagon.cli.options import add_filter_script, add_network, parse_time, read_job
from vsparagon.extras import check_needs
from vsparagon.system.interrupt import end_tidily_on_signals
from vsparagon.wording import counted

DESCRIPTION = """\
Play a video while it is being upscaled. INPUT may be a VapourSynth script (.vpy).

mpv or ffplay plays the result; pausing, stepping and seeking are the player's own. If the machine cannot keep up, a
faster variant is used, and then a smaller source; the picture and the terminal say so. If neither is installed, the
viewer vsview or vspreview shows source and result as two outputs."""


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `preview`."""
    parser = commands.add_parser(
        "preview",
        help="play a video upscaled, in real time",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("input", metavar="INPUT", type=Path, help="video file or script")
    parser.add_argument("--ab", action="store_true", help="show the source, upscaled with bicubic, in the left half")
    parser.add_argument("--start", default="0", metavar="TIME", help="where to start, such as 12.5s or 1:02.5")
    parser.add_argument(
        "--player",
        default="",
        help="mpv, ffplay, vsview, vspreview (default: the first of these that is installed), or another program that "
        "plays uncompressed Matroska video from a URL",
    )
    add_filter_script(parser)
    add_network(parser)
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> str:
    check_needs("preview")
    from vsparagon.preview import VIEWERS
    from vsparagon.preview.player import find_player
    from vsparagon.preview.run import preview
    from vsparagon.preview.viewer import find_viewer, view

    job = read_job(args)
    start = parse_time(args.start)
    end_tidily_on_signals()
    program = "" if args.player in VIEWERS else find_player(args.player)
    if not program:
        viewer = find_viewer(args.player)
        if start:
            _tell(f"{viewer} starts at the first frame; --start works only with mpv and ffplay")
        view(job, viewer, ab=args.ab)
        return ""
    report = preview(job, program, start=start, ab=args.ab, tell=_tell)
    speed = f", {report.achieved:.4g} of {report.wanted:.4g} frames per second" if report.achieved else ""
    return f"{job.input}: {counted(report.frames, 'frame')} to {Path(program).stem}, with {report.level}{speed}\n"


def _tell(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
