"""Find the reach of a foreign network from its graph: the margin that its tiles need to fit together exactly.

The reach is the larger one-sided extent of the receptive field. Every value of the graph is followed from the input to
the result, with how many source pixels before and after its own position each of its pixels depends on. Understands the
operators of plain convolutional networks; any other operator makes the reach unknown.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from vsparagon.models.variants import VECTOR

CHANNELS, ROWS, COLUMNS = 1, 2, 3  # axes of N,C,H,W
FEW = 4  # channels; more than these are padded to whole vectors
FLOAT = 4  # bytes per number; float16 graphs are computed in float32, too

# Operators of which each output pixel depends on the same pixel of every input, in the same way at every position.
POINTWISE = frozenset((
    "Abs", "Add", "BatchNormInference", "Ceiling", "Clamp", "Concat", "Convert", "Cos", "Divide", "Elu", "Erf",
    "Exp", "FakeQuantize", "Floor", "Gelu", "HardSigmoid", "HSigmoid", "HSwish", "Identity", "Log", "Maximum",
    "Minimum", "Mish", "Multiply", "Negative", "Power", "PRelu", "Relu", "Result", "Selu", "Sigmoid", "Sign", "Sin",
    "SoftPlus", "SoftSign", "Split", "Sqrt", "SquaredDifference", "Subtract", "Swish", "Tanh", "VariadicSplit",
))  # fmt: skip
BY_CHANNEL = frozenset(("BatchNormInference", "PRelu", "Split", "VariadicSplit"))  # take vectors as further inputs
REDUCTIONS = frozenset(("ReduceL1", "ReduceL2", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum", "MVN"))
# Pixels that interpolation looks at on each side, with room for a shift of half a pixel.
SUPPORT = {"nearest": 1, "linear": 2, "linear_onnx": 2, "cubic": 3}


class Unknown(Exception):
    """An operator whose receptive field is not known; the message names it."""


class LooksAtAll(Exception):
    """An operator that looks at the whole picture; the message names it."""


@dataclass(frozen=True, kw_only=True)
class Field:
    """The receptive field of a value in the graph along either axis, in source pixels.

    Pixel `n` of the value is at source position `n / rate`.

    Attributes:
        before, after: how many source pixels before and after its position a pixel depends on.
        rate: pixels of the value per source pixel.
    """

    before: Fraction = Fraction(0)
    after: Fraction = Fraction(0)
    rate: Fraction = Fraction(1)

    def wider(self, before: Fraction | int, after: Fraction | int, enlarged: int = 1) -> Field:
        """Return the field of a value computed from this one.

        Args:
            before, after: how many pixels of this value, before and after its position, a pixel of the new one needs.
            enlarged: how many times larger the new value is.
        """
        return Field(
            before=self.before + before / self.rate, after=self.after + after / self.rate, rate=self.rate * enlarged
        )


def reach_of(network: Any) -> int:
    """Return the reach of a network: the greatest distance at which a result pixel depends on the source, in pixels.

    Args:
        network: an OpenVINO model with one input and one output, of static shapes N,C,H,W.

    Raises:
        LooksAtAll: an operator takes statistics of the whole picture.
        Unknown: an operator is not one of those understood here.
    """
    fields: dict[Any, Field] = {}
    for step in network.get_ordered_ops():
        kind = step.get_type_name()
        if kind == "Parameter":
            fields[step.output(0)] = Field()
        elif seen := [fields[value] for value in step.input_values() if value in fields]:
            fields |= dict.fromkeys(step.outputs(), _field(step, kind, seen))
    result = fields[network.get_results()[0].input_value(0)]
    return max(0, math.ceil(max(result.before, result.after)))


def bytes_per_pixel(network: Any) -> int:
    """Return roughly how many bytes per input pixel a network needs for all values that are alive at the same time.

    Args:
        network: as in `reach_of`.
    """
    steps = network.get_ordered_ops()
    last = {value: at for at, step in enumerate(steps) for value in step.input_values()}
    alive: dict[Any, int] = {}
    most = 0
    for at, step in enumerate(steps):
        if step.get_type_name() == "Constant":
            continue
        alive |= {value: _numbers(value.shape) for value in step.outputs()}
        most = max(most, sum(alive.values()))
        alive = {value: size for value, size in alive.items() if last.get(value, 0) > at}
    height, width = network.input(0).shape[ROWS:]
    return FLOAT * math.ceil(most / int(height * width))


def _numbers(shape: Sequence[int]) -> int:
    """Return how many numbers a value of this shape occupies; more than `FEW` channels are padded to whole vectors."""
    channels = shape[CHANNELS] if len(shape) > CHANNELS else 1
    step = VECTOR if channels > FEW else 1
    return math.prod(shape) // channels * -(-channels // step) * step


def _field(step: Any, kind: str, seen: Sequence[Field]) -> Field:
    if kind in POINTWISE:
        return _pointwise(step, seen)
    if kind in REDUCTIONS:
        return _reduced(step, seen[0])
    field, attributes = seen[0], step.get_attributes()
    match kind:
        case "Convolution" | "GroupConvolution":
            _same_each_way(attributes["strides"], 1)
            before = attributes["pads_begin"]
            length = [(side - 1) * d for side, d in zip(_kernel(step), attributes["dilations"], strict=True)]
            after = [side - begin for side, begin in zip(length, before, strict=True)]
            return field.wider(max(before), max(after))
        case "ConvolutionBackpropData" | "GroupConvolutionBackpropData":
            factor = _enlargement(step)
            _same_each_way(attributes["strides"], factor)
            _same_each_way(attributes["dilations"], 1)
            before = [side - 1 - begin for side, begin in zip(_kernel(step), attributes["pads_begin"], strict=True)]
            return field.wider(
                Fraction(max(before), factor), Fraction(max(attributes["pads_begin"]), factor), enlarged=factor
            )
        case "DepthToSpace":
            factor = _enlargement(step)
            return field.wider(Fraction(factor - 1, factor), 0, enlarged=factor)
        case "Interpolate" if attributes["mode"] in SUPPORT:
            if attributes["coordinate_transformation_mode"] == "align_corners":
                raise Unknown("align_corners")
            return field.wider(SUPPORT[attributes["mode"]], SUPPORT[attributes["mode"]], enlarged=_enlargement(step))
        case "Pad":
            first = _constant(step.input_value(1))[ROWS:]
            return field.wider(max(first), -min(first))
    raise Unknown(kind)


def _pointwise(step: Any, seen: Sequence[Field]) -> Field:
    """Return the union of the inputs' fields.

    Raises:
        Unknown: their rates differ, or an input is a constant that varies over the picture, such as coordinates.
    """
    kind, given = step.get_type_name(), step.input_values()
    sizes = [tuple(value.shape)[-2:] for value in (given[:1] if kind in BY_CHANNEL else given)]
    pictures = [size for size in sizes if size not in ((), (1,), (1, 1))]
    if len(pictures) > len(seen) or len({*pictures, tuple(step.output(0).shape)[-2:]}) > 1:
        raise Unknown(kind)
    if len({field.rate for field in seen}) > 1:
        raise Unknown(kind)
    return Field(before=max(f.before for f in seen), after=max(f.after for f in seen), rate=seen[0].rate)


def _reduced(step: Any, field: Field) -> Field:
    axes = {int(axis) % len(step.input_value(0).shape) for axis in _constant(step.input_value(1)).ravel()}
    if axes & {ROWS, COLUMNS}:
        raise LooksAtAll(step.get_type_name())
    if axes != {CHANNELS}:
        raise Unknown(step.get_type_name())
    return field


def _kernel(step: Any) -> list[int]:
    return list(step.input_value(1).shape)[-2:]


def _enlargement(step: Any) -> int:
    """Return how many times larger the output of an operator is than its input.

    Raises:
        Unknown: it is not the same integer, at least 1, along both axes.
    """
    given, made = (list(port.shape)[ROWS:] for port in (step.input_value(0), step.output(0)))
    factor = int(made[0] // given[0])
    if not factor or made != [side * factor for side in given]:
        raise Unknown(step.get_type_name())
    return factor


def _same_each_way(values: Sequence[int], wanted: int) -> None:
    if set(values) != {wanted}:
        raise Unknown(f"steps of {list(values)}")


def _constant(value: Any) -> Any:
    node = value.get_node()
    if node.get_type_name() != "Constant":
        raise Unknown(node.get_type_name())
    return node.get_data()
