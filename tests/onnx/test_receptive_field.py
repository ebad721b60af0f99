"""The reach of other networks: computed from their graphs, and compared with the effect of a changed pixel."""

import logging

import numpy as np
import pytest
from clips import photograph
from onnx import TensorProto, helper
from onnx_files import graph, shuffle_network
from openvino.passes import ConstantFolding

from vsparagon.backends.openvino.library import openvino_core
from vsparagon.choice import make_choice
from vsparagon.errors import InvalidInput
from vsparagon.lookup.model_file import open_model_file
from vsparagon.lookup.receptive_field import LooksAtAll, Unknown, bytes_per_pixel, reach_of
from vsparagon.models.bundled import bundled_models
from vsparagon.pipelines.picture import PicturePipeline
from vsparagon.tiles.choice import TileChoice
from vsparagon.tiles.tilings import BlendedTiling, ExactTiling, WholeTiling

RANDOM = np.random.default_rng(0)
SIDE = 48


def weights(*shape):
    return RANDOM.standard_normal(shape).astype(np.float32)


def node(kind, given, made, **attributes):
    return helper.make_node(kind, given.split(), made.split(), **attributes)


TWO = np.array([1, 1, 2, 2], np.float32)
SHUFFLE = node("DepthToSpace", "last", "y", blocksize=2, mode="CRD")
LAST = [node("Conv", "a k12", "last", pads=[1] * 4), SHUFFLE]
K12 = {"k12": weights(12, 3, 3, 3)}


def resized(mode, place):
    nodes = [
        node("Conv", "x k", "a", pads=[1] * 4),
        helper.make_node("Resize", ["a", "", "two"], ["y"], mode=mode, coordinate_transformation_mode=place),
    ]
    return nodes, {"k": weights(3, 3, 3, 3), "two": TWO}


def two_ways(pads):
    nodes = [
        node("Conv", "x k", "b", pads=pads),
        node("Relu", "x", "c"),
        node("Concat", "b c", "d", axis=1),
        node("Conv", "d k2", "e"),
        node("Add", "e x", "a"),
        *LAST,
    ]
    return nodes, {"k": weights(5, 3, 7, 7), "k2": weights(3, 8, 1, 1), **K12}


# Nodes, constants, and the reach in pixels.
KNOWN = {
    "convolutions": ([node("Conv", "x k", "a", pads=[2] * 4), *LAST], {"k": weights(3, 3, 5, 5), **K12}, 3),
    "dilated": (
        [node("Conv", "x k", "a", pads=[0, 0, 0, 6], dilations=[3, 3]), *LAST], {"k": weights(3, 3, 1, 3), **K12}, 7,
    ),
    "padded by itself": (
        [node("Conv", "x k", "a", auto_pad="SAME_LOWER"), *LAST], {"k": weights(3, 3, 8, 8), **K12}, 5,
    ),
    "in groups": ([node("Conv", "x k", "a", pads=[4] * 4, group=3), *LAST], {"k": weights(3, 1, 9, 9), **K12}, 5),
    "one sided": ([node("Conv", "x k", "a", pads=[2, 4, 0, 0]), *LAST], {"k": weights(3, 3, 3, 5), **K12}, 5),
    "padded before": (
        [node("Pad", "x pads", "p", mode="reflect"), node("Conv", "p k", "a"), *LAST],
        {"k": weights(3, 3, 7, 7), "pads": np.array([0, 0, 3, 3, 0, 0, 3, 3]), **K12},
        4,
    ),
    "padded before, one sided": (
        [node("Pad", "x pads", "p"), node("Conv", "p k", "a"), *LAST],
        {"k": weights(3, 3, 3, 7), "pads": np.array([0, 0, 2, 6, 0, 0, 0, 0]), **K12},
        7,
    ),
    "padded before, one sided twice": (
        [node("Pad", "x pads", "p"), node("Conv", "p k", "b"), node("Conv", "b k2", "a", pads=[0, 4, 0, 0]), *LAST],
        {"k": weights(3, 3, 3, 7), "pads": np.array([0, 0, 2, 6, 0, 0, 0, 0]), "k2": weights(3, 3, 1, 5), **K12},
        11,
    ),
    "two ways": (*two_ways([6, 6, 0, 0]), 7),
    "two ways, other sided": (*two_ways([0, 0, 6, 6]), 7),
    "norm of channels": (
        [
            node("ReduceMean", "x", "m", axes=[1]),
            node("Sub", "x m", "c"),
            node("Conv", "c k", "d", pads=[1] * 4),
            node("PRelu", "d slope", "e"),
            node("Mul", "e gain", "a"),
            *LAST,
        ],
        {"k": weights(3, 3, 3, 3), "slope": weights(3, 1, 1), "gain": weights(1, 3, 1, 1), **K12},
        2,
    ),
    "transposed": (
        [node("Conv", "x k", "a", pads=[1] * 4), node("ConvTranspose", "a t", "y", strides=[2, 2], pads=[1] * 4)],
        {"k": weights(3, 3, 3, 3), "t": weights(3, 3, 4, 4)},
        2,
    ),
    "transposed, one sided": (
        [node("ConvTranspose", "x t", "y", strides=[2, 2], pads=[1, 0, 1, 6])], {"t": weights(3, 3, 4, 8)}, 3,
    ),
    "transposed, other sided": (
        [node("ConvTranspose", "x t", "y", strides=[2, 2], pads=[1, 6, 1, 0])], {"t": weights(3, 3, 4, 8)}, 3,
    ),
    "one sided twice": (
        [
            node("Conv", "x k", "a", pads=[4, 4, 0, 0]),
            node("ConvTranspose", "a t", "y", strides=[2, 2], pads=[0, 0, 6, 6]),
        ],
        {"k": weights(3, 3, 5, 5), "t": weights(3, 3, 8, 8)},
        7,
    ),
    "after the enlargement": (
        [node("Conv", "x k12", "last", pads=[1] * 4), node("DepthToSpace", "last", "l", blocksize=2, mode="CRD"),
         node("Conv", "l k", "y", pads=[4] * 4)],
        {"k": weights(3, 3, 9, 9), **K12},
        3,
    ),
    "nearest": (*resized("nearest", "asymmetric"), 1),
    "linear": (*resized("linear", "half_pixel"), 2),
    "cubic": (*resized("cubic", "half_pixel"), 3),
}  # fmt: skip
STRANGE = {
    "softmax": ([node("Softmax", "x", "a", axis=3), *LAST], K12),
    "stride": (
        [node("Conv", "x k", "s", strides=[2, 2], pads=[1] * 4), node("DepthToSpace", "s", "y", blocksize=4)],
        {"k": weights(48, 3, 3, 3)},
    ),
    "row": ([node("Add", "x row", "a"), *LAST], {"row": weights(1, 1, 1, SIDE), **K12}),
    "ramp": ([node("Add", "x ramp", "a"), *LAST], {"ramp": weights(1, 1, SIDE, SIDE), **K12}),
    "vignette": ([node("Mul", "x ramp", "a"), *LAST], {"ramp": weights(1, 3, SIDE, SIDE), **K12}),
    "coordinates": (
        [node("Concat", "x places", "c", axis=1), node("Conv", "c k", "a", pads=[1] * 4), *LAST],
        {"places": weights(1, 2, SIDE, SIDE), "k": weights(3, 5, 3, 3), **K12},
    ),
    "corners": resized("linear", "align_corners"),
    "pictures": ([node("ReduceMean", "x", "a", axes=[0]), *LAST], K12),
    "unequal": (
        [helper.make_node("Resize", ["x", "", "both"], ["y"], mode="linear")],
        {"both": np.array([1, 1, 2, 3], np.float32)},
    ),
    "transposed, not enlarged": ([node("ConvTranspose", "x t", "y")], {"t": weights(3, 3, SIDE + 1, SIDE + 1)}),
    "transposed, dilated": (
        [node("ConvTranspose", "x t", "y", strides=[2, 2], dilations=[2, 2], pads=[1, 1, 2, 2])],
        {"t": weights(3, 3, 3, 3)},
    ),
    "of another rate": (
        [node("Conv", "x k", "s"), node("DepthToSpace", "s", "l", blocksize=2), node("Add", "l x", "a"), *LAST],
        {"k": weights(12, 3, SIDE // 2 + 1, SIDE // 2 + 1), **K12},
    ),
}  # fmt: skip
POINTWISE = (
    "Abs", "Ceil", "Cos", "Elu", "Erf", "Exp", "Floor", "Gelu", "HardSigmoid", "HardSwish", "Identity", "Log", "Mish",
    "Neg", "Relu", "Selu", "Sigmoid", "Sign", "Sin", "Softplus", "Softsign", "Sqrt", "Tanh",
)  # fmt: skip
REDUCTIONS = ("ReduceL1", "ReduceL2", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum")
STATISTICS = {
    "pooled": [node("GlobalAveragePool", "x", "m"), node("Mul", "x m", "a"), *LAST],
    "reduced": [node("ReduceMean", "x", "m", axes=[2, 3]), node("Sub", "x m", "a"), *LAST],
    "normalised": [node("InstanceNormalization", "x one one", "a"), *LAST],
}


def written(path, nodes, constants):
    return graph(path, nodes, constants, opset=13)


def read(path):
    network = openvino_core().read_model(path)
    network.reshape([1, 3, SIDE, SIDE])
    ConstantFolding().run_on_model(network)
    return network


@pytest.mark.parametrize(("nodes", "constants", "most"), KNOWN.values(), ids=KNOWN)
def test_a_pixel_changes_what_is_within_reach_and_no_more(nodes, constants, most, tmp_path):
    network = read(written(tmp_path / "net.onnx", nodes, constants))
    reach = reach_of(network)
    compiled = openvino_core().compile_model(network, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    picture = RANDOM.random((1, 3, SIDE, SIDE), np.float32)
    changed = picture.copy()
    at = SIDE // 2
    changed[0, :, at, at] += [1.0, -0.5, 2.0]
    before, after = (compiled(values)[0].copy() for values in (picture, changed))
    rows, columns = np.nonzero(np.abs(after - before).max((0, 1)) > 1e-6)
    seen = max(abs(side // 2 - at) for side in (*rows, *columns))
    assert seen == most
    assert most <= reach <= most + 1


@pytest.mark.parametrize("kind", POINTWISE)
def test_operators_of_single_pixels_add_nothing_to_the_reach(kind, tmp_path):
    given = [node(kind, "x", "a"), *LAST]
    plain = [node("Conv", "x k12", "last", pads=[1] * 4), SHUFFLE]
    reaches = [reach_of(read(graph(tmp_path / "net.onnx", nodes, K12, opset=20))) for nodes in (given, plain)]
    assert reaches[0] == reaches[1]


@pytest.mark.parametrize("kind", REDUCTIONS)
def test_statistics_of_channels_are_local_and_those_of_pixels_are_not(kind, tmp_path):
    nodes = [node(kind, "x axes", "m"), node("Sub", "x m", "a"), *LAST]
    networks = [
        read(graph(tmp_path / "net.onnx", nodes, {"axes": np.array(axes), **K12}, opset=20)) for axes in ([1], [2, 3])
    ]
    assert reach_of(networks[0]) < 3
    with pytest.raises(LooksAtAll, match=kind):
        reach_of(networks[1])


@pytest.mark.parametrize(("nodes", "constants"), STRANGE.values(), ids=STRANGE)
def test_what_is_not_known_to_be_local_is_not_taken_for_it(nodes, constants, tmp_path):
    network = read(written(tmp_path / "net.onnx", nodes, constants))
    with pytest.raises((Unknown, LooksAtAll)):
        reach_of(network)


@pytest.mark.parametrize("nodes", STATISTICS.values(), ids=STATISTICS)
def test_networks_that_take_statistics_say_so_where_tiles_would_show(nodes, tmp_path, caplog):
    path = written(tmp_path / "net.onnx", nodes, {"one": np.ones(3, np.float32), **K12})
    with pytest.raises(LooksAtAll):
        reach_of(read(path))
    choice = make_choice(open_model_file(path, tmp_path), backend="openvino")
    PicturePipeline(choice, height=150, width=200)
    assert "statistics" not in caplog.text
    PicturePipeline(choice, height=150, width=200, tiles=TileChoice(size=(64, 64)))
    assert "net.onnx computes statistics of the whole picture; each tile has its own, so seams may show." in caplog.text


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
def test_tiles_of_a_known_network_are_exact(backend, channels, tmp_path):
    picture = photograph(150, 200).astype(np.float32) / 255
    nodes, constants, _ = KNOWN["norm of channels"]
    path = written(tmp_path / "net.onnx", nodes, constants)
    if channels == 1:
        path = shuffle_network(tmp_path / "luma.onnx", channels=1)
    results = []
    for tiles in (None, TileChoice(size=(64, 80)), TileChoice(memory_mb=2)):
        choice = make_choice(open_model_file(path, tmp_path), backend=backend)
        pipeline = PicturePipeline(choice, height=150, width=200, tiles=tiles)
        assert isinstance(pipeline.tiling, ExactTiling)
        results.append(np.empty((3, 300, 400), np.float32))
        pipeline.enlarge(list(picture.transpose(2, 0, 1)), list(results[-1]))
    for tiled in results[1:]:
        assert np.abs(tiled - results[0]).max() < 1e-5 * np.abs(results[0]).max()


def test_networks_of_one_size_or_of_steps_stay_blended(tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    fixed = open_model_file(shuffle_network(tmp_path / "fixed.onnx", size=(64, 64)), tmp_path)
    nodes, constants = STRANGE["stride"]
    stepped = open_model_file(written(tmp_path / "stepped.onnx", nodes, constants), tmp_path)
    assert "the receptive field of stepped.onnx is unknown because of its operation" in caplog.text
    for model, size, kind in (
        (fixed, None, BlendedTiling),
        (stepped, None, WholeTiling),
        (stepped, (64, 64), BlendedTiling),
    ):
        assert model.reach is None
        choice = make_choice(model, backend="openvino")
        pipeline = PicturePipeline(choice, height=150, width=200, tiles=TileChoice(size=size))
        assert isinstance(pipeline.tiling, kind)
    assert "statistics" not in caplog.text


@pytest.mark.parametrize(("overlap", "shared"), [(None, (32, 32)), ((0, 16), (0, 16))])
def test_blended_tiles_overlap_as_asked(overlap, shared, tmp_path):
    nodes, constants = STRANGE["stride"]
    choice = make_choice(open_model_file(written(tmp_path / "net.onnx", nodes, constants), tmp_path))
    tiles = TileChoice(size=(64, 64), overlap=overlap)
    tiling = PicturePipeline(choice, height=176, width=176, tiles=tiles).tiling  # 192 with the margins
    counts = [len(axis.starts) for axis in (tiling.rows, tiling.columns)]
    assert counts == [1 + -(-(192 - 64) // (64 - pixels)) for pixels in shared]


def test_network_that_computes_its_coordinates_is_not_cut_as_if_it_had_none(tmp_path):
    nodes = [
        node("Shape", "x", "size"),
        node("Gather", "size at", "width", axis=0),
        node("Range", "zero width step", "columns"),
        node("Cast", "columns", "row", to=TensorProto.FLOAT),
        node("Expand", "row size", "ramp"),
        node("Add", "x ramp", "a"),
        *LAST,
    ]
    constants = {"at": np.array(3), "zero": np.array(0), "step": np.array(1), **K12}
    assert open_model_file(written(tmp_path / "net.onnx", nodes, constants), tmp_path).reach is None


def test_memory_of_a_network_that_is_not_known_cannot_be_bounded(tmp_path):
    nodes, constants = STRANGE["stride"]
    choice = make_choice(open_model_file(written(tmp_path / "net.onnx", nodes, constants), tmp_path))
    with pytest.raises(InvalidInput, match=r"memory_mb cannot be used with net\.onnx, .*; use tilesize= instead"):
        PicturePipeline(choice, height=150, width=200, tiles=TileChoice(memory_mb=100))


@pytest.mark.parametrize("model", [model for model in bundled_models() if "clean" in model.name], ids=lambda m: m.name)
def test_our_own_graphs_say_what_their_options_do(model):
    network = read(model.graph)
    assert model.reach <= reach_of(network) <= model.reach + 1
    assert 0.5 < bytes_per_pixel(network) / model.bytes_per_pixel < 1.2
