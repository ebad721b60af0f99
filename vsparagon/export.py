"""What is exported as ONNX: a generator, a generator with a frame's conversions around it, a stage of one."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Literal

import onnx
from torch import nn

from vsparagon.errors import InvalidInput
from vsparagon.files import write_atomically
from vsparagon.layout import INPUTS, OUTPUTS
from vsparagon.models.foreign import LEAST_OPSET
from vsparagon.models.frame import FrameNetwork
from vsparagon.models.model import RANGES
from vsparagon.models.paragonsr2 import ParagonSR2
from vsparagon.models.plan import MEAN
from vsparagon.models.stages import StageModule
from vsparagon.models.swift import Swift, SwiftForm
from vsparagon.models.variants import ParagonSR2Options, SwiftOptions, variant_of
from vsparagon.onnx.emitter import TYPES, Emitter
from vsparagon.onnx.graph import Graph
from vsparagon.recognise import FORMAT_VERSION

OPSET = LEAST_OPSET
MINIMUM_SIDE = 4

Precision = Literal["fp32", "fp16"]


def export_onnx(
    module: nn.Module,
    path: str | Path,
    *,
    precision: Precision = "fp32",
    height: int | None = None,
    width: int | None = None,
    metadata: dict[str, str] | None = None,
) -> None:
    """Write a generator, in its published or its inference form, as an ONNX file.

    The file has one input `input`, 1,3,H,W RGB of nominal range [0, 1], and one output `output`, 1,3,sH,sW, both
    float32 or both float16. In float16 everything is typed so but whole-picture means, norms and the softmax. The
    bytes depend on the module and the arguments alone. The file appears complete or not at all.

    Args:
        module: a generator; `module.options` tells what it is.
        path: file to write or replace.
        precision: type of weights, input and output.
        height: fixed height in pixels, at least 4; any height when left out.
        width: the same for the width.
        metadata: further entries for the file's properties.

    Raises:
        InvalidInput: a size below 4 or an unknown precision.
        ModelError: the module has a part that has no ONNX form here.
    """
    model = onnx_model(module, precision=precision, height=height, width=width, metadata=metadata)
    write_atomically(Path(path), model.SerializeToString(deterministic=True))


def onnx_model(
    module: nn.Module,
    *,
    precision: Precision = "fp32",
    height: int | None = None,
    width: int | None = None,
    metadata: dict[str, str] | None = None,
) -> onnx.ModelProto:
    """Return what `export_onnx` writes."""
    if precision not in ("fp32", "fp16"):
        raise InvalidInput(f"precision is {precision!r}; an ONNX file is written in fp32 or fp16.")
    for name, pixels in (("height", height), ("width", width)):
        if pixels is not None and pixels < MINIMUM_SIDE:
            raise InvalidInput(f"{name} is {pixels}; it must be at least {MINIMUM_SIDE}.")
    options = module.options
    assert isinstance(options, (ParagonSR2Options, SwiftOptions))

    half = precision == "fp16"
    graph = Graph(half=half)
    result = Emitter(copy.deepcopy(module).half() if half else module, graph, "input", (height, width)).run()
    scale = options.scale
    output = [1, 3, height * scale if height else "output_height", width * scale if width else "output_width"]
    model = graph.model(
        {"input": (graph.type, [1, 3, height or "height", width or "width"])},
        {"output": (result, graph.type, output)},
        OPSET,
    )
    entries = {
        "format_version": FORMAT_VERSION,
        "network": options.network,
        "variant": variant_of(options),
        "scale": str(scale),
        "options": json.dumps(asdict(options)),
        "form": "published" if isinstance(module, (ParagonSR2, Swift)) else "extended",
    }
    if isinstance(module, SwiftForm) and module.ranges and not half:
        entries[RANGES] = json.dumps(module.ranges)
    onnx.helper.set_model_props(model, entries | (metadata or {}))
    onnx.checker.check_model(model, full_check=True)
    return model


def frame_onnx(frame: FrameNetwork) -> onnx.ModelProto:
    """Return the ONNX model of a network with a frame's conversions around it.

    Inputs and outputs are named as `vsparagon.backends.executor` says; everything is of fixed size and in the types
    of the module. The bytes depend on the module alone.

    Raises:
        ModelError: the network has a part that has no ONNX form here.
    """
    extension, tiles = frame.extension, frame.tiles
    size = (tiles[0].size, tiles[1].size) if tiles else (extension.extended_height, extension.extended_width)
    inputs = dict(zip(INPUTS, frame.inputs(), strict=False))
    graph = Graph(half=False)
    results = Emitter(frame, graph, list(inputs), size, decides=False).run()
    model = graph.model(
        {name: (TYPES[dtype], list(shape)) for name, (shape, dtype) in inputs.items()},
        {
            name: (result, TYPES[dtype], list(shape))
            for name, result, (shape, dtype) in zip(OUTPUTS, results, frame.outputs(), strict=False)
        },
        OPSET,
    )
    onnx.checker.check_model(model, full_check=True)
    return model


def stage_onnx(part: StageModule, channels: Mapping[str, int]) -> onnx.ModelProto:
    """Return the ONNX model of a stage of a generator, in float32 and for any size.

    Args:
        part: the stage; inputs and outputs are named as it says.
        channels: of each of them.
    """
    stage = part.stage
    graph = Graph(half=False)
    results = Emitter(part.module, graph, list(stage.inputs), (None, None)).run()
    model = graph.model(
        {
            name: (graph.FLOAT, [1, channels[name], *((1, 1) if name.startswith(MEAN) else ("height", "width"))])
            for name in stage.inputs
        },
        {
            name: (result, graph.FLOAT, [1, channels[name], f"{name}_height", f"{name}_width"])
            for name, result in zip(stage.outputs, results, strict=True)
        },
        OPSET,
    )
    onnx.checker.check_model(model, full_check=True)
    return model
