"""Export to ONNX: a generator, a generator with colour conversions around it (a frame graph), or one of its stages."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Literal

import onnx
from torch import nn

from vsparagon.colours.layout import INPUTS, OUTPUTS
from vsparagon.errors import InvalidInput
from vsparagon.models.frame import FrameNetwork
from vsparagon.models.model import RANGES
from vsparagon.models.paragonsr2 import ParagonSR2
from vsparagon.models.recognise import FORMAT_VERSION
from vsparagon.models.stages import StageModule
from vsparagon.models.swift import Swift, SwiftForm
from vsparagon.models.variants import ParagonSR2Options, SwiftOptions, variant_of
from vsparagon.onnx.builder import Graph
from vsparagon.onnx.emitter import TYPES, Emitter
from vsparagon.onnx.foreign import LEAST_OPSET
from vsparagon.system.files import write_atomically

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

    The file has one input `input`, 1,3,H,W RGB of nominal range 0..1, and one output `output`, 1,3,sH,sW, both float32
    or both float16. In a float16 file, whole-picture means, norms and the softmax remain float32. The bytes depend only
    on the module and the arguments. The file appears complete or not at all.

    Args:
        module: a generator; `module.options` describes it.
        path: file to write or replace.
        precision: type of weights, input and output.
        height: fixed height in pixels, at least 4; None for any height.
        width: the same for the width.
        metadata: additional metadata entries; they override the standard ones.

    Raises:
        InvalidInput: a size below 4 or an unknown precision.
        ModelError: a part of the module cannot be exported.
        OSError: the file cannot be written.
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
    """Return the model that `export_onnx` writes; arguments and errors are the same."""
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
    """Return the ONNX model of a frame graph: a network with colour conversions around it.

    `vsparagon.device.executor` describes its inputs and outputs. All sizes are fixed, and the types are those of the
    module. The bytes depend only on the module.

    Raises:
        ModelError: a part of the network cannot be exported.
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
    """Return the ONNX model of one stage of a generator, in float32 and for any height and width.

    Args:
        part: the stage, which names its inputs and outputs.
        channels: of every input and output, by name.

    Raises:
        ModelError: a part of the stage cannot be exported.
    """
    stage = part.stage
    graph = Graph(half=False)
    results = Emitter(part.module, graph, list(stage.inputs), (None, None)).run()
    model = graph.model(
        {
            name: (graph.FLOAT, [1, channels[name], *((1, 1) if name in stage.means_in else ("height", "width"))])
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
