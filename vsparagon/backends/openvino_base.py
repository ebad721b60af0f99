"""A generator for bfloat16: its base apart, in float32.

bfloat16 rounds a picture by up to two 8-bit steps, but what a network adds to its base is far smaller. And the picture
that it is made from is taken about its middle, -0.5 to 0.5, which halves the rounding of bright parts. The weights are
found in the graph by their names, in every arrangement that the inference forms know.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from vsparagon.backends.base import Array
from vsparagon.errors import ModelError

CONTEXT, TAIL = "body.0.blocks.0.context.weight", "tail.weight"  # `vsparagon.models.carried`
SHARPEN, SMOOTH = "sharpen.weight", "smooth.weight"  # not carried
LAST = "up_conv.weight"  # Swift
COLOURS = 3
MIDDLE = 0.5  # what is subtracted from the picture


def base_apart(openvino: Any, network: Any) -> Any:
    """Take the base out of an inference form and return a network of it alone.

    Args:
        openvino: the module.
        network: 1,3,H,W to the phases of the result, 1,3*s*s,H,W; changed to yield what is added to the base. This
            one and the base take the picture less `MIDDLE`.

    Raises:
        ModelError: the weights of the base are not where they should be.
    """
    ops = openvino.opset13
    weights = {op.get_friendly_name(): op for op in network.get_ops() if op.get_type_name() == "Constant"}

    def change(name: str, values: Array) -> None:
        weights[name].output(0).replace(ops.constant(values).output(0))

    enlarging = next((name for name in (SMOOTH, TAIL, LAST) if name in weights), None)
    if enlarging is None or (enlarging == TAIL and CONTEXT not in weights):
        raise ModelError("the base of this network is not known apart from the rest; use precision='fp32'.")
    kernels = weights[enlarging].data.copy()
    base = kernels[:, -COLOURS:].copy()
    kernels[:, -COLOURS:] = 0
    change(enlarging, kernels)
    sharpen = None
    if enlarging == SMOOTH and SHARPEN in weights:
        sharpen = weights[SHARPEN].data.copy()
    elif enlarging == TAIL:
        sharpen = weights[CONTEXT].data[-COLOURS:].copy()
        middle = sharpen.shape[-1] // 2
        sharpen[..., middle, middle] += 1  # the first group adds its input
    first = "conv_in" if "conv_in.weight" in weights else "body.0"
    bias, taps = (weights[f"{first}.{what}"].data for what in ("bias", "weight"))
    change(f"{first}.bias", bias + MIDDLE * taps.sum((1, 2, 3)).reshape(bias.shape))

    picture = ops.parameter(network.inputs[0].partial_shape, np.float32)
    result = picture
    if sharpen is not None:
        side = sharpen.shape[-1]
        rim = [side // 2] * 2
        grouped = ops.constant(sharpen.reshape(COLOURS, 1, 1, side, side))
        result = ops.group_convolution(result, grouped, [1, 1], rim, rim, [1, 1])
    after = [base.shape[-1] - 2] * 2  # one pixel before, the rest behind
    result = ops.convolution(result, ops.constant(base), [1, 1], [1, 1], after, [1, 1])
    result = ops.add(result, ops.constant(np.float32(MIDDLE)))
    return openvino.Model([result], [picture], "base")
