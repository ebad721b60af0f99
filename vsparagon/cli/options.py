"""Options that several commands share, and the parsing of their values."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from vsparagon.errors import InvalidInput
from vsparagon.models.bundled import DEFAULT_PROFILE, DEFAULT_SCALE, DEFAULT_VARIANT, PROFILES, bundled
from vsparagon.system.files import expanded

if TYPE_CHECKING:
    from vsparagon.input.job import Job, Network

NETWORK: Final = (
    "variant",
    "scale",
    "profile",
    "model",
    "backend",
    "precision",
    "width",
    "height",
    "matrix",
    "chroma",
    "memory_mb",
)
SIZES: Final = ("tilesize", "overlap")
ARGUMENTS: Final = (*NETWORK, *SIZES, "device_id", "num_streams", "cache")  # arguments of the filter that are options
SCRIPT_SAID: Final = re.compile(r" failed: |paragon\.Upscale: ")
TIME: Final = re.compile(r"(?:(?:(\d+):)?(\d+):)?(\d+(?:\.\d+)?)s?")


def add_model(parser: argparse.ArgumentParser | argparse._ArgumentGroup, *, variant: bool = True) -> None:
    """Add the options that choose the model and what runs it; they are arguments of `core.paragon.Upscale`.

    Args:
        parser: gets the options.
        variant: whether `--variant` is one of them.
    """
    scales = ", ".join(dict.fromkeys(str(scale) for _, scale, _ in bundled()))
    if variant:
        parser.add_argument("--variant", help=f"{variant_names()} (default {DEFAULT_VARIANT})")
    parser.add_argument("--scale", type=int, help=f"{scales} (default {DEFAULT_SCALE})")
    parser.add_argument(
        "--profile", help=f"weights trained on {' or '.join(PROFILES)} video (default {DEFAULT_PROFILE})"
    )
    parser.add_argument("--model", metavar="FILE", help="your own model file instead of these; its scale is used")
    parser.add_argument(
        "--backend",
        help="auto (default), tensorrt, tensorrt_rtx, torch, onnxruntime or openvino; "
        "`vsparagon doctor` shows which of them work",
    )
    parser.add_argument(
        "--precision", help="auto (default), fp32, fp16 (on GPUs), bf16 or int8 (both on the CPU with openvino)"
    )
    parser.add_argument("--device-id", type=int, default=0, help="number of the GPU, in CUDA's order (default 0)")


def variant_names() -> str:
    """Return the names of the bundled variants, separated by commas."""
    return ", ".join(dict.fromkeys(variant for variant, _, _ in bundled()))


def add_network(parser: argparse.ArgumentParser, *, variant: bool = True) -> None:
    """Add all options that are arguments of `core.paragon.Upscale`, `--variant` only if asked for."""
    network = parser.add_argument_group("network", "the arguments of core.paragon.Upscale")
    add_model(network, variant=variant)
    network.add_argument("--width", type=int, help="final width; without --height, the aspect ratio is kept")
    network.add_argument("--height", type=int, help="final height; without --width, the aspect ratio is kept")
    network.add_argument("--matrix", help="the input's colour matrix, if its tag is wrong: 709, 170m, 2020ncl, …")
    network.add_argument(
        "--chroma", help="what upscales the chroma: the network (default) or the resizer, which takes less time"
    )
    network.add_argument(
        "--tilesize", metavar="WxH", help="compute frames in tiles of this size, in input pixels; one number means both"
    )
    network.add_argument("--overlap", metavar="WxH", help="least overlap of neighbouring tiles; one number means both")
    network.add_argument("--memory-mb", type=int, help="limit on the memory for tiles, in MiB")
    network.add_argument("--num-streams", type=int, default=0, help="frames computed at once")
    network.add_argument(
        "--cache",
        default="",
        metavar="FOLDER",
        help="where compiled networks are kept (default: the user's cache folder)",
    )


def add_filter_script(parser: argparse.ArgumentParser) -> None:
    """Add `--filter-script`."""
    parser.add_argument(
        "--filter-script",
        type=Path,
        metavar="SCRIPT",
        help="a VapourSynth script to run before upscaling: it gets the video as `clip` and outputs the clip to "
        "upscale (or calls core.paragon.Upscale itself)",
    )


def read_job(args: argparse.Namespace, **rest: Any) -> Job:
    """Return the job that the options of `add_filter_script` and `add_network` describe.

    Args:
        args: parsed arguments, with the path `input`.
        rest: further fields of the job.

    Raises:
        InvalidInput: a size is malformed, or there are two scripts.
    """
    from vsparagon.input.job import Job

    job = Job(
        input=args.input.absolute(),
        filter_script=args.filter_script.absolute() if args.filter_script else None,
        network=read_network(args),
        device_id=args.device_id,
        num_streams=args.num_streams,
        cache=args.cache,
        **rest,
    )
    if job.is_script and job.filter_script:
        raise InvalidInput("INPUT is a script already; filter there instead of with --filter-script.")
    return job


def read_network(args: argparse.Namespace) -> Network | None:
    """Return the network arguments that were given, or None if there were none.

    Raises:
        InvalidInput: a size is malformed.
    """
    from vsparagon.input.job import Network

    given = given_of(args, NETWORK)
    given |= {name: _size(name, text) for name, text in given_of(args, SIZES).items()}
    if "model" in given:
        given["model"] = str(expanded(given["model"]).absolute())
    return Network(**given) if given else None


def given_of(args: argparse.Namespace, names: Sequence[str]) -> dict[str, Any]:
    """Return the named arguments that were given, by their names."""
    return {name: value for name in names if (value := getattr(args, name, None)) is not None}


def parse_time(text: str) -> float:
    """Return the seconds in a time such as "12.5", "12.5s", "1:02.5" or "1:00:02.5".

    Raises:
        InvalidInput: the text is no such time.
    """
    found = TIME.fullmatch(text.strip())
    if found is None:
        raise InvalidInput(f"{text!r} is not a time; write it as 12.5s, 1:02.5 or 1:00:02.5.")
    hours, minutes, seconds = (float(part or 0) for part in found.groups())
    return 3600 * hours + 60 * minutes + seconds


def in_options(text: str, args: argparse.Namespace) -> str:
    """Return a message in which the filter's arguments are spelt as options of a command: `--width` for `width=`.

    A message from a script's own call of the filter is returned unchanged.

    Args:
        text: the message.
        args: parsed arguments of the command, with its `usage`.
    """
    from vsparagon.input.job import SCRIPT_SUFFIXES

    from_script = "input" in args and args.input.suffix.lower() in SCRIPT_SUFFIXES
    if (from_script or getattr(args, "filter_script", None)) and SCRIPT_SAID.search(text):
        return text
    options = re.findall(r"--[a-z-]+", args.usage)
    spelt = {name: option for name in ARGUMENTS if (option := f"--{name.replace('_', '-')}") in options}
    if "filter_script" in args and not from_script:
        text = text.replace("deinterlace the clip first", "deinterlace the clip first with --filter-script")
    if "model" in args:
        spelt.setdefault("model", "MODEL")
    names = "|".join(spelt)
    given = (value if isinstance(value, list) else [value] for value in vars(args).values())
    own = [part for values in given for value in values for part in Path(str(value)).parts if "=" in part]
    for number, part in enumerate(own):  # a file called "width=3.mkv" keeps its name
        text = text.replace(part, f"\0{number}\0")
    text = re.sub(rf"(?:^|(?<=and ))({names})(?= (?:is|goes|must|cannot) )", lambda found: spelt[found[1]], text)
    text = re.sub(
        rf"(?<![\w.(/-])({names})=(?:([\"']?)(\w+)\2)?",
        lambda found: f"{spelt[found[1]]} {found[3] or ''}".rstrip(),
        text,
    )
    return re.sub("\0(\\d+)\0", lambda found: own[int(found[1])], text)


def _size(name: str, text: str) -> tuple[int, ...]:
    numbers = text.lower().split("x")
    if len(numbers) > 2 or not all(number.isdecimal() for number in numbers):
        raise InvalidInput(f"--{name} is {text}; write it as 512x384 (width and height) or as one number.")
    return tuple(int(number) for number in numbers)
