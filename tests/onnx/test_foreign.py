"""ONNX graphs of other networks between a frame's conversions, for backends that run frames as ONNX."""

from importlib.util import find_spec

import numpy as np
import pytest
import vapoursynth as vs
from clips import arrays, clip_of, photograph

torch = pytest.importorskip("torch", reason="the frame's conversions are a torch module")
onnx = pytest.importorskip("onnx", reason="frame graphs are ONNX")
onnxruntime = pytest.importorskip("onnxruntime", reason="it computes the frames")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402
from onnx_files import KINDS, graph, shuffle_network  # noqa: E402

from vsparagon import ModelError  # noqa: E402
from vsparagon.backends.onnxruntime import OnnxRuntime  # noqa: E402
from vsparagon.backends.onnxruntime.cuda import OnnxRuntimeCuda  # noqa: E402
from vsparagon.colours.layout import Layout  # noqa: E402
from vsparagon.geometry.extension import Sizes, extension_for  # noqa: E402
from vsparagon.geometry.tiling import exact_tiles_of  # noqa: E402
from vsparagon.models.checkpoint import save_generator  # noqa: E402
from vsparagon.models.frame import FrameNetwork  # noqa: E402
from vsparagon.models.generators import create_generator  # noqa: E402
from vsparagon.models.inference import inference_form  # noqa: E402
from vsparagon.onnx.export import export_onnx, frame_onnx  # noqa: E402
from vsparagon.onnx.foreign import ForeignNetwork  # noqa: E402

core = vs.core
YUV420 = Layout(family="yuv", bits=8, subsampling_w=1, subsampling_h=1, matrix=1)


@pytest.fixture
def device(monkeypatch):
    """ONNX Runtime on a device, for which the CPU stands in."""
    monkeypatch.setattr(OnnxRuntime, "on", lambda self, device_id: OnnxRuntimeCuda("cpu", "a stand-in"))


def upscaled(path, backend, **arguments):
    clip = clip_of([photograph(48, 64)], vs.YUV420P10, matrix=1)
    return arrays(core.paragon.Upscale(clip, model=str(path), backend=backend, **arguments).get_frame(0))


def assert_same_as_on_the_cpu(path, *, steps=1, **arguments):
    """Assert that the resizer, the network on OpenVINO and the resizer again make the same frame."""
    ours, expected = upscaled(path, "onnxruntime", **arguments), upscaled(path, "openvino")
    for plane, reference in zip(ours, expected, strict=True):
        assert plane.shape == reference.shape
        assert np.abs(plane - reference).max() <= steps


def old_enlargement(path, opset):
    """Write a network that reads its input's size and has an `If`, as exporters write them, and return its path."""
    branches = []
    for name, factor in (("then", 2.0), ("else", 1.0)):
        made = helper.make_node("Mul", ["kept", f"{name}_factor"], [f"{name}_result"])
        result = helper.make_tensor_value_info(f"{name}_result", TensorProto.FLOAT, None)
        weight = numpy_helper.from_array(np.array(factor, np.float32), f"{name}_factor")
        branches.append(helper.make_graph([made], name, [], [result], [weight]))
    nodes = [
        helper.make_node("Relu", ["x"], ["kept"]),
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Gather", ["shape", "axes"], ["size"]),
        helper.make_node("Mul", ["size", "factor"], ["larger"]),
        helper.make_node("Slice", ["shape", "zero", "two"], ["first"]),
        helper.make_node("Concat", ["first", "larger"], ["sizes"], axis=0),
        helper.make_node("If", ["flag"], ["chosen"], then_branch=branches[0], else_branch=branches[1]),
        helper.make_node("Resize", ["chosen", "roi", "none", "sizes"], ["y"], mode="nearest"),
    ]
    weights = {
        "axes": np.array([2, 3]), "factor": np.array([2, 2]), "zero": np.array([0]), "two": np.array([2]),
        "roi": np.zeros(0, np.float32), "none": np.zeros(0, np.float32), "flag": np.array(False),
    }  # fmt: skip
    return graph(path, nodes, weights, opset=opset)


@pytest.mark.parametrize("opset", [11, 13, 18, 20])
def test_graphs_of_any_version_and_with_branches(opset, device, tmp_path):
    assert_same_as_on_the_cpu(old_enlargement(tmp_path / "old.onnx", opset))


def test_what_a_graph_asks_of_its_size_is_known_beforehand(tmp_path):
    """Otherwise, ONNX Runtime's CUDA provider would leave these nodes to the CPU."""
    options, kept = onnxruntime.SessionOptions(), tmp_path / "kept.onnx"
    options.optimized_model_filepath = str(kept)
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    data = frame_onnx(frame_with(old_enlargement(tmp_path / "old.onnx", 18))).SerializeToString()
    onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    kinds = {node.op_type for node in onnx.load(kept).graph.node}
    assert "Resize" in kinds
    assert not kinds & {"Shape", "If", "Mul"}


def test_float16_stays_float16(device, tmp_path):
    path = shuffle_network(tmp_path / "half.onnx", kind="f16", scale=3)
    assert_same_as_on_the_cpu(path, steps=4)
    with pytest.raises(vs.Error, match=r"precision is 'fp32', but half\.onnx is in fp16, which"):
        upscaled(path, "onnxruntime", precision="fp32")


@pytest.mark.parametrize(("given", "result"), [("f16", "f32"), ("f32", "f16")])
def test_input_and_output_may_be_of_different_types(given, result, device, tmp_path, monkeypatch):
    nodes = [
        helper.make_node("Cast", ["x"], ["wide"], to=TensorProto.FLOAT),
        helper.make_node("Resize", ["wide", "", "factors"], ["large"], mode="nearest"),
        helper.make_node("Cast", ["large"], ["y"], to=KINDS[result][0]),
    ]
    weights = {"factors": np.array([1, 1, 2, 2], np.float32)}
    path = graph(tmp_path / "mixed.onnx", nodes, weights, kind=given, result=result)
    assert_same_as_on_the_cpu(path, steps=4)
    monkeypatch.undo()  # and now on ONNX Runtime's CPU provider
    assert_same_as_on_the_cpu(path, steps=4)


def test_weights_may_lie_in_a_file_of_their_own(device, tmp_path):
    path = shuffle_network(tmp_path / "net.onnx")
    onnx.save(onnx.load(path), path, save_as_external_data=True, location="net.data", size_threshold=0)
    assert_same_as_on_the_cpu(path)


def test_network_of_the_design_as_its_users_export_it(device, tmp_path):
    torch.manual_seed(0)
    path = tmp_path / "micro.onnx"
    export_onnx(create_generator("micro").eval(), path)
    assert_same_as_on_the_cpu(path)


def test_extended_form_keeps_its_shift(device, tmp_path):
    torch.manual_seed(0)
    checkpoint = tmp_path / "nano.safetensors"
    generator = create_generator("nano", use_attention=False, use_content_aware=False).eval()
    save_generator(generator, checkpoint, variant="nano", note="untrained")
    path = tmp_path / "nano.onnx"
    export_onnx(inference_form(generator), path)
    assert_same_as_on_the_cpu(path)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("format_id", [vs.YUV420P10, vs.GRAY16, vs.RGB24])
def test_networks_for_one_plane(format_id, kind, device, tmp_path):
    path = str(shuffle_network(tmp_path / "luma.onnx", channels=1, kind=kind))
    clip = clip_of([photograph(48, 64)], format_id, **({} if format_id == vs.RGB24 else {"matrix": 1}))
    ours, expected = (
        core.paragon.Upscale(clip, model=path, backend=backend).get_frame(0) for backend in ("onnxruntime", "openvino")
    )
    allowed = 1 if kind == "f32" else 1 << max(1, clip.format.bits_per_sample - 10)
    for plane, reference in zip(arrays(ours), arrays(expected), strict=True):
        assert np.abs(plane - reference).max() <= allowed


def test_what_gpus_cannot_take_runs_on_the_cpu_and_the_log_says_so(device, tmp_path):
    messages = []
    handle = core.core.add_log_handler(lambda level, text: messages.append(text))
    try:
        upscaled(shuffle_network(tmp_path / "fixed.onnx", size=(64, 80)), "onnxruntime")
    finally:
        core.core.remove_log_handler(handle)
    told = "\n".join(messages)
    assert "running fixed.onnx on onnxruntime, fp32, CPU, because fixed.onnx takes pictures of one size only" in told


@pytest.mark.parametrize("channels", [1, 3])
def test_tiles_of_graphs_on_a_device(channels, device, tmp_path):
    path = shuffle_network(tmp_path / "net.onnx", channels=channels)
    clip = clip_of([photograph(150, 200)], vs.YUV420P10, matrix=1)
    tiled, whole = (
        core.paragon.Upscale(clip, model=str(path), backend="onnxruntime", **arguments).get_frame(0)
        for arguments in ({"tilesize": 64}, {})
    )
    for plane, reference in zip(arrays(tiled), arrays(whole), strict=True):
        assert np.abs(plane - reference).max() <= 1


def test_weights_are_in_a_graph_of_tiles_once(tmp_path):
    path = shuffle_network(tmp_path / "net.onnx")
    extension = extension_for(64, 80, Sizes())
    frame = FrameNetwork(
        ForeignNetwork(path, shift=0), 2, source=YUV420, target=YUV420, extension=extension,
        tiles=exact_tiles_of(extension, 2, 2, 2),
    ).eval()  # fmt: skip
    names = [tensor.name for tensor in frame_onnx(frame).graph.initializer]
    assert [name for name in names if "kernel" in name] == ["network/kernel"]


def test_tiles_of_graphs_of_which_too_little_is_known_are_refused_on_a_device(device, tmp_path):
    nodes = [
        helper.make_node("Softmax", ["x"], ["s"], axis=3),
        helper.make_node("Resize", ["s", "", "two"], ["y"], mode="nearest"),
    ]
    path = graph(tmp_path / "net.onnx", nodes, {"two": np.array([1, 1, 2, 2], np.float32)})
    with pytest.raises(vs.Error, match=r"net\.onnx cannot be run in tiles on a stand-in; leave tilesize= .* out"):
        upscaled(path, "onnxruntime", tilesize=64)


def test_operators_of_others_are_refused_by_name(tmp_path):
    path = shuffle_network(tmp_path / "net.onnx")
    model = onnx.load(path)
    model.opset_import.append(helper.make_opsetid("com.example", 1))
    onnx.save(model, path)
    assert [entry.domain for entry in ForeignNetwork(path, shift=0).graph.opset_import] == [""], "it is not used"
    model.graph.node[0].domain = "com.example"
    onnx.save(model, path)
    with pytest.raises(ModelError, match=r"net\.onnx has operators of com\.example"):
        ForeignNetwork(path, shift=0)


def frame_with(path):
    extension = extension_for(48, 64, Sizes())
    network = ForeignNetwork(path, shift=0)
    return FrameNetwork(network, 2, source=YUV420, target=YUV420, extension=extension).eval()


def test_names_of_the_graph_do_not_meet_those_around_it(tmp_path):
    path = tmp_path / "net.onnx"
    nodes = [helper.make_node("Resize", ["plane0", "", "ints:0"], ["result0"], mode="nearest")]
    graph(path, nodes, {"ints:0": np.array([1, 1, 2, 2], np.float32)}, inputs=("plane0",), outputs=("result0",))
    session = onnxruntime.InferenceSession(
        frame_onnx(frame_with(path)).SerializeToString(), providers=["CPUExecutionProvider"]
    )
    planes = {"plane0": np.full((48, 64), 90, np.uint8)}
    planes |= {f"plane{i}": np.full((24, 32), 100, np.uint8) for i in (1, 2)}
    results = session.run(None, planes)
    assert [set(result.ravel()) for result in results] == [{90}, {100}, {100}]


@pytest.mark.skipif(find_spec("tensorrt_rtx") is None, reason="tensorrt_rtx builds engines without a GPU")
@pytest.mark.parametrize("kind", ["f32", "f16"])
def test_tensorrt_builds_the_graph_of_a_frame(kind, tmp_path):
    from vsparagon.engines.build import build_engine, load_library

    data = frame_onnx(frame_with(shuffle_network(tmp_path / "net.onnx", kind=kind))).SerializeToString()
    assert len(build_engine(load_library("tensorrt_rtx"), data, name="a frame")) > 10_000
