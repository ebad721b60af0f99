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


def emit_blocks(
    graph: Graph,
    module: BlockAttention,
    x: str,
    name: str,
    size: tuple[int | None, int | None],
    exact: Callable[[str], str],
) -> str:
    """Add the nodes of `BlockAttention.forward` in float32 and return the name of the result, 1,out,H,W.

    Args:
        graph: to write to.
        module: what to write.
        x: name of the input, 1,D+1,H,W, whose sides have at least 32 pixels.
        name: prefix of the nodes' names.
        size: height and width, None where unknown; known ones must be whole windows (`is_whole`).
        exact: adds the nodes of full attention for an input of that name, inside their branch; returns the name of
            their result.
    """
    points, area = module.points, BLOCK * BLOCK
    channels, outputs = module.value.shape
    axes = graph.integers

    def op(kind: str, *inputs: str | int | float, **attributes: object) -> str:
        return graph.node(kind, *inputs, prefix=name, **attributes)

    def constant(kind: str, value: npt.NDArray[np.float64]) -> str:
        return graph.constant(f"blocks.{points}.{kind}", value.astype(np.float32))

    def side(axis: int) -> str:
        known = size[axis]
        return axes([known]) if known is not None else op("Shape", nhwc, start=1 + axis, end=2 + axis)

    def count(axis: int) -> str:
        return op("Div", side(axis), BLOCK)

    def shape(*parts: str | int) -> str:
        return op("Concat", *(axes([part]) if isinstance(part, int) else part for part in parts), axis=0)

    def blocks(maps: str, channels: int, *wanted: int | str) -> str:
        """Cut 1,H,W,C into down, across, 8, 8, C, in the shape `wanted`."""
        cut = op("Reshape", maps, shape(count(0), BLOCK, count(1), BLOCK, channels))
        return op("Reshape", op("Transpose", cut, perm=[0, 2, 1, 3, 4]), shape(*wanted))

    def reduced(kind: str, values: str, *which: int) -> str:
        return op(kind, values, axes(list(which)), keepdims=0)

    def middle_and_half(values: str) -> tuple[str, str]:
        low, high = (reduced(kind, values, 0, 1, 2, 3) for kind in ("ReduceMin", "ReduceMax"))
        return op("Mul", op("Add", low, high), 0.5), op("Mul", op("Sub", high, low), 0.5)

    # Costs nothing in a runtime that keeps its maps channels-last.
    nhwc = op("Transpose", x, perm=[0, 2, 3, 1])
    logits = op("Conv", x, graph.weight(f"{name}.query_key", module.query_key[..., None, None]))
    query, key = graph.node_many("Split", logits, axes([1, 1]), outputs=2, prefix=name, axis=1)
    (q_middle, q_half), (k_middle, k_half) = middle_and_half(query), middle_and_half(key)
    q_half = op("Max", q_half, NARROWEST)

    at = op("Add", op("Mul", constant("positions", positions(points)[:, None]), q_half), q_middle)
    weights = op("Exp", op("Mul", op("Sub", blocks(key, 1, -1, 1, area), k_middle), at))  # blocks, points, pixels
    sums = op("MatMul", weights, blocks(nhwc, channels, -1, area, channels))
    sums = op("Transpose", op("Reshape", sums, shape(count(0), count(1), points * channels)), perm=[2, 0, 1])
    span = WINDOW // BLOCK
    pooled = op("AveragePool", op("Unsqueeze", sums, axes([0])), kernel_shape=[span] * 2, strides=[STEP] * 2)
    sums = op("Transpose", op("Reshape", pooled, axes([points, channels, -1])), perm=[2, 0, 1])
    total = op("Slice", sums, axes([channels - 1]), axes([channels]), axes([2]))
    values = op("Div", op("MatMul", sums, graph.weight(f"{name}.value", module.value)), total)  # windows, points, out

    last = op("Abs", op("MatMul", constant("last", last_coefficients(points)), values))
    error = op("Mul", reduced("ReduceSum", reduced("ReduceMax", last, 0, 2), 0), TAIL)
    largest = op("Max", reduced("ReduceMax", op("Abs", values), 0, 1, 2), SMALLEST)
    follow = op("LessOrEqual", op("Div", error, largest), TOLERANCE)
    follow = op("And", follow, op("LessOrEqual", op("Mul", q_half, k_half), largest_r(points)))
    for axis in (0, 1):
        if size[axis] is None:
            whole = op("Equal", op("Mod", side(axis), STRIDE), BLOCK)
            follow = op("And", follow, op("Squeeze", whole, axes([0])))

    tables = []
    for number, known in enumerate(size):
        prefix = f"{name}.{number}"
        tables.append(
            dynamic_blocks(graph, side(number), prefix) if known is None else fixed_blocks(graph, known, prefix)
        )
    rows, columns = tables
    # 4 * points lanes per pixel: two windows down times two across, and the points of each
    lanes = np.arange(4 * points) // points
    down = op("Gather", rows.weights, graph.constant("blocks.rows", lanes // 2), axis=2)
    across = op("Gather", columns.weights, graph.constant("blocks.columns", lanes % 2), axis=2)
    basis = lagrange(points)
    across = op("Mul", across, constant("factor", np.tile(basis.factor, 4)))
    u = blocks(op("Div", op("Sub", query, q_middle), q_half), 1, count(0), count(1), BLOCK, BLOCK, 1)
    square = op("Mul", u, u)
    terms = op("Add", u, constant("own", np.tile(basis.own, 4)))
    for index, other in enumerate(basis.others):
        terms = op("Mul", terms, op("Sub", square, constant(f"other{index}", np.tile(other, 4))))
    terms = op("Mul", terms, op("Unsqueeze", down, axes([1, 3])))
    terms = op("Mul", terms, op("Unsqueeze", across, axes([0, 2])))

    first = op("Mul", rows.windows, op("Div", op("Sub", count(1), 1), STEP))  # first of each row of windows
    window = op("Add", op("Unsqueeze", first, axes([1, 3])), op("Unsqueeze", columns.windows, axes([0, 2])))
    chosen = op("Gather", values, op("Reshape", window, axes([-1, 4])), axis=0)
    chosen = op("Reshape", chosen, axes([-1, 4 * points, outputs]))
    result = op("MatMul", op("Reshape", terms, axes([-1, area, 4 * points])), chosen)
    result = op("Reshape", result, shape(count(0), count(1), BLOCK, BLOCK, outputs))

    def polynomials() -> str:
        # Only the last step is in the branch: OpenVINO fuses nothing in a branch, and copies its inputs and outputs.
        maps = op("Transpose", result, perm=[0, 2, 1, 3, 4])
        return op("Reshape", maps, shape(1, side(0), side(1), outputs))

    def in_full() -> str:
        return op("Transpose", exact(op("Transpose", nhwc, perm=[0, 3, 1, 2])), perm=[0, 2, 3, 1])

    chosen = graph.choice(follow, polynomials, in_full, prefix=name)
    return op("Transpose", chosen, perm=[0, 3, 1, 2])
