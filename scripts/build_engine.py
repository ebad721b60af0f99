"""Build a TensorRT or TensorRT-RTX engine ahead of time.

    python scripts/build_engine.py --variant nano --scale 2 --backend tensorrt --output nano.engine
    python scripts/build_engine.py --model my.onnx --backend tensorrt_rtx --width 1920 --height 1080 --output my.engine
    python scripts/build_engine.py --variant nano --backend tensorrt --width 1920 --height 1080 --clip YUV420P8

With `--output`, the engine is for other programs. It maps pictures, 1,3,H,W RGB of nominal range 0..1, to upscaled
ones. It takes any size between the first and the last of `--shapes`, and is optimised for the middle one; or it takes
only the size of `--width` and `--height`. It is valid for the version of the library and the kind of GPU that it was
built with. TensorRT-RTX needs no GPU to build, and its engines run on GeForce RTX 30 (compute capability 8.6) or later.

With `--clip`, the engine is the one that the filter would build on first use for clips of this format and size with the
usual colour tags. It takes and returns whole frames in the clip's format, and is kept in the filter's cache.
"""

from __future__ import annotations

import argparse
import logging
import re
import sys
from pathlib import Path
from typing import Any

from vsparagon.engines.build import LIBRARIES, Profile, build_engine, load_library
from vsparagon.errors import InvalidInput, ModelError, ParagonError, reason_of
from vsparagon.lookup import find_model
from vsparagon.models.bundled import DEFAULT_VARIANT, PROFILES
from vsparagon.models.variants import SCALES, VARIANTS
from vsparagon.system.files import write_atomically
from vsparagon.system.interrupt import ending_on_interrupt

SHAPES = "64x64/960x540/1920x1080"


def parse_sizes(text: str) -> list[tuple[int, int]]:
    """Return the three sizes in "WxH/WxH/WxH", which must not decrease, each as (height, width).

    Raises:
        ArgumentTypeError: the text is written in another way.
    """
    found = re.fullmatch(r"(\d+)x(\d+)/(\d+)x(\d+)/(\d+)x(\d+)", text)
    widths, heights = ([int(found[i]) for i in range(first, 7, 2)] if found else [] for first in (1, 2))
    if not found or any(sides != sorted(sides) or not sides[0] for sides in (widths, heights)):
        raise argparse.ArgumentTypeError(f"{text!r} is not three sizes from small to large, such as {SHAPES}")
    return list(zip(heights, widths, strict=True))


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    model = parser.add_mutually_exclusive_group()
    model.add_argument("--variant", choices=VARIANTS, default="", help="network (default nano)")
    model.add_argument("--model", type=Path, help="a checkpoint or an ONNX file instead of a variant")
    parser.add_argument("--scale", type=int, choices=SCALES, default=0, help="scale of the network (default 2)")
    parser.add_argument("--profile", choices=PROFILES, default="", help="profile of the network (default clean)")
    parser.add_argument(
        "--precision", choices=("fp16", "fp32"), help="default fp16; not for ONNX files, which have their own"
    )
    parser.add_argument("--backend", choices=LIBRARIES, required=True, help="the library that builds and runs it")
    parser.add_argument(
        "--shapes", type=parse_sizes, metavar="MIN/OPT/MAX", help=f"sizes of the pictures, each WxH (default {SHAPES})"
    )
    parser.add_argument("--width", type=int, help="fixed width of the pictures; also give --height")
    parser.add_argument("--height", type=int, help="fixed height of the pictures")
    kind = parser.add_mutually_exclusive_group(required=True)
    kind.add_argument("--output", type=Path, metavar="FILE", help="file to write an engine for pictures to")
    kind.add_argument(
        "--clip",
        metavar="FORMAT",
        help="build the filter's engine for clips of this format: YUV420P8, YUV420P10, RGB24, …",
    )
    parser.add_argument(
        "--cache", default="", metavar="FOLDER", help="the filter's cache folder, with --clip (default: the user's)"
    )
    return parser


def is_graph(args: argparse.Namespace) -> bool:
    return args.model is not None and args.model.suffix.lower() == ".onnx"


def check_arguments(args: argparse.Namespace) -> None:
    """Check that no argument makes another one useless, and that the engine can be written.

    Raises:
        InvalidInput: one does, or the folder of `--output` is missing, which would be noticed only after the build.
    """
    if args.output and not args.output.absolute().parent.is_dir():
        raise InvalidInput(f"--output is {args.output}, but there is no folder {args.output.parent}; make it first.")
    if args.clip and args.shapes:
        raise InvalidInput("--shapes is for --output; with --clip, give one size by --width and --height instead.")
    if args.output and args.cache:
        raise InvalidInput(f"--cache is {args.cache}, but --output names the file; leave --cache out.")
    for name in ("scale", "profile", "precision") if args.output and is_graph(args) else ():
        if value := getattr(args, name):
            raise InvalidInput(f"--{name} is {value}, but {args.model} has its own {name}; leave --{name} out.")


def read_sizes(args: argparse.Namespace) -> list[tuple[int, int]]:
    """Return the smallest, the usual and the largest size, each as (height, width).

    Raises:
        InvalidInput: the options for sizes contradict each other.
    """
    fixed = (args.height, args.width)
    if fixed == (None, None):
        return args.shapes or parse_sizes(SHAPES)
    if None in fixed or args.shapes:
        raise InvalidInput("give --width and --height together, or --shapes, or neither.")
    if min(fixed) < 1:
        raise InvalidInput(f"the size is {args.width}x{args.height}; give at least 1x1.")
    return [fixed] * 3


def read_graph(args: argparse.Namespace) -> bytes:
    """Return the model as ONNX, with the weights included.

    Raises:
        ParagonError: there is no such model, or it cannot be read.
    """
    if is_graph(args):
        return read_onnx(args.model)
    from vsparagon.models.checkpoint import load_generator
    from vsparagon.onnx.export import onnx_model

    generator = load_generator(args.model or args.variant or DEFAULT_VARIANT, scale=args.scale, profile=args.profile)
    data: bytes = onnx_model(generator, precision=args.precision or "fp16").SerializeToString(deterministic=True)
    return data


def read_onnx(path: Path) -> bytes:
    """Return an ONNX file, including weights that are stored in files of their own.

    Raises:
        ModelError: the file or its weights cannot be read.
    """
    import onnx

    try:
        data: bytes = onnx.load(path).SerializeToString(deterministic=True)
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror}.") from error
    except Exception as error:  # protobuf's for damaged files, onnx's for missing weights
        raise ModelError(f"{path} cannot be read as an ONNX model: {reason_of(error)}") from error
    return data


def read_profiles(graph: bytes, sizes: list[tuple[int, int]], name: str) -> dict[str, Profile]:
    """Return the shapes that a model's input may have, by its name; empty if its height and width are fixed.

    Args:
        graph: an ONNX file with one input N,C,H,W.
        sizes: the smallest, the usual and the largest (height, width), used where the model states none.
        name: of the model, for the error.

    Raises:
        ModelError: the file is damaged or has other inputs.
    """
    import onnx

    try:
        model: Any = onnx.load_from_string(graph)
        inputs = model.graph.input
        if len(inputs) != 1:
            raise ValueError(f"it has {len(inputs)} inputs")
        (image,) = inputs
        batch, channels, *sides = (axis.dim_value for axis in image.type.tensor_type.shape.dim)
        if len(sides) != 2:
            raise ValueError(f"its input has {len(sides) + 2} axes")
    except Exception as error:  # for damaged files, protobuf has exceptions of its own
        raise ModelError(f"{name} is not an ONNX model with one input N,C,H,W: {error}") from error
    if all(sides):
        return {}
    smallest, usual, largest = (
        (batch or 1, channels or 3, *(side or wanted for side, wanted in zip(sides, size, strict=True)))
        for size in sizes
    )
    return {image.name: Profile(smallest=smallest, usual=usual, largest=largest)}


def keep_engine(args: argparse.Namespace) -> str:
    """Build the engine that the filter uses for a kind of clip, and return a message for the user.

    Raises:
        ParagonError: the arguments do not fit, or the engine cannot be built.
    """
    import vapoursynth as vs

    from vsparagon import upscale

    video_format = getattr(vs, args.clip.upper(), None)
    if not isinstance(video_format, vs.PresetVideoFormat) or not (args.width and args.height):
        raise InvalidInput(f"--clip is {args.clip}; give a format such as YUV420P8, with --width and --height.")
    try:
        clip = vs.core.std.BlankClip(format=video_format, width=args.width, height=args.height, length=1)
    except vs.Error as error:
        size = f"{args.width}x{args.height}"
        raise InvalidInput(f"there is no {args.clip.upper()} of {size}; give the size of the clip.") from error
    upscale(
        clip,
        variant=args.variant,
        scale=args.scale,
        profile=args.profile,
        model=str(args.model or ""),
        backend=args.backend,
        precision=args.precision or "auto",
        cache=args.cache,
    )
    return f"cached for {args.width}x{args.height} {args.clip.upper()}; `vsparagon cache list` shows it"


def write_engine(args: argparse.Namespace) -> str:
    """Build an engine for pictures, and return a message for the user.

    Raises:
        ParagonError: the arguments do not fit, or the engine cannot be built.
        OSError: the file cannot be written.
    """
    sizes = read_sizes(args)
    name = str(args.model or find_model(variant=args.variant, scale=args.scale, profile=args.profile).name)
    library = load_library(args.backend)
    graph = read_graph(args)
    profiles = read_profiles(graph, sizes, name)
    if not profiles and (args.width or args.shapes):
        raise InvalidInput(f"{name} takes pictures of one size only; leave --width, --height and --shapes out.")
    engine = build_engine(library, graph, profiles, name=name)
    write_atomically(args.output, engine)
    return f"{args.output}: {name} by {library.name} {library.version}, {len(engine) / 1024:,.0f} KiB"


def main() -> int:
    args = parser().parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        check_arguments(args)
        print(keep_engine(args) if args.clip else write_engine(args))
    except (ParagonError, OSError) as error:
        print(f"build_engine: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    with ending_on_interrupt("build_engine"):
        sys.exit(main())
