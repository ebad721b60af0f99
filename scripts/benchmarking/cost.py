"""Count a network's multiplications in the graph that is run. Needs OpenVINO, but not torch."""

from __future__ import annotations

from typing import Any

import numpy as np

from vsparagon.backends.openvino.surgery import CONVOLUTIONS
from vsparagon.geometry.extension import extension_for
from vsparagon.models.model import Model


def useful_macs_per_pixel(model: Model, height: int, width: int) -> float:
    """Return the useful multiply-accumulate operations (MACs) per input pixel.

    MACs of convolutions count if their weight is not zero, and those of matrix products always. Zero weights come from
    kernels that were padded to sizes that suit processors, so multiplying by them is not useful work.

    Args:
        model: in inference form, which takes extended pictures.
        height, width: of the picture before it is extended, in pixels.
    """
    from vsparagon.backends.openvino.library import openvino_core

    network = openvino_core().read_model(model.graph)
    extension = extension_for(height, width, model.sizes)
    network.reshape([1, model.channels, extension.extended_height, extension.extended_width])
    total = sum(_macs(node) for node in network.get_ops())
    planes = 3 // model.channels  # a network for one plane runs three times
    return planes * total / (extension.extended_height * extension.extended_width)


def _macs(node: Any) -> int:
    kind = node.get_type_name()
    if kind in CONVOLUTIONS:
        height, width = list(node.get_output_shape(0))[2:]
        return int(np.count_nonzero(_weights(node)) * height * width)
    if kind == "MatMul":
        inner = list(node.get_input_shape(0))[-2 if node.get_attributes()["transpose_a"] else -1]
        return int(np.prod(list(node.get_output_shape(0))) * inner)
    return 0


def _weights(convolution: Any) -> Any:
    node = convolution.input_value(1).get_node()
    while node.get_type_name() != "Constant":  # skip reshaping and conversion
        node = node.input_value(0).get_node()
    return node.data
