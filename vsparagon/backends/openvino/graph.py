"""What of a network need not be computed: the pixel shuffle at its end, and the rim that no tile keeps.

A tile carries all around it that the network looks at. The last convolutions look at less of that, so they are made
to compute less: one after the other, from the end, they lose the zeros around their input, and their output becomes
smaller by as much. What is left of it is what it was.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from vsparagon.models.model import Model
from vsparagon.tiles.extension import MARGIN

CONVOLUTIONS = ("Convolution", "GroupConvolution")
POINTWISE = ("Add", "Multiply", "PRelu")


@dataclass(frozen=True, kw_only=True)
class Rim:
    """Pixels of the input's size that a network leaves out: before (above, at the left) and after."""

    before: int = 0
    after: int = 0


def ports(openvino: Any, network: Any, *, channels_last: bool) -> Any:
    """Give the network float32 ports, whatever its own are, and the output its channels last if so asked."""
    steps = openvino.preprocess.PrePostProcessor(network)
    steps.input().tensor().set_element_type(openvino.Type.f32)
    steps.output().tensor().set_element_type(openvino.Type.f32)
    if channels_last:
        steps.output().model().set_layout(openvino.Layout("NCHW"))
        steps.output().tensor().set_layout(openvino.Layout("NHWC"))
    return steps.build()


def take_shuffle(network: Any, scale: int) -> int:
    """Take the pixel shuffle out of a network that ends with one of this factor; return the factor, 0 if none.

    Nothing of it may be left: what something else needs, too, is not made smaller.
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
    """Return how much of a network's result no tile and no picture keeps, where the network is known."""
    unseen = 0 if model.reach is None else min(model.reach, MARGIN)
    return Rim(before=unseen, after=unseen)


def narrow(openvino: Any, network: Any, most: Rim) -> Rim:
    """Let the last convolutions of a network compute less, and return how much less.

    Args:
        openvino: the module.
        network: of one input and one output, N,C,H,W; its convolutions have stride 1; changed.
        most: that may be left out.
    """
    from openvino.passes import ConstantFolding

    ConstantFolding().run_on_model(network)  # or biases ask for the shape of what they are added to
    result = network.get_results()[0].input_value(0)
    rim = _least(_spare(result), most)
    _cut(openvino, result, rim)
    network.validate_nodes_and_infer_types()
    return rim


def _spare(value: Any) -> Rim:
    """Return how much of a value its makers could leave out, as far back as each is needed for it alone."""
    if len(value.get_target_inputs()) != 1:
        return Rim()
    step = value.get_node()
    if step.get_type_name() in CONVOLUTIONS:
        further, attributes = _spare(step.input_value(0)), step.get_attributes()
        first, last = attributes["pads_begin"], attributes["pads_end"]
        # Zeros that are kept along one axis would stand for what is left out of the input.
        return Rim(
            before=min(first) + (further.before if min(first) == max(first) else 0),
            after=min(last) + (further.after if min(last) == max(last) else 0),
        )
    spare = [_spare(branch) for branch in _branches(step)]
    return _least(*spare) if spare else Rim()


def _cut(openvino: Any, value: Any, rim: Rim) -> None:
    """Leave a rim out of a value; the last convolution first loses the zeros around its input."""
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
    """Return the inputs of a pointwise step that are as large as its output; none where it is of another kind."""
    if step.get_type_name() not in POINTWISE:
        return []
    size = list(step.get_output_shape(0))[2:]
    return [value for value in step.input_values() if list(value.get_shape())[2:] == size]


def _least(*rims: Rim) -> Rim:
    return Rim(before=min(rim.before for rim in rims), after=min(rim.after for rim in rims))
