"""Convolutions in 8-bit integers: what they are given, and their weights, are rounded as they were trained to be."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from vsparagon.models.model import RANGES

LEVELS = 256  # of what convolutions are given, 0 among them
WEIGHT_LEVELS = 255  # of their weights, as many below 0 as above


def ranges_of(network: Any) -> list[tuple[float, float]]:
    """Return what the file of a network says of the values behind each of its PReLUs: the lowest and the highest."""
    return [(low, high) for low, high in json.loads(network.get_rt_info()["framework"][RANGES].value)]


def round_convolutions(openvino: Any, network: Any, ranges: list[tuple[float, float]]) -> None:
    """Round what stands behind each PReLU of a network, and the weights of the convolutions that it is given to.

    OpenVINO makes integer convolutions of those. The first one, which is given the picture, stays as it is.

    Args:
        openvino: the module.
        network: changed.
        ranges: of `LEVELS` numbers each, in the order of the PReLUs.
    """
    ops = openvino.opset13
    active = [step for step in network.get_ordered_ops() if step.get_type_name() == "PRelu"]
    for step, (low, high) in zip(active, ranges, strict=True):
        given_to = list(step.output(0).get_target_inputs())
        rounded = ops.fake_quantize(step, *(np.float32(limit) for limit in (low, high, low, high)), LEVELS)
        for target in given_to:
            target.replace_source_output(rounded.output(0))
            weights = target.get_node().input(1)
            kernel = weights.get_source_output().get_node()
            most = np.abs(kernel.data).max((1, 2, 3), keepdims=True)
            limits = (ops.constant(limit) for limit in (-most, most, -most, most))
            weights.replace_source_output(ops.fake_quantize(kernel, *limits, WEIGHT_LEVELS).output(0))
