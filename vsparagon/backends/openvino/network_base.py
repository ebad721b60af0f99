"""Separates a generator's base from the detail that the network adds to it.

Repeated pixels cost less if the copy to the frame adds them than in the graph. In bfloat16 any other base is
separated, too, and stays in float32: bfloat16 rounds a picture by up to two 8-bit steps, but the detail is far smaller.
The detail is then computed from the picture minus 0.5, which halves the rounding of bright parts.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from vsparagon.colours.layout import Array
from vsparagon.errors import ModelError
from vsparagon.models.variants import COLOURS

# Names of weights in the graph, for every arrangement of the inference forms.
CONTEXT, TAIL = "body.0.blocks.0.context.weight", "tail.weight"  # base carried (`vsparagon.models.carried`)
SHARPEN, SMOOTH = "sharpen.weight", "smooth.weight"  # base not carried
FIRST = ("conv_in", "body.0")
MIDDLE = 0.5  # subtracted from the picture


def anchor_apart(network: Any, scale: int) -> bool:
    """Remove the repeated pixels from a network that ends by adding them.

    Args:
        network: its output is the phases of the result, 1,colours*scale*scale,H,W; changed in place.
        scale: enlargement.

    Returns:
        Whether there were any; if not, the network is unchanged.
    """
    last = network.get_results()[0].input_value(0).get_node()
    if last.get_type_name() != "Add":
        return False
    for anchor, rest in ((0, 1), (1, 0)):
        step = last.input_value(anchor).get_node()
        if step.get_type_name() != "Convolution":
            continue
        picture, kernel = (step.input_value(i).get_node() for i in range(2))
        known = (picture.get_type_name(), kernel.get_type_name()) == ("Parameter", "Constant")
        if known and np.array_equal(kernel.data, _repeating(kernel.data.shape[1], scale)):
            last.output(0).replace(last.input_value(rest))
            return True
    return False


def _repeating(colours: int, scale: int) -> Array:
    """Return the kernel of a 1x1 convolution that repeats pixels: colours*scale*scale,colours,1,1."""
    return np.eye(colours, dtype=np.float32).repeat(scale**2, axis=0)[..., None, None]


def take_about_middle(openvino: Any, network: Any) -> None:
    """Change a network without its base, in place, to take the picture minus `MIDDLE`.

    Its result changes only near the borders, where the zero padding now stands for `MIDDLE`.

    Raises:
        ModelError: the weights of its first layer are not found.
    """
    weights = weights_of(network)
    first = next((name for name in FIRST if f"{name}.weight" in weights), None)
    if first is None:
        raise ModelError("the first layer of this network was not found; use precision='fp32'.")
    bias, taps = (weights[f"{first}.{what}"] for what in ("bias", "weight"))
    change(openvino, bias, bias.data + MIDDLE * taps.data.sum((1, 2, 3)).reshape(bias.data.shape))
    for step in network.get_ordered_ops():
        if limit := _limit_of_picture(step):
            lower = openvino.opset13.constant(limit.get_source_output().get_node().data - np.float32(MIDDLE))
            limit.replace_source_output(lower.output(0))


def _limit_of_picture(step: Any) -> Any:
    """Return the step's input that holds the limit, if the step is one half of an ONNX Clip of the picture, else None.

    OpenVINO turns a Clip into a Maximum and a Minimum.
    """
    if step.get_type_name() not in ("Maximum", "Minimum"):
        return None
    first, second = step.inputs()  # the constant may be either
    for limit, picture in ((first, second), (second, first)):
        before = picture.get_source_output().get_node()
        known = before.get_type_name() == "Parameter" or _limit_of_picture(before)
        if known and limit.get_source_output().get_node().get_type_name() == "Constant":
            return limit
    return None


def base_apart(openvino: Any, network: Any) -> Any:
    """Remove the base from an inference form and return it as a network of its own.

    Both networks then take the picture minus `MIDDLE`; the sum of their outputs is the phases of the result.

    Args:
        openvino: the module.
        network: 1,3,H,W to the phases of the result, 1,3*s*s,H,W; changed in place to yield the detail alone.

    Raises:
        ModelError: the weights of the base or of the first layer are not found.
    """
    ops = openvino.opset13
    weights = weights_of(network)
    enlarging = next((name for name in (SMOOTH, TAIL) if name in weights), None)
    if enlarging is None or (enlarging == TAIL and CONTEXT not in weights):
        raise ModelError("the base of this network cannot be separated from the rest; use precision='fp32'.")
    kernels = weights[enlarging].data.copy()
    base = kernels[:, -COLOURS:].copy()
    kernels[:, -COLOURS:] = 0
    change(openvino, weights[enlarging], kernels)
    sharpen = None
    if enlarging == SMOOTH and SHARPEN in weights:
        sharpen = weights[SHARPEN].data.copy()
    elif enlarging == TAIL:
        sharpen = weights[CONTEXT].data[-COLOURS:].copy()
        middle = sharpen.shape[-1] // 2
        sharpen[..., middle, middle] += 1  # the first group adds its input
    take_about_middle(openvino, network)

    picture = ops.parameter(network.inputs[0].partial_shape, np.float32)
    result = picture
    if sharpen is not None:
        side = sharpen.shape[-1]
        rim = [side // 2] * 2
        grouped = ops.constant(sharpen.reshape(COLOURS, 1, 1, side, side))
        result = ops.group_convolution(result, grouped, [1, 1], rim, rim, [1, 1])
    after = [base.shape[-1] - 2] * 2  # one pixel before, the rest after
    result = ops.convolution(result, ops.constant(base), [1, 1], [1, 1], after, [1, 1])
    result = ops.add(result, ops.constant(np.float32(MIDDLE)))
    return openvino.Model([result], [picture], "base")


def weights_of(network: Any) -> dict[str, Any]:
    """Return the constants of a network by their names."""
    return {op.get_friendly_name(): op for op in network.get_ops() if op.get_type_name() == "Constant"}


def change(openvino: Any, constant: Any, values: Array) -> None:
    """Replace a constant of a network by another of the same name and type."""
    changed = openvino.opset13.constant(values.astype(constant.data.dtype))
    changed.set_friendly_name(constant.get_friendly_name())
    constant.output(0).replace(changed.output(0))
