"""Parse the command line of `scripts/benchmark.py`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from benchmarking.jobs import Settings, Size
from benchmarking.peers import PACKAGES
from vsparagon.arguments import CHROMA

PRESETS = ("ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow")


def parse(arguments: Sequence[str], description: str) -> argparse.Namespace:
    """Parse the command line; without a command, it is "speed".

    Args:
        arguments: without the program's name.
        description: for the help.
    """
    every, running, choosing = (argparse.ArgumentParser(add_help=False) for _ in range(3))
    every.add_argument("--rounds", type=_positive, default=5, help="turns of each candidate (5)")
    every.add_argument("--json", type=Path, metavar="FILE", help="file for everything that was measured")

    common = argparse.ArgumentParser(add_help=False, parents=[every])
    common.add_argument("--variants", nargs="*", default=["nano"], help="bundled networks (nano)")
    common.add_argument("--models", nargs="+", default=[], metavar="FILE", help="model files of your own")
    common.add_argument("--scale", type=int, default=2, help="scale factor of all networks (2)")
    common.add_argument(
        "--sizes", nargs="+", type=_size, default=[], metavar="WIDTHxHEIGHT", help="sizes of the source"
    )

    running.add_argument("--precisions", nargs="+", default=["auto"], help="auto, fp32, fp16, bf16, int8 (auto)")
    running.add_argument("--chroma", nargs="+", choices=CHROMA, default=["network"], help="what upscales it (network)")
    running.add_argument("--frames", type=_positive, help="frames in each round (48; with --device cuda, 480)")
    running.add_argument("--picture", default="", help="the picture to move (scikit-image's astronaut)")

    choosing.add_argument(
        "--backends", nargs="+", default=[], help="names as in the filter (openvino; with --device cuda, torch)"
    )
    choosing.add_argument("--x264", choices=PRESETS, default="", help="encode the frames in the same pipe")
    choosing.add_argument("--chart", type=Path, metavar="FILE", help="PNG to draw")

    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    speed = commands.add_parser("speed", parents=[common, running, choosing])
    speed.add_argument("--streams", nargs="+", type=int, default=[0], help="values of num_streams (0, its default)")
    speed.add_argument("--threads", type=int, default=0, help="threads of VapourSynth and the filters (all)")
    speed.add_argument(
        "--peers", nargs="*", choices=PACKAGES, help="alternatives to compare with; without names, all of them"
    )
    speed.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="what computes (cpu)")
    speed.add_argument("--device-id", type=int, default=0, help="number of the GPU (0)")
    growth = commands.add_parser("growth", parents=[common, running, choosing])
    growth.add_argument("--threads", type=int, default=0, help="threads of VapourSynth and the filters (all)")
    streams = commands.add_parser("streams", parents=[common, running, choosing])
    streams.add_argument(
        "--streams", nargs="+", type=_positive, default=[1, 2, 3, 4], help="numbers of streams (1 2 3 4)"
    )
    streams.add_argument("--threads", nargs="+", type=int, default=[0], help="numbers of threads (all)")
    commands.add_parser("overhead", parents=[common, running])
    commands.add_parser("start", parents=[common])
    scaling = commands.add_parser("scaling", parents=[every])
    scaling.add_argument(
        "--workers", nargs="+", type=_positive, default=[1, 2, 4, 8], help="numbers of workers (1 2 4 8)"
    )
    scaling.add_argument("--milliseconds", type=_positive, default=100, help="wait for each frame (100)")
    scaling.add_argument("--frames", type=_positive, default=768, help="length of the video (768)")
    scaling.set_defaults(picture="a blank picture")

    without = not arguments or (arguments[0].startswith("-") and arguments[0] not in ("-h", "--help"))
    args = parser.parse_args(["speed", *arguments] if without else arguments)
    if args.command == "speed":
        args.peers = [] if args.peers is None else args.peers or list(PACKAGES)
    return args


def settings_of(args: argparse.Namespace) -> Settings:
    """Return what all candidates have in common; defaults apply where a command has no option."""
    given = {name: getattr(args, name) for name in ("scale", "rounds", "picture", "x264") if hasattr(args, name)}
    if hasattr(args, "frames"):
        given["frames"] = args.frames or (480 if getattr(args, "device", "cpu") == "cuda" else 48)
    if isinstance(threads := getattr(args, "threads", 0), int):  # for `streams`, it is a list of numbers to compare
        given["threads"] = threads
    return Settings(**given)


def _size(text: str) -> Size:
    width, _, height = text.partition("x")
    if not (width.isdecimal() and height.isdecimal()):
        raise argparse.ArgumentTypeError(f"{text!r} is not a size; write width and height as 640x360")
    size = Size(width=int(width), height=int(height))
    if not size.pixels or size.width % 2 or size.height % 2:
        raise argparse.ArgumentTypeError(f"{text} is not a size for YUV420P8; give even numbers")
    return size


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)
