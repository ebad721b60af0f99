"""Removes from a network what need not be computed: the final pixel shuffle, and the rim that no tile keeps. Gives it
the inputs and outputs of a slot.

A tile includes everything around it that the network looks at, and its last convolutions need less of that. So they
are made to compute less: from the last one backwards, they lose their zero padding, which shrinks their output by as
much. What remains of the output is unchanged.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from vsparagon.geometry.extension import MARGIN
from vsparagon.models.model import Model

CONVOLUTIONS = ("Convolution", "GroupConvolution")
POINTWISE = ("Add", "Multiply", "PRelu")


@dataclass(frozen=True, kw_only=True)
class Rim:
    """What a network leaves out of its result, in source pixels: before (top and left) and after (bottom and right)."""

    before: int = 0
    after: int = 0


def ports(openvino: Any, network: Any, *, channels_last: bool) -> Any:
    """Return the network with a float32 input and output, whatever its own are; `channels_last`: output N,H,W,C."""
    if channels_last:
        result = network.get_results()[0].input(0)
        result.replace_source_output(_channels_last(openvino.opset13, result.get_source_output()))
        network.validate_nodes_and_infer_types()
    steps = openvino.preprocess.PrePostProcessor(network)
    steps.input().tensor().set_element_type(openvino.Type.f32)
    steps.output().tensor().set_element_type(openvino.Type.f32)
    return steps.build()


def _channels_last(ops: Any, value: Any) -> Any:
    """Return a value N,C,H,W as N,H,W,C.

    OpenVINO fuses a final sum into one of its terms, and then needs two passes to convert the layout, a sixth of
    micro's time. Terms that are flat vectors stay apart, and their layouts need no conversion.
    """
    order = ops.constant(np.array([0, 2, 3, 1]))
    step, shape = value.get_node(), list(value.get_shape())
    if step.get_type_name() != "Add" or any(list(term.get_shape()) != shape for term in step.input_values()):
        return ops.transpose(value, order).output(0)
    flat = ops.constant(np.array([-1]))
    terms = (ops.reshape(ops.transpose(term, order), flat, special_zero=False) for term in step.input_values())
    batch, channels, height, width = shape
    return ops.reshape(ops.add(*terms), ops.constant([batch, height, width, channels]), special_zero=False).output(0)


def take_shuffle(network: Any, scale: int) -> int:
    """Remove the pixel shuffle by this factor from the end of a network, in place.

    It is detached completely, because `narrow` does not shrink a value that has another consumer.

    Returns:
        The factor, or 0 if the network does not end with this shuffle.
    """
    result = network.get_results()[0]
    last = result.input_value(0).get_node()
    while last.get_type_name() == "Identity":
        last = last.input_value(0).get_node()
    if last.get_type_name() != "DepthToSpace":
        return 0
    attributes = last.get_attributes()
    if (attributes["mode"], attributes["block_size"]) != ("depth_first", scale):
        return 0
    result.input(0).replace_source_output(last.input_value(0))
    network.validate_nodes_and_infer_types()
    return scale


def unseen_rim(model: Model) -> Rim:
    """Return how much of a network's result no tile and no picture keeps; nothing where its reach is not known."""
    unseen = 0 if model.reach is None else min(model.reach, MARGIN)
    return Rim(before=unseen, after=unseen)


def narrow(openvino: Any, network: Any, most: Rim) -> Rim:
    """Make the last convolutions of a network compute less, and return how much less.

    Args:
        openvino: the module.
        network: one input and one output, N,C,H,W, convolutions of stride 1; changed in place.
        most: the largest rim that may be left out.
    """
    from openvino.passes import ConstantFolding

    ConstantFolding().run_on_model(network)  # otherwise biases depend on the shape of what they are added to
    result = network.get_results()[0].input_value(0)
    rim = _least(_spare(result), most)
    _cut(openvino, result, rim)
    network.validate_nodes_and_infer_types()
    return rim


def _spare(value: Any) -> Rim:
    """Return how much of a value the steps before it can leave out, going back as long as nothing else needs them."""
    if len(value.get_target_inputs()) != 1:
        return Rim()
    step = value.get_node()
    if step.get_type_name() in CONVOLUTIONS:
        further, attributes = _spare(step.input_value(0)), step.get_attributes()
        first, last = attributes["pads_begin"], attributes["pads_end"]
        # With unequal padding, one axis would keep some of its zeros, which would replace pixels left out of the input.
        return Rim(
            before=min(first) + (further.before if min(first) == max(first) else 0),
            after=min(last) + (further.after if min(last) == max(last) else 0),
        )
    spare = [_spare(branch) for branch in _branches(step)]
    return _least(*spare) if spare else Rim()


def _cut(openvino: Any, value: Any, rim: Rim) -> None:
    """Leave a rim out of a value: first by less padding in its convolution, then by a smaller input."""
    if rim == Rim():
        return
    step = value.get_node()
    kind = step.get_type_name()
    if kind not in CONVOLUTIONS:
        for branch in _branches(step):
            _cut(openvino, branch, rim)
        return
    attributes = step.get_attributes()
    first, last = attributes["pads_begin"], attributes["pads_end"]
    less = _least(rim, Rim(before=min(first), after=min(last)))
    _cut(openvino, step.input_value(0), Rim(before=rim.before - less.before, after=rim.after - less.after))
    make = openvino.opset13.convolution if kind == "Convolution" else openvino.opset13.group_convolution
    narrower = make(
        step.input_value(0),
        step.input_value(1),
        attributes["strides"],
        [pad - less.before for pad in first],
        [pad - less.after for pad in last],
        attributes["dilations"],
    )
    value.replace(narrower.output(0))


def _branches(step: Any) -> list[Any]:
    """Return the inputs of a pointwise step that are as large as its output; [] for any other step."""
    if step.get_type_name() not in POINTWISE:
        return []
    size = list(step.get_output_shape(0))[2:]
    return [value for value in step.input_values() if list(value.get_shape())[2:] == size]


def _least(*rims: Rim) -> Rim:
    return Rim(before=min(rim.before for rim in rims), after=min(rim.after for rim in rims))
