"""A generator as an ONNX file: the module is traced symbolically and each step written as ONNX nodes.

The graph is static (no loops), whatever the size of the picture; only the tables of the attention's windows are
computed from it. The one branch there may be is that of attention by polynomials, which some pictures need in full.
`torch.onnx` is not used: its graphs for dynamic sizes differ with its version, and need a cleaning before TensorRT
reads them.
"""

from __future__ import annotations

import copy
import json
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import onnx
import torch
from torch import fx, nn
from torch.nn import functional as F  # noqa: N812 -- its usual name

from vsparagon.errors import InvalidInput, ModelError
from vsparagon.files import write_atomically
from vsparagon.layout import INPUTS, OUTPUTS
from vsparagon.models.attention import LocalWindowAttention, WindowAttention
from vsparagon.models.attention_onnx import AxisTensors, dynamic_axis, emit_attention, fixed_axis
from vsparagon.models.block_attention import BlockAttention, is_whole
from vsparagon.models.block_attention_onnx import emit_blocks
from vsparagon.models.folding import ShiftedConv2d
from vsparagon.models.foreign import LEAST_OPSET, ForeignNetwork
from vsparagon.models.frame import FrameNetwork
from vsparagon.models.inference import FrameMean
from vsparagon.models.paragonsr2 import GlobalMean, RMSNorm
from vsparagon.models.plan import MEAN
from vsparagon.models.stages import StageModule
from vsparagon.models.variants import ParagonSR2Options, SwiftOptions, variant_of
from vsparagon.onnx_graph import Graph
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
    result = _Emitter(copy.deepcopy(module).half() if half else module, graph, "input", (height, width)).run()
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
    }
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
    results = _Emitter(frame, graph, list(inputs), size, decides=False).run()
    model = graph.model(
        {name: (_TYPES[dtype], list(shape)) for name, (shape, dtype) in inputs.items()},
        {
            name: (result, _TYPES[dtype], list(shape))
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
    results = _Emitter(part.module, graph, list(stage.inputs), (None, None)).run()
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


_TYPES = {torch.float32: Graph.FLOAT, torch.float16: Graph.FLOAT16, torch.uint8: Graph.BYTE}

_WHOLE = (GlobalMean, FrameMean, RMSNorm, LocalWindowAttention, BlockAttention, ShiftedConv2d, ForeignNetwork)


class _Tracer(fx.Tracer):
    """Stops at the modules that `_Emitter` writes as a whole."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, _WHOLE) or super().is_leaf_module(m, module_qualified_name)


class _Emitter:
    """Walks the traced module and writes each of its steps; a value is the name of a tensor, or several names.

    Args:
        module: in the types to compute in.
        graph: to write to; its `half` follows the type of what a step is given.
        given: name of the input, or of each of several.
        size: height and width of what the attention sees, where they are known.
        decides: whether the graph may branch, which GPUs would wait for.
    """

    def __init__(
        self,
        module: nn.Module,
        graph: Graph,
        given: str | Sequence[str],
        size: tuple[int | None, int | None],
        *,
        decides: bool = True,
    ) -> None:
        with torch.enable_grad():  # without, a generator works strip by strip to save memory
            self.traced = fx.GraphModule(module, _Tracer().trace(module))
        self.graph = graph
        self.given = given
        self.size = size
        self.decides = decides
        self.values: dict[fx.Node, Any] = {}
        self.halves: dict[fx.Node, bool] = {}

    def run(self) -> Any:
        for node in self.traced.graph.nodes:
            if node.op == "output":
                return self._arguments(node)[0]
            self.values[node] = self._step(node)
        raise AssertionError("a traced graph ends with its output")

    def _arguments(self, node: fx.Node) -> list[Any]:
        return list(fx.node.map_arg(node.args, self.values.__getitem__))

    def _step(self, node: fx.Node) -> Any:
        target = str(node.target)
        if node.op == "get_attr":
            value = operator.attrgetter(target)(self.traced)
            self.halves[node] = value.dtype == torch.float16
            return self.graph.weight(target, value)
        if node.op == "placeholder":
            self.halves[node] = self.graph.half
            return self.given
        args = self._arguments(node)
        self.graph.half = self.halves[node] = self.halves[node.all_input_nodes[0]]
        if target == "to":
            self.halves[node] = args[1] == torch.float16
            return self.graph.node("Cast", args[0], prefix=node.name, to=_TYPES[args[1]])
        if node.op == "call_module":
            return self._module(target, str(args[0]))
        key = node.target if node.op == "call_function" else target
        if key not in _FUNCTIONS:
            raise ModelError(f"the step {key} of this network has no ONNX form.")
        return _FUNCTIONS[key](self.graph, node.name, *args, **node.kwargs)

    def _module(self, name: str, x: str) -> str:
        module, graph = self.traced.get_submodule(name), self.graph
        match module:
            case nn.Identity():
                return x
            case nn.Conv2d():
                return self._convolution(module, name, x)
            case nn.LeakyReLU():
                return graph.node("LeakyRelu", x, prefix=name, alpha=module.negative_slope)
            case nn.PReLU():
                return graph.node("PRelu", x, graph.weight(f"{name}.slope", module.weight[:, None, None]), prefix=name)
            case nn.ReLU():
                return graph.node("Relu", x, prefix=name)
            case nn.AvgPool2d():
                kernel = list(module.kernel_size) if isinstance(module.kernel_size, tuple) else [module.kernel_size] * 2
                return graph.node("AveragePool", x, prefix=name, kernel_shape=kernel, strides=kernel)
            case nn.Sigmoid():
                return graph.node("Sigmoid", x, prefix=name)
            case GlobalMean():
                return self._mean(name, x)
            case FrameMean():
                if not graph.half:  # in float16 the means of blocks would be rounded before they are averaged
                    kernel = list(module.block)
                    x = graph.node("AveragePool", x, prefix=name, kernel_shape=kernel, strides=kernel)
                return self._mean(name, x)
            case RMSNorm():
                return self._norm(module, name, x)
            case LocalWindowAttention():
                attended = self._attention(module, name, x)
                return graph.node("Add", x, graph.node("Mul", attended, graph.weight(f"{name}.gamma", module.gamma)))
            case BlockAttention():
                return self._block_attention(module, name, x)
            case ForeignNetwork():
                return self._foreign(module, name, x)
        raise ModelError(f"the layer {name} ({type(module).__name__}) has no ONNX form.")

    def _convolution(self, conv: nn.Conv2d, name: str, x: str) -> str:
        assert isinstance(conv.padding, tuple)
        inputs = [x, self.graph.weight(f"{name}.weight", conv.weight)]
        if conv.bias is not None:
            inputs.append(self.graph.weight(f"{name}.bias", conv.bias))
        return self.graph.node(
            "Conv",
            *inputs,
            prefix=name,
            kernel_shape=list(conv.kernel_size),
            pads=list(conv.pads if isinstance(conv, ShiftedConv2d) else conv.padding * 2),
            strides=list(conv.stride),
            group=conv.groups,
        )

    def _mean(self, name: str, x: str) -> str:
        graph = self.graph
        mean = graph.node("ReduceMean", graph.to_float(x, name), graph.integers([2, 3]), prefix=name)
        return graph.from_float(mean, name)

    def _norm(self, norm: RMSNorm, name: str, x: str) -> str:
        graph = self.graph
        wide = graph.to_float(x, name)
        length = graph.node("ReduceL2", wide, graph.integers([1]), prefix=name)
        rms = graph.node("Mul", length, norm.scale.shape[0] ** -0.5, prefix=name)
        unit = graph.node("Div", wide, graph.node("Add", rms, norm.eps, prefix=name), prefix=name)
        scaled = graph.node("Mul", graph.from_float(unit, name), graph.weight(f"{name}.scale", norm.scale), prefix=name)
        return graph.node("Add", scaled, graph.weight(f"{name}.offset", norm.offset), prefix=name)

    def _attention(self, module: WindowAttention, name: str, x: str) -> str:
        return emit_attention(self.graph, module, x, name, self._axis(0, x), self._axis(1, x))

    def _block_attention(self, module: BlockAttention, name: str, x: str) -> str:
        known = all(side is None or is_whole(side) for side in self.size)
        if self.graph.half or not self.decides or not known:
            return self._attention(module.exact, name, x)
        return emit_blocks(
            self.graph, module, x, name, self.size, lambda inner: self._attention(module.exact, f"{name}.exact", inner)
        )

    def _foreign(self, network: ForeignNetwork, name: str, x: str) -> str:
        graph = self.graph
        given = graph.node("Cast", x, prefix=name, to=graph.FLOAT16) if network.is_half else x
        result = graph.embed(network.graph, network.given, network.result, given, name)
        return graph.node("Cast", result, prefix=f"{name}.result", to=graph.FLOAT) if network.is_half else result

    def _axis(self, axis: int, x: str) -> AxisTensors:
        graph, prefix = self.graph, ("rows", "columns")[axis]
        known = self.size[axis]
        if known is not None:
            return fixed_axis(graph, known, prefix)
        shape = graph.node("Shape", x, prefix=prefix, start=2 + axis, end=3 + axis)
        return dynamic_axis(graph, graph.node("Squeeze", shape, graph.integers([0]), prefix=prefix), prefix)


def _unary(kind: str) -> Callable[[Graph, str, str], str]:
    return lambda graph, name, x: graph.node(kind, x, prefix=name)


def _binary(kind: str) -> Callable[..., str]:
    def emit(graph: Graph, name: str, a: str | float, b: str | float) -> str:
        left, right = (v if isinstance(v, str) else graph.number(v) for v in (a, b))
        return graph.node(kind, left, right, prefix=name)

    return emit


def _concatenate(graph: Graph, name: str, parts: Sequence[str], dim: int) -> str:
    return graph.node("Concat", *parts, prefix=name, axis=dim)


def _stack(graph: Graph, name: str, parts: Sequence[str], dim: int) -> str:
    axes = graph.integers([dim])
    return _concatenate(graph, name, [graph.node("Unsqueeze", part, axes, prefix=name) for part in parts], dim)


def _narrow(graph: Graph, name: str, x: str, dim: int, start: int, length: int) -> str:
    first, last, axes = (graph.integers([value]) for value in (start, start + length, dim))
    return graph.node("Slice", x, first, last, axes, prefix=name)


def _select(graph: Graph, name: str, x: str, dim: int, index: str | int) -> str:
    return graph.node("Gather", x, index, prefix=name, axis=dim)


def _reshape(graph: Graph, name: str, x: str, *sizes: int) -> str:
    return graph.node("Reshape", x, graph.integers(list(sizes)), prefix=name)


def _permute(graph: Graph, name: str, x: str, *order: int) -> str:
    return graph.node("Transpose", x, prefix=name, perm=list(order))


def _clamp(graph: Graph, name: str, x: str, low: float, high: float) -> str:
    return graph.node("Clip", x, graph.number(low), graph.number(high), prefix=name)


def _split(graph: Graph, name: str, x: str, sizes: list[int], dim: int) -> list[str]:
    return graph.node_many("Split", x, graph.integers(list(sizes)), outputs=len(sizes), prefix=name, axis=dim)


def _pixel_shuffle(graph: Graph, name: str, x: str, scale: int) -> str:
    return graph.node("DepthToSpace", x, prefix=name, blocksize=scale, mode="CRD")


def _nearest(graph: Graph, name: str, x: str, mode: str, scale_factor: int, **rest: object) -> str:
    if mode != "nearest" or any(rest.values()):
        raise ModelError(f"an enlargement with {mode} and {rest} has no ONNX form.")
    scales = graph.constant(f"scales:{scale_factor}", torch.tensor([1.0, 1.0, scale_factor, scale_factor]).numpy())
    return graph.node(
        "Resize", x, "", scales, prefix=name, mode="nearest",
        coordinate_transformation_mode="asymmetric", nearest_mode="floor",
    )  # fmt: skip


# What a traced generator calls, by function or by name of a tensor's method.
_FUNCTIONS: Mapping[Any, Callable[..., Any]] = {
    operator.add: _binary("Add"),
    operator.sub: _binary("Sub"),
    operator.mul: _binary("Mul"),
    operator.getitem: lambda _graph, _name, values, index: values[index],
    torch.cat: _concatenate,
    F.pixel_shuffle: _pixel_shuffle,
    F.interpolate: _nearest,
    torch.split: _split,
    torch.stack: _stack,
    "clamp": _clamp,
    "floor": _unary("Floor"),
    "index_select": _select,
    "narrow": _narrow,
    "permute": _permute,
    "reshape": _reshape,
    "round": _unary("Round"),
    "select": _select,
}
