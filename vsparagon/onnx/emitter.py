"""Writes a torch module as ONNX nodes: it is traced symbolically, and each step is written.

The graph has no loops, even for dynamic sizes; only the tables of the attention's windows are computed from the size.
Its only branches are in block attention, because some pictures need attention in full. `torch.onnx` is not used: its
graphs for dynamic sizes differ between versions, and have to be cleaned up before TensorRT reads them.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import torch
from torch import fx, nn

from vsparagon.errors import ModelError
from vsparagon.models.attention import LocalWindowAttention, WindowAttention
from vsparagon.models.block_attention import BlockAttention, is_whole
from vsparagon.models.folding import ShiftedConv2d
from vsparagon.models.inference import FrameMean
from vsparagon.models.paragonsr2 import GlobalMean, RMSNorm
from vsparagon.models.tracing import traced
from vsparagon.onnx.attention import AxisTensors, dynamic_axis, emit_attention, fixed_axis
from vsparagon.onnx.block_attention import BlockEmitter
from vsparagon.onnx.builder import Graph
from vsparagon.onnx.foreign import ForeignNetwork
from vsparagon.onnx.functions import FUNCTIONS

TYPES = {torch.float32: Graph.FLOAT, torch.float16: Graph.FLOAT16, torch.uint8: Graph.BYTE}

_WHOLE = (GlobalMean, FrameMean, RMSNorm, LocalWindowAttention, BlockAttention, ShiftedConv2d, ForeignNetwork)


class Emitter:
    """Traces a module; `run` writes its steps and returns the name of the result, or the names of several.

    `run` raises ModelError for a step that has no ONNX form.

    Args:
        module: in the dtypes to compute in.
        graph: to write to; its `half` follows the dtype of each step's input.
        given: name of the input, or a sequence of names.
        size: height and width of what the attention sees, None where unknown.
        decides: whether the graph may branch; on a GPU, a branch would stall.
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
        with torch.enable_grad():  # without gradients, a generator works in strips to save memory
            self.traced = traced(module, _WHOLE)
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
            return self.graph.node("Cast", args[0], prefix=node.name, to=TYPES[args[1]])
        if node.op == "call_module":
            return self._module(target, str(args[0]))
        key = node.target if node.op == "call_function" else target
        if key not in FUNCTIONS:
            raise ModelError(f"the step {key} of this network has no ONNX form.")
        return FUNCTIONS[key](self.graph, node.name, *args, **node.kwargs)

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
        blocks = BlockEmitter(self.graph, module, x, name, self.size)
        return blocks.emit(lambda inner: self._attention(module.exact, f"{name}.exact", inner))

    def _foreign(self, network: ForeignNetwork, name: str, x: str) -> str:
        graph = self.graph
        given = graph.node("Cast", x, prefix=name, to=graph.FLOAT16) if network.is_half else x
        result = graph.embed(network.graph, network.given, network.result, given, name)
        return graph.node("Cast", result, prefix=f"{name}.result", to=graph.FLOAT) if network.gives_half else result

    def _axis(self, axis: int, x: str) -> AxisTensors:
        graph, prefix = self.graph, ("rows", "columns")[axis]
        known = self.size[axis]
        if known is not None:
            return fixed_axis(graph, known, prefix)
        shape = graph.node("Shape", x, prefix=prefix, start=2 + axis, end=3 + axis)
        return dynamic_axis(graph, graph.node("Squeeze", shape, graph.integers([0]), prefix=prefix), prefix)
