"""Folds a network for RGB to one plane: to the luma of what it makes of a gray picture.

The three planes of a gray picture are equal, so the kernels of the first convolution can be added up. Luma is a sum of
the three colours, and so can be computed by the last convolution. What is left is exact, and computes less.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from vsparagon.backends.openvino.network_base import change, weights_of
from vsparagon.colours.layout import LUMA_OF_RGB
from vsparagon.errors import ModelError
from vsparagon.models.variants import COLOURS

FIRST, BASE, LAST = "body.0.weight", "anchor.weight", ("up_conv.weight", "up_conv.bias")


def fold_to_one_plane(openvino: Any, network: Any) -> None:
    """Fold the inference form of a Swift, in place: from 1,3,H,W and 1,3,scale*H,scale*W to one channel each.

    Raises:
        ModelError: its weights do not have the names that `vsparagon export` gives them.
    """
    weights = weights_of(network)
    if not weights.keys() >= {FIRST, BASE, *LAST}:
        raise ModelError("the layers of this network were renamed; export it again with `vsparagon export`.")
    first, base = weights[FIRST], weights[BASE]
    change(openvino, first, first.data.sum(1, keepdims=True))
    change(openvino, base, np.ones((len(base.data) // COLOURS, 1, 1, 1), np.float32))
    for last in (weights[name] for name in LAST):
        phases = last.data.reshape(COLOURS, -1, *last.data.shape[1:])
        change(openvino, last, np.tensordot(LUMA_OF_RGB, phases, 1))
    (picture,) = network.get_parameters()
    picture.set_partial_shape(openvino.PartialShape([1, 1, -1, -1]))
    network.validate_nodes_and_infer_types()
