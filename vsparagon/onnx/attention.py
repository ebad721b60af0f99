"""Window attention as ONNX nodes: the same computation as `vsparagon.models.attention.WindowAttention`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from vsparagon.models.attention import OVERLAP, WINDOW, WindowAttention, axis_windows
from vsparagon.onnx.builder import Graph

OUTSIDE = -30000.0  # added to the logits of positions beyond the border; fits every float type


@dataclass(frozen=True)
class AxisTensors:
    """`vsparagon.models.attention.AxisWindows` as names of tensors in a graph, and the shape of `source`.

    Attributes:
        source: int64 (windows, size).
        outside: float32 (windows, size), `OUTSIDE` where a position lies beyond the axis, else 0; "" if none does.
        length: float32 (windows,).
        first, second: int64 (pixels,).
        first_weight, second_weight: float32 (pixels,).
        count, size: int64 (1,).
    """

    source: str
    outside: str
    length: str
    first: str
    second: str
    first_weight: str
    second_weight: str
    count: str
    size: str


def fixed_axis(graph: Graph, pixels: int, prefix: str) -> AxisTensors:
    """Add the tables of an axis of known length as constants."""
    table = axis_windows(pixels, torch.device("cpu"))

    def constant(name: str, value: torch.Tensor) -> str:
        dtype = np.float32 if value.is_floating_point() else np.int64
        return graph.constant(f"{prefix}.{name}", value.numpy().astype(dtype))

    whole = bool(table.inside.all())
    return AxisTensors(
        source=constant("source", table.source),
        outside="" if whole else constant("outside", torch.zeros(table.inside.shape).where(table.inside, OUTSIDE)),
        length=constant("length", table.length.float()),
        first=constant("first", table.first),
        second=constant("second", table.second),
        first_weight=constant("first_weight", table.first_weight),
        second_weight=constant("second_weight", table.second_weight),
        count=constant("count", torch.tensor([table.source.shape[0]])),
        size=constant("size", torch.tensor([table.source.shape[1]])),
    )


def dynamic_axis(graph: Graph, pixels: str, prefix: str) -> AxisTensors:
    """Add nodes that compute the tables of an axis from its length, an int64 scalar of at least 4.

    The formulas are those of `axis_windows`.
    """

    def op(kind: str, *inputs: str | int | float, **attributes: object) -> str:
        return graph.node(kind, *inputs, prefix=prefix, **attributes)

    def to_float(name: str) -> str:
        return op("Cast", name, to=graph.FLOAT)

    size = op("Min", pixels, WINDOW)
    overlap = op("Min", op("Div", size, 4), OVERLAP)
    step = op("Sub", size, overlap)
    count = op("Div", op("Sub", op("Add", pixels, overlap), 1), step)
    axis = graph.integers([0])
    start = op("Mul", op("Range", 0, count, 1), step)
    position = op("Add", op("Unsqueeze", start, graph.integers([1])), op("Range", 0, size, 1))
    inside = op("Less", position, pixels)

    pixel = op("Range", 0, pixels, 1)
    window = op("Min", op("Div", pixel, step), op("Sub", count, 1))
    offset = op("Sub", pixel, op("Mul", window, step))
    length = op("Min", op("Sub", pixels, op("Mul", window, step)), size)
    rise_over = to_float(op("Max", op("Sub", op("Min", op("Div", length, 4), overlap), 1), 1))
    fall_over = to_float(op("Max", op("Sub", overlap, 1), 1))
    later = op("Greater", window, 0)
    ends = op("Add", op("Mul", op("Add", window, 1), step), overlap)

    rise = op("Where", later, op("Div", to_float(offset), rise_over), 1.0)
    fall = op("Div", to_float(op("Sub", op("Sub", size, 1), offset)), fall_over)
    fall = op("Where", op("Less", ends, pixels), op("Max", fall, 0.0), 1.0)
    weight = op("Mul", op("Min", rise, 1.0), op("Min", fall, 1.0))
    weight = op("Where", op("Less", offset, size), weight, 0.0)
    before = op("Div", to_float(op("Sub", op("Sub", overlap, 1), offset)), fall_over)
    before = op("Where", later, op("Max", before, 0.0), 0.0)
    total = op("Add", weight, before)
    # Every total above 0 is at least 1/7, the first step of a ramp.
    share = op("Div", op("Cast", op("Greater", total, 0.0), to=graph.FLOAT), op("Max", total, 0.01))

    first = op("Add", op("Mul", window, size), op("Min", offset, op("Sub", size, 1)))
    return AxisTensors(
        source=op("Min", position, op("Sub", pixels, 1)),
        outside=op("Where", inside, 0.0, OUTSIDE),
        length=to_float(op("Min", op("Sub", pixels, start), size)),
        first=first,
        second=op("Max", op("Sub", first, overlap), 0),
        first_weight=op("Mul", weight, share),
        second_weight=op("Mul", before, share),
        count=op("Unsqueeze", count, axis),
        size=op("Unsqueeze", size, axis),
    )


def emit_attention(
    graph: Graph, module: WindowAttention, x: str, name: str, rows: AxisTensors, columns: AxisTensors
) -> str:
    """Add the nodes of `WindowAttention.forward` and return the name of the result. The softmax is in float32.

    Args:
        graph: to write to.
        module: what to write.
        x: name of the input, 1,D,H,W; the result is 1,D',H,W.
        name: prefix of the nodes' names.
        rows, columns: the windows along both axes.
    """

    def op(kind: str, *inputs: str | int | float, **attributes: object) -> str:
        return graph.node(kind, *inputs, prefix=name, **attributes)

    axes = graph.integers
    maps = (module.query, module.key, module.value)
    reduced, channels = module.query.out_channels, module.value.out_channels
    weight = torch.cat([conv.weight for conv in maps])
    bias = torch.cat([conv.bias for conv in maps if conv.bias is not None])
    merged = op("Conv", x, graph.weight(f"{name}.qkv.weight", weight), graph.weight(f"{name}.qkv.bias", bias))

    # 1,C,H,W -> C,down,height,across,width -> windows, pixels, C
    cut = op("Gather", op("Squeeze", merged, axes([0])), rows.source, axis=1)
    cut = op("Gather", cut, columns.source, axis=3)
    cut = op("Transpose", cut, perm=[1, 3, 2, 4, 0])
    pixels = op("Mul", rows.size, columns.size)
    total = 2 * reduced + channels
    cut = op("Reshape", cut, op("Concat", axes([-1]), pixels, axes([total]), axis=0))
    split = graph.node_many("Split", cut, axes([reduced, reduced, channels]), outputs=3, prefix=name, axis=2)
    query, key, value = split

    # logits are divided by the square root of the pixels in the window: windows,1,1
    area = op("Mul", op("Unsqueeze", rows.length, axes([1])), columns.length)
    scale = graph.from_float(op("Reshape", op("Reciprocal", op("Sqrt", area)), axes([-1, 1, 1])), name)
    logits = op("MatMul", op("Mul", query, scale), op("Transpose", key, perm=[0, 2, 1]))
    logits = graph.to_float(logits, name)
    if rows.outside or columns.outside:
        down = op("Unsqueeze", rows.outside, axes([1, 3])) if rows.outside else 0.0
        across = op("Unsqueeze", columns.outside, axes([0, 2])) if columns.outside else 0.0
        shape = op("Concat", rows.count, columns.count, rows.size, columns.size, axis=0)
        mask = op("Expand", op("Add", down, across), shape)
        logits = op("Add", logits, op("Reshape", mask, op("Concat", axes([-1, 1]), pixels, axis=0)))
    attended = op("MatMul", graph.from_float(op("Softmax", logits, axis=2), name), value)

    # windows, pixels, D -> D, rows of all windows, columns of all windows
    shape = op("Concat", rows.count, columns.count, rows.size, columns.size, axes([channels]), axis=0)
    flat = op("Transpose", op("Reshape", attended, shape), perm=[4, 0, 2, 1, 3])
    height, width = op("Mul", rows.count, rows.size), op("Mul", columns.count, columns.size)
    flat = op("Reshape", flat, op("Concat", axes([1, channels]), height, width, axis=0))
    flat = _blend(graph, flat, rows, 2, name)
    return _blend(graph, flat, columns, 3, name)


def _blend(graph: Graph, flat: str, windows: AxisTensors, axis: int, name: str) -> str:
    def part(index: str, weight: str) -> str:
        shaped = graph.from_float(graph.node("Reshape", weight, graph.integers([-1] + [1] * (3 - axis))), name)
        return graph.node("Mul", graph.node("Gather", flat, index, prefix=name, axis=axis), shaped, prefix=name)

    first, second = part(windows.first, windows.first_weight), part(windows.second, windows.second_weight)
    return graph.node("Add", first, second, prefix=name)
