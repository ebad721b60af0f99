"""Widens a network to whole vectors of channels, for processors whose longest vectors hold 8 numbers (AVX2).

There, OpenVINO computes a vector that the channels do not fill with masks, which takes longer than a full one: the 15
channels of nano's inference form took 1.3 times as long as 16. It was not measured with AVX-512, which stays as it was.
"""

from __future__ import annotations

import platform
from typing import Any, Final

import numpy as np

from vsparagon.backends.openvino.library import has_avx512
from vsparagon.backends.openvino.surgery import POINTWISE

VECTOR: Final = 8  # float32 numbers
ALIKE: Final = (*POINTWISE, "Clamp", "Maximum", "Minimum", "GroupConvolution")  # as many channels after as before


def are_short() -> bool:
    """Return whether this processor's longest vectors hold 8 numbers."""
    return platform.machine().lower() in ("x86_64", "amd64") and not has_avx512()


def widen(openvino: Any, network: Any) -> None:
    """Add channels of zeros to the results of convolutions, as far as the last vector has room for them, in place.

    They run through pointwise steps and depthwise convolutions to other convolutions, whose weights for them are 0, or
    to the network's result, behind its own channels. What goes anywhere else is left as it is.
    """
    kept = _kept(network)
    for step in network.get_ordered_ops():
        for port in step.inputs():
            constant, kind = port.get_source_output().get_node(), step.get_type_name()
            if constant.get_type_name() != "Constant":
                continue
            if kind == "Convolution":
                before = step.input_value(0).get_node()
                _pad(openvino, port, {0: _width(step, kept), 1: _width(before, kept)})
            elif step.get_name() not in kept and constant.data.size > 1:
                _pad(openvino, port, {_axis(kind, constant.data.ndim): _width(step, kept)})
    network.validate_nodes_and_infer_types()


def _kept(network: Any) -> set[str]:
    """Return the names of the steps whose number of channels is kept."""
    kept: set[str] = set()
    alike: list[set[str]] = []  # names of steps that must have the same number
    for step in network.get_ordered_ops():
        kind = step.get_type_name()
        taken = [value.get_node() for value in step.input_values()]
        constants = [node.data.shape for node in taken if node.get_type_name() == "Constant"]
        values = [node for node in (step, *taken) if node.get_type_name() != "Constant"]
        names = {value.get_name() for value in values}
        if kind == "Result" or (kind == "Convolution" and constants):
            continue
        channels = _channels(step)
        as_many = channels > 0 and all(_channels(value) == channels for value in values)
        if kind in ALIKE and as_many and all(_fits(kind, shape, channels) for shape in constants):
            alike.append(names)
        else:
            kept |= names
    while more := [names for names in alike if names & kept and not names <= kept]:
        kept.update(*more)
    return kept


def _fits(kind: str, constant: tuple[int, ...], channels: int) -> bool:
    """Return whether a constant of this shape has one number for all channels, or one or a kernel for each."""
    if kind == "GroupConvolution":
        return constant[:3] == (channels, 1, 1)
    if kind == "PRelu" and len(constant) == 1:
        return constant[0] in (1, channels)
    axis = len(constant) - 3  # counted from the last one, as in broadcasting
    return all(side == 1 or (side == channels and place == axis) for place, side in enumerate(constant))


def _axis(kind: str, dimensions: int) -> int:
    """Return which dimension of a step's constant belongs to the channels."""
    return 0 if kind == "GroupConvolution" else max(0, dimensions - 3)


def _channels(step: Any) -> int:
    """Return the number of channels of a step's result, N,C,H,W; 0 for any other result."""
    shape = step.get_output_shape(0)
    return int(shape[1]) if len(shape) == 4 else 0


def _width(step: Any, kept: set[str]) -> int:
    """Return the number of channels that a step is to have."""
    channels = _channels(step)
    return channels if step.get_name() in kept else -(-channels // VECTOR) * VECTOR


def _pad(openvino: Any, port: Any, sides: dict[int, int]) -> None:
    """Give a step a constant with zeros added, so that these dimensions have these lengths."""
    values = port.get_source_output().get_node().data
    added = [(0, sides.get(axis, side) - side) for axis, side in enumerate(values.shape)]
    if any(after for _, after in added):
        port.replace_source_output(openvino.opset13.constant(np.pad(values, added)).output(0))
