"""Functions of torch and methods of tensors as ONNX nodes: those that the traced networks call."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.nn import functional as F  # noqa: N812 -- its usual name

from vsparagon.errors import ModelError
from vsparagon.onnx.builder import Graph


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


# By function, or by name of a method. Each takes the graph, a prefix for names, and the call's arguments.
FUNCTIONS: Mapping[Any, Callable[..., Any]] = {
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
