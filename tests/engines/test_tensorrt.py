"""Engines are bound to tensors and run, with a stand-in for TensorRT's runtime; seeded faults test the stand-in."""

from __future__ import annotations

import gc
from enum import Enum
from importlib.util import find_spec
from types import ModuleType

import pytest

torch = pytest.importorskip("torch", reason="lanes hold torch tensors")
pytest.importorskip("onnx", reason="ONNX files are written with onnx")
pytest.importorskip("onnxruntime", reason="it runs the stand-in's engines")

import tensorrt_stand_in  # noqa: E402
from engines import KEY  # noqa: E402
from tensorrt_stand_in import MARK, STREAM, Fault, stand_in  # noqa: E402

from vsparagon.backends.tensorrt import executor as tensorrt_executor  # noqa: E402
from vsparagon.engines.build import TensorRTLibrary  # noqa: E402
from vsparagon.engines.cache import KernelFile  # noqa: E402
from vsparagon.errors import BackendFailure, OutOfDeviceMemory  # noqa: E402
from vsparagon.models.generators import create_generator  # noqa: E402
from vsparagon.onnx.export import onnx_model  # noqa: E402

TOLERANCE = 1e-5  # float32 sums in another order
SIZE = (56, 72)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(1)
    return create_generator("nano").eval()


@pytest.fixture(scope="module")
def graph(network):
    return onnx_model(network).SerializeToString()


@pytest.fixture
def library(monkeypatch):
    return installed(monkeypatch, stand_in())


def installed(monkeypatch, module):
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: module.stream)
    return TensorRTLibrary(module)


def lane(library, height=SIZE[0], width=SIZE[1]):
    memory = library.module.memory
    inputs = {"input": memory.tensor((1, 3, height, width), torch.float32)}
    outputs = {"output": memory.tensor((1, 3, 2 * height, 2 * width), torch.float32)}
    return inputs, outputs


def check_lanes(code, library, graph, network, sizes=(SIZE, SIZE)):
    """Open lanes, run pictures through all of them at once, and compare the results with torch's."""
    engine = code.Engine(library, MARK + graph)
    lanes = [lane(library, *size) for size in sizes]
    executors = [engine.open(*tensors) for tensors in lanes]
    assert library.module.stream.pending == 0, "opening a lane must leave no work"
    pictures = [torch.rand_like(inputs["input"]) for inputs, _ in lanes]
    for picture, (inputs, outputs) in zip(pictures, lanes, strict=True):
        inputs["input"].copy_(picture)
        outputs["output"].fill_(torch.nan)
    results = [outputs["output"] for _, outputs in lanes]
    del inputs, outputs, lanes, engine  # the executors must keep what they were given
    gc.collect()
    for executor in executors:
        executor.enqueue()
    assert all(result.isnan().all() for result in results), "computed before the stream was synchronised"
    library.module.stream.synchronize()
    with torch.no_grad():
        for picture, result in zip(pictures, results, strict=True):
            assert (result - network(picture)).abs().max() < TOLERANCE


@pytest.mark.parametrize("rtx", [False, True])
def test_lanes_give_the_pictures_of_torch(rtx, graph, network, monkeypatch):
    library = installed(monkeypatch, stand_in(rtx=rtx))
    check_lanes(tensorrt_executor, library, graph, network)
    check_lanes(tensorrt_executor, library, graph, network, sizes=[(56, 72), (80, 40), (56, 72)])


# Faults to seed, as (code in the module, code to replace it with).
FAULTS = {
    "wrong address": [("tensor.data_ptr())", "tensor.data_ptr() + 64)")],
    "address of a neighbour": [
        ("(name, tensor.data_ptr())", "(name, next(iter(self._tensors.values())).data_ptr())"),
    ],
    "no address": [("context.set_tensor_address(name, tensor.data_ptr())", "tensor.data_ptr()")],
    "buffer freed early": [
        ("self._tensors = inputs | outputs", "self._tensors = {n: t.clone() for n, t in inputs.items()} | outputs"),
    ],
    "run before it is bound": [
        ("engine.check(inputs, outputs)", "engine.check(inputs, outputs); context.execute_async_v3(STREAM)"),
    ],
    "output asked for before the input's shape": [
        ("for name, tensor in inputs.items():", "context.get_tensor_shape('output')\n        for name, tensor in inputs.items():"),  # noqa: E501
    ],
    "stale shape": [
        ("if not context.set_input_shape(name, tuple(tensor.shape)):", "if not context.set_input_shape(name, STALE.setdefault(name, tuple(tensor.shape))):"),  # noqa: E501
        ("!= tuple(tensor.shape):", "== ():"),
    ],
    "waited for before it runs": [
        ("executor.enqueue()\n            executor.stream().synchronize()", "executor.stream().synchronize()\n            executor.enqueue()"),  # noqa: E501
    ],
    "another stream": [(".cuda_stream)", ".cuda_stream + 1)")],
    "context freed early": [("self._context.execute_async_v3(", "self.__dict__.pop('_context').execute_async_v3(")],
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_seeded_fault_is_found(name, library, graph, network):
    with pytest.raises((Fault, AssertionError)) as found:
        check_lanes(faulty(FAULTS[name]), library, graph, network, sizes=[(56, 72), (80, 40)])
    if name != "waited for before it runs":
        assert found.type is Fault, "the stand-in must find it, not the comparison of pictures"


@pytest.mark.parametrize(
    "fault",
    [("self._engine = engine", "engine"), ("return config, cache", "return config, None")],
    ids=["options", "cache of kernels"],
)
def test_run_time_options_of_rtx_that_are_freed_early_are_found(fault, graph, network, monkeypatch):
    library = installed(monkeypatch, stand_in(rtx=True))
    with pytest.raises(Fault, match="gone before the context"):
        check_lanes(faulty([fault]), library, graph, network)


def test_run_that_rtx_records_among_the_frames_of_others_is_found(graph, network, monkeypatch):
    library = installed(monkeypatch, stand_in(rtx=True))
    with pytest.raises(Fault, match="recorded while other work is on its way"):
        check_lanes(faulty([("2 if self.records_itself else 1", "1")]), library, graph, network)


def faulty(replacements):
    """Return the module with parts of its code replaced."""
    source = (tensorrt_executor.__spec__.loader).get_source(tensorrt_executor.__name__)
    for there, instead in replacements:
        assert source.count(there) == 1, f"{there!r} is no longer in the module"
        source = source.replace(there, instead)
    module = ModuleType("faulty")
    module.__dict__.update(STALE={}, STREAM=STREAM)
    exec(compile(source, "faulty.py", "exec"), module.__dict__)
    return module


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda i, o: i.update(input=i["input"].double()), "input is torch.float64; the engine wants torch.float32"),
        (lambda i, o: i.update(input=i["input"].mT), "not contiguous"),
        (lambda i, o: i.update(plane=i.pop("input")), r"reads \['input'\].* is given \['plane'\]"),
        (lambda i, o: i.update(input=i["input"][0]), r"does not take input of shape \(3, 56, 72\): input takes"),
        (lambda i, o: o.update(output=o["output"][..., :100].contiguous()), r"output of the engine is \(1, 3, 112"),
    ],
    ids=["dtype", "layout", "names", "rank", "size"],
)  # fmt: skip
def test_tensors_that_do_not_fit_are_refused(change, said, library, graph):
    inputs, outputs = lane(library)
    change(inputs, outputs)
    with pytest.raises(BackendFailure, match=said):
        tensorrt_executor.Engine(library, MARK + graph).open(inputs, outputs)


def test_tensorrt_leaves_recording_to_others(library, graph):
    assert not tensorrt_executor.Engine(library, MARK + graph).records_itself


def test_what_the_library_says_is_the_message(library):
    with pytest.raises(BackendFailure, match=r"^tensorrt 10.99 refuses this engine: no magic tag$"):
        tensorrt_executor.Engine(library, b"something else")


def test_failing_run_is_an_error_and_lack_of_memory_one_of_its_own(library, graph, monkeypatch):
    executor = tensorrt_executor.Engine(library, MARK + graph).open(*lane(library))
    monkeypatch.setattr(tensorrt_stand_in.IExecutionContext, "execute_async_v3", lambda self, stream: False)
    with pytest.raises(BackendFailure, match=r"failed while running the network: it gave no reason"):
        executor.enqueue()
    with pytest.raises(BackendFailure, match=r"failed while running the network"):  # already when the lane is opened
        tensorrt_executor.Engine(library, MARK + graph).open(*lane(library))
    library.logger.log(0, "Cuda Runtime (out of\nmemory)")
    with pytest.raises(OutOfDeviceMemory, match=r"running the network: Cuda Runtime \(out of memory\); close"):
        executor.enqueue()
    monkeypatch.setattr(tensorrt_stand_in.ICudaEngine, "create_execution_context", lambda self: None)
    engine = tensorrt_executor.Engine(library, MARK + graph)
    library.logger.log(1, "OutOfMemory (Requested size was 12345)")
    with pytest.raises(OutOfDeviceMemory, match="cannot prepare"):
        engine.open(*lane(library))


def test_rtx_captures_graphs_and_keeps_its_kernels(graph, tmp_path, monkeypatch, caplog):
    library = installed(monkeypatch, stand_in(rtx=True))
    kernels = KernelFile(tmp_path / "kernels", KEY, "nano")
    engine = tensorrt_executor.Engine(library, MARK + graph, kernels)
    engine.open(*lane(library))
    assert engine.records_itself
    assert engine._engine.options().cuda_graph_strategy == tensorrt_stand_in.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
    assert kernels.read() == b"+kernels"
    again = tensorrt_executor.Engine(library, MARK + graph, kernels)
    again.open(*lane(library))
    assert again._engine.options().kernels().content == b"+kernels"
    assert kernels.read() == b"+kernels", "nothing new was compiled, so nothing must be saved"
    # Kernels that the library refuses or that are damaged are made anew.
    kernels.write(b"bad")
    tensorrt_executor.Engine(library, MARK + graph, kernels).open(*lane(library))
    assert kernels.read() == b"bad+kernels"
    (tmp_path / "kernels").write_bytes(b"foreign")
    tensorrt_executor.Engine(library, MARK + graph, kernels).open(*lane(library))
    assert kernels.read() == b"+kernels"
    assert "the cached kernels of nano are not used: it is only 7 bytes long" in caplog.text


def test_kernels_that_rtx_cannot_write_down_are_made_anew_the_next_time(graph, tmp_path, monkeypatch, caplog):
    library = installed(monkeypatch, stand_in(rtx=True))
    monkeypatch.setattr(tensorrt_stand_in.IRuntimeCache, "serialize", lambda self: None)
    kernels = KernelFile(tmp_path / "kernels", KEY, "nano")
    engine = tensorrt_executor.Engine(library, MARK + graph, kernels)
    for _ in range(2):
        engine.open(*lane(library))
    assert caplog.messages == ["tensorrt_rtx 10.99 cannot save its kernels: it gave no reason"]
    assert kernels.read() is None


def test_lack_of_memory_for_an_engine_is_no_fault_of_the_engine(graph, monkeypatch):
    module = stand_in(rtx=True)
    module.EngineInvalidityDiagnostics = Enum(
        "EngineInvalidityDiagnostics", {"VERSION_MISMATCH": 1, "INSUFFICIENT_GPU_MEMORY": 16}
    )
    module.Runtime.get_engine_validity = lambda self, data: ("INVALID", 16)
    with pytest.raises(OutOfDeviceMemory, match="refuses this engine: insufficient gpu memory"):
        tensorrt_executor.Engine(installed(monkeypatch, module), b"something else")


@pytest.mark.skipif(find_spec("tensorrt_rtx") is None, reason="tensorrt_rtx is not installed")
def test_stand_in_has_only_names_that_the_library_has():
    import tensorrt_rtx as real

    classes = {name: value for name, value in vars(tensorrt_stand_in).items() if isinstance(value, type)}
    stand_ins = {name: value for name, value in classes.items() if hasattr(real, name)} | {
        "Runtime": stand_in().Runtime
    }
    assert {"INSUFFICIENT_GPU_MEMORY", "VERSION_MISMATCH"} <= set(real.EngineInvalidityDiagnostics.__members__)
    assert {"ICudaEngine", "IExecutionContext", "IRuntimeCache", "IRuntimeConfig", "Runtime"} <= set(stand_ins)
    for name, value in stand_ins.items():
        own = {key for key in vars(value) if not key.startswith("_")} - {"inputs", "tensors", "run", "output_shapes"}
        assert own <= set(dir(getattr(real, name))), name


@pytest.mark.skipif(find_spec("tensorrt_rtx") is None, reason="tensorrt_rtx is not installed")
@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_driver_the_library_says_so():
    from vsparagon.engines.build import load_library

    with pytest.raises(BackendFailure, match="CUDA driver"):
        tensorrt_executor.Engine(load_library("tensorrt_rtx"), b"x" * 1000)
