"""ONNX files of other networks, for tests."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

KINDS = {"f32": (TensorProto.FLOAT, np.float32), "f16": (TensorProto.FLOAT16, np.float16)}


def graph(
    path,
    nodes,
    weights,
    *,
    channels=3,
    scale=2,
    size=(None, None),
    kind="f32",
    result="",
    inputs=("x",),
    outputs=("y",),
    opset=18,
):
    """Write an ONNX file with these nodes and weights, and return its path."""
    element = KINDS[kind][0]
    height, width = (side or name for side, name in zip(size, ("height", "width"), strict=True))
    out = [side * scale if isinstance(side, int) else f"{side}_out" for side in (height, width)]
    model = helper.make_model(
        helper.make_graph(
            nodes,
            "test",
            [helper.make_tensor_value_info(name, element, [1, channels, height, width]) for name in inputs],
            [helper.make_tensor_value_info(name, KINDS[result or kind][0], [1, channels, *out]) for name in outputs],
            [numpy_helper.from_array(array, name) for name, array in weights.items()],
        ),
        opset_imports=[helper.make_opsetid("", opset)],
        ir_version=9 if opset < 20 else 10,
    )
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())
    return path


def one_node(kind="Abs"):
    """Return an ONNX file, as bytes, that applies one operation to the 4x4 samples of one plane."""
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [4, 4]) for name in ("plane0", "result0")]
    nodes = [helper.make_node(kind, ["plane0"], ["result0"])]
    model = helper.make_model(
        helper.make_graph(nodes, "g", value[:1], value[1:]), opset_imports=[helper.make_opsetid("", 18)], ir_version=8
    )
    return model.SerializeToString()


def shuffle_network(path, *, channels=3, scale=2, kind="f32", **arguments):
    """Write a network that sharpens a little and repeats each pixel, by a 3x3 convolution and a pixel shuffle."""
    kernel = np.zeros((channels * scale * scale, channels, 3, 3), KINDS[kind][1])
    for out in range(len(kernel)):
        kernel[out, out // scale**2] = [[0, -0.125, 0], [-0.125, 1.5, -0.125], [0, -0.125, 0]]
    nodes = [
        helper.make_node("Conv", ["x", "kernel"], ["phases"], pads=[1, 1, 1, 1]),
        helper.make_node("DepthToSpace", ["phases"], ["y"], blocksize=scale, mode="CRD"),
    ]
    return graph(path, nodes, {"kernel": kernel}, channels=channels, scale=scale, kind=kind, **arguments)


def shuffled(picture, scale):
    """Return the output of `shuffle_network` for a picture that is mirrored at its borders."""
    wide = np.pad(picture, ((1, 1), (1, 1), (0, 0)), mode="symmetric")
    cross = wide[:-2, 1:-1] + wide[2:, 1:-1] + wide[1:-1, :-2] + wide[1:-1, 2:]
    return (1.5 * picture - 0.125 * cross).repeat(scale, 0).repeat(scale, 1)
