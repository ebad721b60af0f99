"""Attention in blocks as ONNX nodes: the same computation as `vsparagon.models.block_attention.BlockAttention`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from vsparagon.models.attention import WINDOW
from vsparagon.models.block_attention import (
    BLOCK,
    NARROWEST,
    SMALLEST,
    STEP,
    STRIDE,
    TAIL,
    TOLERANCE,
    BlockAttention,
    axis_blocks,
    lagrange,
    largest_r,
    last_coefficients,
    positions,
)
from vsparagon.onnx.builder import Graph

AREA = BLOCK * BLOCK  # pixels of a block


@dataclass(frozen=True)
class BlockTensors:
    """`vsparagon.models.block_attention.AxisBlocks` as names of tensors in a graph.

    Attributes:
        windows: int64 (blocks, 2).
        weights: float32 (blocks, 8, 2).
    """

    windows: str
    weights: str


def fixed_blocks(graph: Graph, pixels: int, prefix: str) -> BlockTensors:
    """Add the tables of an axis of 24a + 8 pixels as constants."""
    table = axis_blocks(pixels // BLOCK, torch.device("cpu"))
    return BlockTensors(
        windows=graph.constant(f"{prefix}.windows", table.windows.numpy()),
        weights=graph.constant(f"{prefix}.weights", table.weights.numpy()),
    )


def dynamic_blocks(graph: Graph, pixels: str, prefix: str) -> BlockTensors:
    """Add nodes that compute the tables of an axis from its length, int64 (1,), as `axis_blocks` does."""

    def op(kind: str, *inputs: str | int | float, **attributes: object) -> str:
        return graph.node(kind, *inputs, prefix=prefix, **attributes)

    one, last = graph.integers([1]), graph.integers([-1])
    count = op("Squeeze", op("Div", pixels, BLOCK), graph.integers([0]))
    block = op("Range", 0, count, 1)
    final = op("Sub", op("Div", op("Sub", count, 1), STEP), 1)  # index of the last window, if all are whole
    later = op("Min", op("Div", block, STEP), final)
    earlier = op("Min", op("Div", op("Max", op("Sub", block, 1), 0), STEP), final)
    shared = op("Unsqueeze", op("Not", op("Equal", later, earlier)), one)
    ramp = graph.constant("blocks.ramp", (np.arange(BLOCK) / (BLOCK - 1)).astype(np.float32))
    weight = op("Where", shared, ramp, 1.0)
    return BlockTensors(
        windows=op("Concat", op("Unsqueeze", later, one), op("Unsqueeze", earlier, one), axis=1),
        weights=op("Concat", op("Unsqueeze", weight, last), op("Unsqueeze", op("Sub", 1.0, weight), last), axis=2),
    )


class BlockEmitter:
    """Adds the nodes of `BlockAttention.forward`, in float32, to a graph.

    Args:
        graph: to write to.
        module: what to write.
        x: name of the input, 1,D+1,H,W, whose sides have at least 32 pixels.
        name: prefix of the nodes' names.
        size: height and width, None where unknown; known ones must be whole windows (`is_whole`).
    """

    def __init__(
        self, graph: Graph, module: BlockAttention, x: str, name: str, size: tuple[int | None, int | None]
    ) -> None:
        self._graph, self._module, self._x, self._name, self._size = graph, module, x, name, size
        self._points = module.points
        self._channels, self._outputs = module.value.shape
        # Costs nothing in a runtime that keeps its maps channels-last.
        self._nhwc = self._op("Transpose", x, perm=[0, 2, 3, 1])

    def emit(self, exact: Callable[[str], str]) -> str:
        """Add the nodes and return the name of the result, 1,out,H,W.

        Args:
            exact: adds the nodes of full attention for an input of that name, inside their branch; returns the name of
                their result.
        """
        op = self._op
        logits = op(
            "Conv", self._x, self._graph.weight(f"{self._name}.query_key", self._module.query_key[..., None, None])
        )
        query, key = self._graph.node_many("Split", logits, self._axes(1, 1), outputs=2, prefix=self._name, axis=1)
        (q_middle, q_half), (k_middle, k_half) = self._middle_and_half(query), self._middle_and_half(key)
        q_half = op("Max", q_half, NARROWEST)
        values = self._values(key, k_middle, q_middle, q_half)
        follow = self._follow(values, q_half, k_half)
        rows, columns = self._tables()
        terms = self._terms(query, q_middle, q_half, rows, columns)
        result = self._interpolated(values, terms, rows, columns)

        def polynomials() -> str:
            # Only the last step is in the branch: OpenVINO fuses nothing in a branch, and copies what goes in and out.
            maps = op("Transpose", result, perm=[0, 2, 1, 3, 4])
            return op("Reshape", maps, self._shape(1, self._side(0), self._side(1), self._outputs))

        def in_full() -> str:
            return op("Transpose", exact(op("Transpose", self._nhwc, perm=[0, 3, 1, 2])), perm=[0, 2, 3, 1])

        chosen = self._graph.choice(follow, polynomials, in_full, prefix=self._name)
        return op("Transpose", chosen, perm=[0, 3, 1, 2])

    def _values(self, key: str, k_middle: str, q_middle: str, q_half: str) -> str:
        """Return the attention's result at the points of each window: windows, points, out."""
        op, points, channels = self._op, self._points, self._channels
        at = op("Add", op("Mul", self._constant("positions", positions(points)[:, None]), q_half), q_middle)
        offsets = op("Sub", self._blocks(key, 1, -1, 1, AREA), k_middle)
        weights = op("Exp", op("Mul", offsets, at))  # blocks, points, pixels
        by_block = op("MatMul", weights, self._blocks(self._nhwc, channels, -1, AREA, channels))
        maps = op("Reshape", by_block, self._shape(self._count(0), self._count(1), points * channels))
        maps = op("Transpose", maps, perm=[2, 0, 1])
        span = WINDOW // BLOCK
        pooled = op("AveragePool", op("Unsqueeze", maps, self._axes(0)), kernel_shape=[span] * 2, strides=[STEP] * 2)
        by_window = op("Transpose", op("Reshape", pooled, self._axes(points, channels, -1)), perm=[2, 0, 1])
        total = op("Slice", by_window, self._axes(channels - 1), self._axes(channels), self._axes(2))
        weight = self._graph.weight(f"{self._name}.value", self._module.value)
        return op("Div", op("MatMul", by_window, weight), total)

    def _follow(self, values: str, q_half: str, k_half: str) -> str:
        """Return whether the polynomials follow the attention closely enough."""
        op, points = self._op, self._points
        last = op("Abs", op("MatMul", self._constant("last", last_coefficients(points)), values))
        error = op("Mul", self._reduced("ReduceSum", self._reduced("ReduceMax", last, 0, 2), 0), TAIL)
        largest = op("Max", self._reduced("ReduceMax", op("Abs", values), 0, 1, 2), SMALLEST)
        follow = op("LessOrEqual", op("Div", error, largest), TOLERANCE)
        follow = op("And", follow, op("LessOrEqual", op("Mul", q_half, k_half), largest_r(points)))
        for axis in (0, 1):
            if self._size[axis] is None:
                whole = op("Equal", op("Mod", self._side(axis), STRIDE), BLOCK)
                follow = op("And", follow, op("Squeeze", whole, self._axes(0)))
        return follow

    def _tables(self) -> tuple[BlockTensors, BlockTensors]:
        rows, columns = (
            dynamic_blocks(self._graph, self._side(axis), prefix)
            if known is None
            else fixed_blocks(self._graph, known, prefix)
            for axis, known in enumerate(self._size)
            for prefix in (f"{self._name}.{axis}",)
        )
        return rows, columns

    def _terms(self, query: str, q_middle: str, q_half: str, rows: BlockTensors, columns: BlockTensors) -> str:
        """Return the weight of each point of each window for each pixel: down, across, 8, 8, lanes.

        There are 4 * points lanes: two windows down times two across, and the points of each.
        """
        op, points = self._op, self._points
        lanes = np.arange(4 * points) // points
        down = op("Gather", rows.weights, self._graph.constant("blocks.rows", lanes // 2), axis=2)
        across = op("Gather", columns.weights, self._graph.constant("blocks.columns", lanes % 2), axis=2)
        basis = lagrange(points)
        across = op("Mul", across, self._constant("factor", np.tile(basis.factor, 4)))
        scaled = op("Div", op("Sub", query, q_middle), q_half)
        u = self._blocks(scaled, 1, self._count(0), self._count(1), BLOCK, BLOCK, 1)
        square = op("Mul", u, u)
        terms = op("Add", u, self._constant("own", np.tile(basis.own, 4)))
        for index, other in enumerate(basis.others):
            terms = op("Mul", terms, op("Sub", square, self._constant(f"other{index}", np.tile(other, 4))))
        terms = op("Mul", terms, op("Unsqueeze", down, self._axes(1, 3)))
        return op("Mul", terms, op("Unsqueeze", across, self._axes(0, 2)))

    def _interpolated(self, values: str, terms: str, rows: BlockTensors, columns: BlockTensors) -> str:
        """Return the attention's result for each pixel: down, across, 8, 8, out."""
        op, points, outputs = self._op, self._points, self._outputs
        # the first of each row of windows
        first = op("Mul", rows.windows, op("Div", op("Sub", self._count(1), 1), STEP))
        window = op("Add", op("Unsqueeze", first, self._axes(1, 3)), op("Unsqueeze", columns.windows, self._axes(0, 2)))
        near = op("Gather", values, op("Reshape", window, self._axes(-1, 4)), axis=0)
        near = op("Reshape", near, self._axes(-1, 4 * points, outputs))
        result = op("MatMul", op("Reshape", terms, self._axes(-1, AREA, 4 * points)), near)
        return op("Reshape", result, self._shape(self._count(0), self._count(1), BLOCK, BLOCK, outputs))

    def _op(self, kind: str, *inputs: str | int | float, **attributes: object) -> str:
        return self._graph.node(kind, *inputs, prefix=self._name, **attributes)

    def _axes(self, *values: int) -> str:
        return self._graph.integers(list(values))

    def _constant(self, kind: str, value: npt.NDArray[np.float64]) -> str:
        return self._graph.constant(f"blocks.{self._points}.{kind}", value.astype(np.float32))

    def _side(self, axis: int) -> str:
        known = self._size[axis]
        if known is not None:
            return self._axes(known)
        return self._op("Shape", self._nhwc, start=1 + axis, end=2 + axis)

    def _count(self, axis: int) -> str:
        return self._op("Div", self._side(axis), BLOCK)

    def _shape(self, *parts: str | int) -> str:
        return self._op("Concat", *(self._axes(part) if isinstance(part, int) else part for part in parts), axis=0)

    def _blocks(self, maps: str, channels: int, *wanted: int | str) -> str:
        """Cut 1,H,W,C into down, across, 8, 8, C, in the shape `wanted`."""
        cut = self._op("Reshape", maps, self._shape(self._count(0), BLOCK, self._count(1), BLOCK, channels))
        return self._op("Reshape", self._op("Transpose", cut, perm=[0, 2, 1, 3, 4]), self._shape(*wanted))

    def _reduced(self, kind: str, values: str, *axes: int) -> str:
        return self._op(kind, values, self._axes(*axes), keepdims=0)

    def _middle_and_half(self, values: str) -> tuple[str, str]:
        low, high = (self._reduced(kind, values, 0, 1, 2, 3) for kind in ("ReduceMin", "ReduceMax"))
        op = self._op
        return op("Mul", op("Add", low, high), 0.5), op("Mul", op("Sub", high, low), 0.5)
