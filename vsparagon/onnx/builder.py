"""Builds ONNX graphs from named nodes and shared constants."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnx
import torch
from onnx import TensorProto, compose, helper, numpy_helper


class Graph:
    """Nodes and constants, in the order in which they were added. Tensors are referred to by name.

    A Python number given as a node's input becomes a scalar constant: float32 for a float, int64 for an int.

    Args:
        half: whether the graph starts in float16 rather than float32.

    Attributes:
        half: whether the steps now being added compute in float16; `number`, `to_float` and `from_float` follow it.
        type: the ONNX type that the graph starts in.
    """

    FLOAT: Final = TensorProto.FLOAT
    FLOAT16: Final = TensorProto.FLOAT16
    BYTE: Final = TensorProto.UINT8

    def __init__(self, *, half: bool) -> None:
        self.half = half
        self.type = self.FLOAT16 if half else self.FLOAT
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[str, onnx.TensorProto] = {}
        self._scope = ""  # of the branch that is being written
        self._taken: dict[str, int] = {}
        self._opset = 0  # latest version among embedded models

    def node(self, kind: str, *inputs: str | int | float, prefix: str = "", **attributes: Any) -> str:
        """Add a node with one output and return the name of the output."""
        return self.node_many(kind, *inputs, outputs=1, prefix=prefix, **attributes)[0]

    def node_many(
        self, kind: str, *inputs: str | int | float, outputs: int, prefix: str = "", **attributes: Any
    ) -> list[str]:
        """Add a node and return the names of its outputs."""
        names = [i if isinstance(i, str) else self._scalar(i) for i in inputs]
        name = self._unique(f"{prefix}/{kind}" if prefix else kind)
        results = [name] if outputs == 1 else [f"{name}.{i}" for i in range(outputs)]
        self._nodes.append(helper.make_node(kind, names, results, name=name, **attributes))
        return results

    def choice(self, condition: str, then: Callable[[], str], otherwise: Callable[[], str], prefix: str = "") -> str:
        """Add a float32 result that one of two branches computes, and return its name.

        Each branch has its own constants: OpenVINO treats constants from outside a branch as variable.

        Args:
            condition: name of a bool tensor.
            then, otherwise: add the nodes of a branch and return the name of its result; nothing outside the branch may
                use what they add.
            prefix: of the names, as for `node`.
        """
        branches = [self._branch(way, f"{prefix}.{word}") for way, word in ((then, "then"), (otherwise, "else"))]
        return self.node("If", condition, prefix=prefix, then_branch=branches[0], else_branch=branches[1])

    def _branch(self, way: Callable[[], str], name: str) -> onnx.GraphProto:
        outside = self._nodes, self._constants, self._scope
        self._nodes, self._constants, self._scope = [], {}, f"{name}:"
        result = helper.make_tensor_value_info(way(), self.FLOAT, None)
        branch = helper.make_graph(self._nodes, name, [], [result], list(self._constants.values()))
        self._nodes, self._constants, self._scope = outside
        return branch

    def embed(self, model: onnx.ModelProto, given: str, result: str, x: str, prefix: str) -> str:
        """Add the nodes of another model and return the name of its result.

        Args:
            model: uses ONNX's own operators only; if their version is later, the whole graph takes it over.
            given, result: names of its input and its output.
            x: name of the tensor that becomes its input.
            prefix: of its names. The same model may be added again with the same prefix; it then shares its constants.
        """
        (entry,) = model.opset_import
        self._opset = max(self._opset, entry.version)
        place = self._unique(prefix)
        inner = compose.add_prefix(model, f"{place}/").graph
        names = {f"{place}/{given}": x}
        for tensor in inner.initializer:
            names[tensor.name] = name = prefix + tensor.name.removeprefix(place)
            tensor.name = name
            self._constants.setdefault(name, tensor)
        for node in with_branches(inner.node):
            node.input[:] = [names.get(name, name) for name in node.input]
        self._nodes.extend(inner.node)
        return f"{place}/{result}"

    def constant(self, name: str, value: npt.NDArray[Any]) -> str:
        """Add a constant in its own dtype, once per name, and return its name."""
        name = self._scope + name
        if name not in self._constants:
            self._constants[name] = numpy_helper.from_array(np.asarray(value, order="C"), name)
        return name

    def weight(self, name: str, value: torch.Tensor) -> str:
        """Add a tensor as a constant in its own dtype, once per name, and return its name."""
        return self.constant(name, value.detach().cpu().numpy())

    def number(self, value: float) -> str:
        """Add a scalar in the current float type and return its name."""
        kind = "half" if self.half else "float"
        return self.constant(f"{kind}:{value!r}", np.array(value, np.float16 if self.half else np.float32))

    def integers(self, values: list[int]) -> str:
        """Add an int64 list, for axes and shapes, and return its name."""
        return self.constant("ints:" + ",".join(map(str, values)), np.array(values, np.int64))

    def to_float(self, name: str, prefix: str = "") -> str:
        """Cast a tensor from the current float type to float32, if they differ; return its name."""
        return self.node("Cast", name, prefix=prefix, to=self.FLOAT) if self.half else name

    def from_float(self, name: str, prefix: str = "") -> str:
        """Cast a tensor from float32 to the current float type, if they differ; return its name."""
        return self.node("Cast", name, prefix=prefix, to=self.FLOAT16) if self.half else name

    def model(
        self,
        inputs: Mapping[str, tuple[int, Sequence[int | str]]],
        outputs: Mapping[str, tuple[str, int, Sequence[int | str]]],
        opset: int,
    ) -> onnx.ModelProto:
        """Return the graph as a model.

        Args:
            inputs: ONNX type and shape of each input, by name.
            outputs: for each output, by name: the tensor that becomes it, its ONNX type and its shape.
            opset: lowest version of ONNX's operators; an embedded model may raise it.
        """
        # TensorRT takes uint8 only as inputs and outputs, so results are renamed, with no node in between.
        names = {result: name for name, (result, _, _) in outputs.items()}
        for node in with_branches(self._nodes):
            for side in (node.input, node.output):
                side[:] = [names.get(tensor, tensor) for tensor in side]
        graph = helper.make_graph(
            self._nodes,
            "vsparagon",
            [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in inputs.items()],
            [helper.make_tensor_value_info(name, kind, shape) for name, (_, kind, shape) in outputs.items()],
            list(self._constants.values()),
        )
        operators = [helper.make_opsetid("", max(opset, self._opset))]
        # The oldest that will do: readers refuse versions newer than they know.
        oldest = helper.find_min_ir_version_for(operators)
        return helper.make_model(graph, opset_imports=operators, ir_version=oldest, producer_name="vsparagon")

    def _scalar(self, value: float) -> str:
        if isinstance(value, int):
            return self.constant(f"int:{value}", np.array(value, np.int64))
        return self.constant(f"float:{value!r}", np.array(value, np.float32))

    def _unique(self, name: str) -> str:
        count = self._taken.get(name, 0)
        self._taken[name] = count + 1
        return f"{name}.{count}" if count else name


def with_branches(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    """Yield nodes and, after each, the nodes of the graphs inside it."""
    for node in nodes:
        yield node
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from with_branches(attribute.g.node)
