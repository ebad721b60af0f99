"""List the models, show what one is and what it costs, or export one as an ONNX file.

    vsparagon models
    vsparagon info MODEL
    vsparagon export MODEL OUT.onnx [-y] [--precision fp16] [--height H --width W] [--form extended]

MODEL is the name of a variant, for its bundled weights, or a checkpoint (.safetensors, .pth); for `info` also an ONNX
file.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict
from math import prod
from pathlib import Path

from vsparagon.errors import InvalidInput, ModelError
from vsparagon.extras import check_needs
from vsparagon.geometry.extension import Sizes
from vsparagon.lookup import find_model
from vsparagon.models.bundled import PROFILES, bundled_model, bundled_models, checkpoint_path
from vsparagon.models.memory import bytes_per_pixel
from vsparagon.models.model import RANGES, Model
from vsparagon.models.variants import SCALES, VARIANTS, AnyOptions, SwiftOptions, variant_of
from vsparagon.system.machine import MEBIBYTE

NOTES = ("licence", "training")  # metadata of a checkpoint that is shown and exported


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `models`, `info` and `export`."""
    models = commands.add_parser("models", help="list the variants and the bundled weights")
    models.set_defaults(run=_models)

    info = commands.add_parser(
        "info",
        help="show a model's properties and cost",
        description="Show what a checkpoint, an ONNX file or a bundled network is, and what it costs to run.",
    )
    _add_model(info, "a file (.safetensors, .pth, .onnx)")
    info.set_defaults(run=_info)

    export = commands.add_parser(
        "export",
        help="write a model as an ONNX file",
        description="Write the bundled weights of a variant, or a checkpoint, as an ONNX file.",
    )
    _add_model(export, "a file (.safetensors, .pth)")
    export.add_argument("out", metavar="OUT", type=Path, help="ONNX file to write")
    export.add_argument("-y", dest="overwrite", action="store_true", help="replace OUT if it exists")
    export.add_argument(
        "--precision",
        choices=("fp32", "fp16"),
        default="fp32",
        help="data type of weights, input and output (default fp32)",
    )
    export.add_argument("--height", type=int, help="fixed input height (default: any)")
    export.add_argument("--width", type=int, help="fixed input width (default: any)")
    export.add_argument(
        "--form",
        choices=("published", "extended"),
        default="published",
        help="published (default): as trained, for pictures of any size; extended: the faster form that the filter "
        "runs, for pictures padded by 8 pixels, of the sizes that `vsparagon info` shows",
    )
    export.set_defaults(run=_export)


def _add_model(parser: argparse.ArgumentParser, files: str) -> None:
    parser.add_argument("model", metavar="MODEL", help=f"{', '.join(VARIANTS)}, or {files}")
    parser.add_argument("--scale", type=int, choices=SCALES, default=0, help="scale of bundled weights (default 2)")
    parser.add_argument("--profile", choices=PROFILES, default="", help="profile of bundled weights (default clean)")


def _models(_args: argparse.Namespace) -> str:
    lines = ["variant     network     features  body          parameters (of the published design, at scale 2)"]
    lines += [
        f"{name:10}  {o.network:10}  {o.num_feat:8}  {_body(o):12}  {o.parameters:10,}" for name, o in VARIANTS.items()
    ]
    lines += ["", "bundled weights                               parameters"]
    lines += [f"{m.name:44}  {m.parameters:10,}{'  also in int8' * bool(m.quantised)}" for m in bundled_models()]
    return "\n".join([*lines, ""])


def _body(options: AnyOptions) -> str:
    if isinstance(options, SwiftOptions):
        return f"{options.num_layers} layers"
    return f"{options.groups} x {options.blocks} blocks"


def _info(args: argparse.Namespace) -> str:
    rows = _of_graph(args) if Path(args.model).suffix.lower() == ".onnx" else _of_checkpoint(args)
    width = max(map(len, rows))
    return "".join(f"{key:{width}}  {value}\n" for key, value in rows.items())


def _of_graph(args: argparse.Namespace) -> dict[str, str]:
    model = find_model(model=args.model, scale=args.scale, profile=args.profile)
    rows = {
        "file": args.model,
        "network": _network(model),
        "scale": str(model.scale),
        "input": "RGB" if model.channels == 3 else "one plane: luma, or red, green and blue separately",
        "type": "float16" if model.is_half else "float32",
        "sizes": _sides(model.sizes),
    }
    return rows | ({"parameters": f"{model.parameters:,}"} if model.parameters else {})


def _network(model: Model) -> str:
    return {
        "foreign": "not a vsparagon network; run as it is",
        "published": "a vsparagon network, as published; `vsparagon export --form extended` writes a faster form",
        "inference": "a vsparagon network, in the form that the filter runs",
    }[model.form]


def _sides(sizes: Sizes) -> str:
    if sizes.fixed:
        height, width = sizes.fixed
        return f"only {width} x {height}"
    taken = "any" if sizes.step == 1 else f"multiples of {sizes.step}"
    if sizes.rest:
        taken += f" plus {sizes.rest}"
    return f"{taken}, at least {sizes.minimum}" if sizes.minimum > sizes.step else taken


def _of_checkpoint(args: argparse.Namespace) -> dict[str, str]:
    path = checkpoint_path(args.model, scale=args.scale, profile=args.profile)  # a wrong name is reported first
    check_needs("info")
    from vsparagon.models.checkpoint import build_generator, read_checkpoint
    from vsparagon.models.complexity import FRAME, macs_per_pixel
    from vsparagon.models.inference import inference_form

    checkpoint = read_checkpoint(path)
    model = build_generator(checkpoint, path, scale=args.scale)
    side = 2 * model.options.reach + 1
    far = "".join(f", {text}" for text in _far(model.options))
    published, run = macs_per_pixel(model), macs_per_pixel(inference_form(model))
    memory = bytes_per_pixel(model.options) * prod(FRAME) / MEBIBYTE
    return {
        "file": str(path),
        "variant": variant_of(model.options),
        **{name: str(value) for name, value in asdict(model.options).items()},
        "parameters": f"{model.options.parameters:,}",
        "MACs per pixel": f"{published:,.0f} as published, {run:,.0f} as the filter runs it",
        "receptive field": f"{side} x {side} pixels{far}",
        "memory at 1080p": f"about {memory:,.0f} MiB per frame as the filter runs it, in float32 and without tiles",
        **({"int8": "has weights trained for it"} if _is_for_int8(args, checkpoint.metadata) else {}),
        **_notes(checkpoint.metadata),
    }


def _is_for_int8(args: argparse.Namespace, metadata: dict[str, str]) -> bool:
    if args.model in VARIANTS:  # whose int8 weights are in a file of their own
        return bundled_model(args.model, args.scale, args.profile).quantised is not None
    return RANGES in metadata


def _notes(metadata: dict[str, str]) -> dict[str, str]:
    return {key: metadata[key] for key in NOTES if key in metadata}


def _far(options: object) -> list[str]:
    names = {
        "use_attention": "windows of 32 x 32 for attention",
        "use_channel_mod": "means of the whole frame for channel modulation",
        "use_content_aware": "means of the whole frame for the gain",
    }
    return [text for name, text in names.items() if getattr(options, name, False)]


def _export(args: argparse.Namespace) -> str:
    path = checkpoint_path(args.model, scale=args.scale, profile=args.profile)  # a wrong name is reported first
    check_needs("export")
    from vsparagon.models.checkpoint import build_generator, read_checkpoint
    from vsparagon.models.inference import inference_form
    from vsparagon.onnx.export import export_onnx

    if args.out.suffix.lower() != ".onnx":
        raise InvalidInput(f"the output is called {args.out.name}; it must end in .onnx.")
    if args.form == "extended" and (args.height or args.width):
        raise InvalidInput("the extended form cannot have a fixed size; leave --height and --width out.")
    if args.out.exists() and not args.overwrite:
        raise InvalidInput(f"{args.out} exists; add -y to replace it.")
    checkpoint = read_checkpoint(path)
    model = build_generator(checkpoint, path, scale=args.scale)
    try:
        export_onnx(
            inference_form(model) if args.form == "extended" else model,
            args.out,
            precision=args.precision,
            height=args.height,
            width=args.width,
            metadata=_notes(checkpoint.metadata),
        )
    except OSError as error:
        raise ModelError(f"cannot write {args.out}: {error.strerror}.") from error
    return f"{args.out}: {args.model} in {args.precision}, {args.out.stat().st_size / 1024:,.0f} KiB\n"
