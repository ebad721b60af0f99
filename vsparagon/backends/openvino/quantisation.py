"""Convolutions in 8-bit integers: inputs and weights are quantised as in the quantisation-aware training."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from vsparagon.backends.openvino.network_base import weights_of
from vsparagon.backends.openvino.one_plane import FIRST
from vsparagon.colours.layout import Array
from vsparagon.models.model import RANGES

LEVELS = 256  # for inputs of convolutions; one level is 0
WEIGHT_LEVELS = 255  # for weights, symmetric about 0
PAIR = 127.9999  # steps that two neighbouring weights may be worth together; never more than 128 when rounded


def ranges_of(network: Any) -> list[tuple[float, float]]:
    """Return the lowest and the highest value after each PReLU of a network, from its file's metadata."""
    return [(low, high) for low, high in json.loads(network.get_rt_info()["framework"][RANGES].value)]


def quantise_convolutions(openvino: Any, network: Any, ranges: list[tuple[float, float]], *, steps: int) -> None:
    """Quantise the output of each PReLU, and the weights of the convolutions that take it.

    OpenVINO turns those convolutions into integer ones. The first convolution, which takes the picture, is left as it
    is if that has more than 8 bits.

    Args:
        openvino: the module.
        network: only convolutions take the output of its PReLUs; changed in place.
        ranges: lowest and highest value after each PReLU, in the order of the graph; divided into `LEVELS` levels.
        steps: of the picture, as in `vsparagon.backends.options.BuildOptions`.
    """
    active = [step for step in network.get_ordered_ops() if step.get_type_name() == "PRelu"]
    for step, (low, high) in zip(active, ranges, strict=True):
        _quantise(openvino.opset13, step.output(0), low, high)
    if steps:
        (first,) = weights_of(network)[FIRST].output(0).get_target_inputs()
        limited = first.get_node().input_value(0)  # the picture, limited to 0..1
        _quantise(openvino.opset13, limited, 0.0, (LEVELS - 1) / steps)  # so that its steps are whole levels


def _quantise(ops: Any, value: Any, low: float, high: float) -> None:
    """Quantise a value from `low` to `high`, and the weights of all convolutions that take it."""
    given_to = list(value.get_target_inputs())
    quantised = ops.fake_quantize(value, *(np.float32(limit) for limit in (low, high, low, high)), LEVELS)
    for target in given_to:
        target.replace_source_output(quantised.output(0))
        weights = target.get_node().input(1)
        kernel = weights.get_source_output().get_node()
        most = largest_weights(kernel.data)
        limits = (ops.constant(limit) for limit in (-most, most, -most, most))
        weights.replace_source_output(ops.fake_quantize(kernel, *limits, WEIGHT_LEVELS).output(0))


def largest_weights(kernel: Array) -> Array:
    """Return the largest weight that can be represented, out,1,1,1, for a kernel, out,in,height,width.

    A processor without VNNI multiplies the levels of two neighbouring channels by their weights, and adds the two
    products in 16 bits, which hold no more than 128 steps times the highest level. Two such weights never exceed that.
    """
    pairs = np.pad(kernel, ((0, 0), (0, kernel.shape[1] % 2), (0, 0), (0, 0)))
    pairs = pairs.reshape(kernel.shape[0], -1, 2, *kernel.shape[2:])
    together = np.maximum(pairs.clip(0).sum(2), -pairs.clip(None, 0).sum(2))
    most: Array = np.maximum(np.abs(kernel).max((1, 2, 3)), together.max((1, 2, 3)) * (WEIGHT_LEVELS // 2 / PAIR))
    return most[:, None, None, None].astype(np.float32)
