"""A small builder of ONNX graphs: named nodes, shared constants, one float type throughout."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper


class Graph:
    """Nodes and constants in the order in which they were added.

    Weights and float scalars take the graph's type, float32 or float16; a Python number given as a node's input
    becomes a scalar constant: float32 for a float, int64 for an int.
    """

    FLOAT: Final = TensorProto.FLOAT
    FLOAT16: Final = TensorProto.FLOAT16

    def __init__(self, *, half: bool) -> None:
        self.half = half
        self.type = self.FLOAT16 if half else self.FLOAT
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[str, onnx.TensorProto] = {}
        self._taken: dict[str, int] = {}

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

    def constant(self, name: str, value: npt.NDArray[Any]) -> str:
        """Add a constant as it is, once, and return its name."""
        if name not in self._constants:
            self._constants[name] = numpy_helper.from_array(np.asarray(value, order="C"), name)
        return name

    def weight(self, name: str, value: torch.Tensor) -> str:
        """Add a constant in the graph's float type."""
        dtype = np.float16 if self.half else np.float32
        return self.constant(name, value.detach().cpu().float().numpy().astype(dtype))

    def number(self, value: float) -> str:
        """Add a scalar in the graph's float type."""
        kind = "half" if self.half else "float"
        return self.constant(f"{kind}:{value!r}", np.array(value, np.float16 if self.half else np.float32))

    def integers(self, values: list[int]) -> str:
        """Add a list of int64, as axes and shapes are given."""
        return self.constant("ints:" + ",".join(map(str, values)), np.array(values, np.int64))

    def to_float(self, name: str, prefix: str = "") -> str:
        """Return the tensor in float32, from the graph's type."""
        return self.node("Cast", name, prefix=prefix, to=self.FLOAT) if self.half else name

    def from_float(self, name: str, prefix: str = "") -> str:
        """Return the tensor in the graph's type, from float32."""
        return self.node("Cast", name, prefix=prefix, to=self.FLOAT16) if self.half else name

    def model(
        self, result: str, input_shape: list[int | str], output_shape: list[int | str], opset: int
    ) -> onnx.ModelProto:
        """Return the model from `input` to `output`, both of the graph's type; `result` becomes `output`."""
        self._nodes.append(helper.make_node("Identity", [result], ["output"], name="output"))
        graph = helper.make_graph(
            self._nodes,
            "vsparagon",
            [helper.make_tensor_value_info("input", self.type, input_shape)],
            [helper.make_tensor_value_info("output", self.type, output_shape)],
            list(self._constants.values()),
        )
        # The IR version of opset 18's time: readers refuse newer ones than they know.
        return helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8, producer_name="vsparagon"
        )

    def _scalar(self, value: float) -> str:
        if isinstance(value, int):
            return self.constant(f"int:{value}", np.array(value, np.int64))
        return self.constant(f"float:{value!r}", np.array(value, np.float32))

    def _unique(self, name: str) -> str:
        count = self._taken.get(name, 0)
        self._taken[name] = count + 1
        return f"{name}.{count}" if count else name
