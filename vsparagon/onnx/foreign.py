"""Networks by others, as ONNX graphs in the place of a torch module: they can only become part of a larger graph."""

from __future__ import annotations

from pathlib import Path

import onnx
import torch
from onnx import version_converter
from onnx.inliner import inline_local_functions
from torch import Tensor, nn

from vsparagon.errors import ModelError, reason_of
from vsparagon.onnx.builder import with_branches

LEAST_OPSET = 18  # of the graphs that `vsparagon.onnx.export` writes
OWN = ("", "ai.onnx")  # domains of ONNX's own operators


class ForeignNetwork(nn.Module):
    """A network of an ONNX file: N,C,H,W to N,C,scale*H,scale*W. torch cannot run it.

    Input and output count as float32, whatever the graph computes in: `vsparagon.onnx.emitter` adds the casts.

    Args:
        path: the ONNX file; its weights may be in files next to it.
        shift: enlarged pixels missing at the top and left of its result.

    Attributes:
        graph: the model, of opset `LEAST_OPSET` or later.
        given, result: names of its input and its output.
        is_half: whether it takes float16.
        gives_half: whether it returns float16.

    Raises:
        ModelError: the file cannot be read or converted, or has sparse weights or operators other than ONNX's own.
    """

    def __init__(self, path: Path, *, shift: int) -> None:
        super().__init__()
        self.shift = shift
        try:
            graph = inline_local_functions(onnx.load(path))
            strange = {node.domain for node in with_branches(graph.graph.node)} - set(OWN)
            if strange or graph.graph.sparse_initializer:
                what = f"operators of {', '.join(sorted(strange))}" if strange else "sparse weights"
                raise ModelError(f"{path.name} has {what}, which are not supported here; run it on the CPU.")
            version = next(entry.version for entry in graph.opset_import if entry.domain in OWN)
            del graph.opset_import[:]  # exporters also list domains that no node uses
            graph.opset_import.append(onnx.helper.make_opsetid("", version))
            if version < LEAST_OPSET:
                graph = version_converter.convert_version(graph, LEAST_OPSET)
        except ModelError:
            raise
        except Exception as error:  # errors of the library and of the file share no narrower base
            raise ModelError(f"{path} cannot be made part of a larger graph: {reason_of(error)}") from error
        self.graph = graph
        weights = {tensor.name for tensor in graph.graph.initializer}
        (given,) = (port for port in graph.graph.input if port.name not in weights)
        self.given, self.result = given.name, graph.graph.output[0].name
        self.is_half: bool = given.type.tensor_type.elem_type == onnx.TensorProto.FLOAT16
        self.gives_half: bool = graph.graph.output[0].type.tensor_type.elem_type == onnx.TensorProto.FLOAT16


class OnePlaneNetwork(nn.Module):
    """A one-plane network in the place of an RGB one: N,3,H,W with equal planes to N,3,scale*H,scale*W, likewise.

    Args:
        network: N,1,H,W to N,1,scale*H,scale*W.
    """

    def __init__(self, network: ForeignNetwork) -> None:
        super().__init__()
        self.network, self.shift = network, network.shift

    def forward(self, x: Tensor) -> Tensor:
        enlarged = self.network(x.narrow(1, 0, 1))
        return torch.cat([enlarged] * 3, 1)


def computes_half(network: nn.Module) -> bool:
    """Return whether a network, ours or by others, computes in float16."""
    foreign = [part.is_half for part in network.modules() if isinstance(part, ForeignNetwork)]
    return any(foreign) or any(weight.dtype == torch.float16 for weight in network.parameters())
