"""TensorRT and ONNX Runtime as backends for frames: how the filter uses them, with stand-ins for the GPU."""

from __future__ import annotations

import builtins
import runpy
import sys
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import vapoursynth as vs
from clips import arrays, assert_same_planes, clip_in
from places import SCRIPTS

torch = pytest.importorskip("torch", reason="devices are reached through torch")
pytest.importorskip("onnx", reason="frame graphs are ONNX")
onnxruntime = pytest.importorskip("onnxruntime", reason="it computes the frames")

import numpy as np  # noqa: E402
from onnx_files import one_node, shuffle_network  # noqa: E402
from tensorrt_stand_in import MARK, stand_in  # noqa: E402

from vsparagon.backends import (  # noqa: E402
    available_on,
    base,
    choose_backend,
    tensorrt,
)
from vsparagon.backends import onnxruntime as onnxruntime_runtime  # noqa: E402
from vsparagon.backends.onnxruntime import OnnxRuntime  # noqa: E402
from vsparagon.backends.onnxruntime import cpu as onnxruntime_cpu  # noqa: E402
from vsparagon.backends.onnxruntime import cuda as onnxruntime_cuda  # noqa: E402
from vsparagon.backends.onnxruntime import library as onnxruntime_library  # noqa: E402
from vsparagon.backends.onnxruntime.cuda import CUDA, OnnxRuntimeCuda, OnnxRuntimeExecutor  # noqa: E402
from vsparagon.backends.tensorrt import TensorRT  # noqa: E402
from vsparagon.backends.tensorrt import cuda as tensorrt_cuda  # noqa: E402
from vsparagon.backends.tensorrt.cuda import TensorRTCuda  # noqa: E402
from vsparagon.device import recorded as recording  # noqa: E402
from vsparagon.device.gpus import Gpu  # noqa: E402
from vsparagon.device.lanes import Lane  # noqa: E402
from vsparagon.engines.build import TensorRTLibrary, load_library  # noqa: E402
from vsparagon.errors import BackendFailure, BackendUnavailable, OutOfDeviceMemory  # noqa: E402

FORMATS = [vs.YUV420P8, vs.YUV422P10, vs.RGBS, vs.GRAYH]
CARD = Gpu(name="Some Card", capability=(8, 9))


@pytest.fixture
def onnx_runtime(monkeypatch):
    monkeypatch.setattr(OnnxRuntime, "on", lambda self, device_id: OnnxRuntimeCuda("cpu", "a stand-in"))


class Engines:
    """TensorRT with the stand-in as its runtime, engines that contain their graphs, and the CPU's memory."""

    def __init__(self, monkeypatch, name):
        self.built = []
        self.module = stand_in(rtx=name == "tensorrt_rtx", at_once=True)
        self.library = library = TensorRTLibrary(self.module)

        def on(backend, device_id):
            chosen = TensorRTCuda(library, device_id)
            chosen.device = "cpu"
            return chosen

        def build(library, onnx, *, name, device):
            self.built.append(name)
            return MARK + onnx

        monkeypatch.setattr(tensorrt_cuda, "gpus", lambda: (CARD,))
        monkeypatch.setattr(tensorrt_cuda, "driver_version", lambda: "580.1")
        monkeypatch.setattr(tensorrt_cuda, "build_engine", build)
        monkeypatch.setattr(TensorRT, "missing", lambda backend: "")
        monkeypatch.setattr(TensorRT, "on", on)
        monkeypatch.setattr(torch.cuda, "device", nullcontext)
        monkeypatch.setattr(torch.cuda, "current_stream", lambda device: self.module.stream)
        original = Lane.__init__

        def watched(lane, *arguments):
            original(lane, *arguments)
            for tensor in (*lane.inputs.values(), *lane.outputs.values()):
                self.module.memory.watch(tensor)

        monkeypatch.setattr(Lane, "__init__", watched)


@pytest.fixture(params=["tensorrt", "tensorrt_rtx"])
def engines(request, monkeypatch):
    engines = Engines(monkeypatch, request.param)
    engines.name = request.param
    return engines


def upscaled(clip, backend, tmp_path, **arguments):
    return vs.core.paragon.Upscale(clip, backend=backend, cache=str(tmp_path), **arguments)


def assert_same(result, clip):
    """Assert that the frames are those of OpenVINO."""
    expected = vs.core.paragon.Upscale(clip, backend="openvino")
    for frame, reference in zip(result.frames(), expected.frames(), strict=True):
        assert_same_planes(arrays(frame), arrays(reference), clip.format)


@pytest.mark.parametrize("format_id", FORMATS)
def test_onnxruntime_gives_the_frames_of_the_resizers_way(format_id, onnx_runtime, tmp_path):
    clip = clip_in(format_id, 2)
    assert_same(upscaled(clip, "onnxruntime", tmp_path, precision="fp32"), clip)


def test_tensorrt_takes_graphs_of_others_too(engines, tmp_path):
    clip, path = clip_in(vs.YUV420P8, 2), shuffle_network(tmp_path / "net.onnx")
    result, expected = (upscaled(clip, name, tmp_path, model=str(path)) for name in (engines.name, "openvino"))
    for ours, theirs in zip(arrays(result.get_frame(0)), arrays(expected.get_frame(0)), strict=True):
        assert np.abs(ours - theirs).max() <= 1
    fixed = shuffle_network(tmp_path / "fixed.onnx", size=(48, 64))
    with pytest.raises(vs.Error, match=rf"'{engines.name}' cannot be used: fixed\.onnx takes pictures of .*openvino"):
        upscaled(clip, engines.name, tmp_path, model=str(fixed))


def test_tensorrt_takes_networks_for_one_plane(engines, tmp_path):
    clip, path = clip_in(vs.YUV420P8, 2), shuffle_network(tmp_path / "luma.onnx", channels=1)
    result, expected = (upscaled(clip, name, tmp_path, model=str(path)) for name in (engines.name, "openvino"))
    for ours, theirs in zip(arrays(result.get_frame(0)), arrays(expected.get_frame(0)), strict=True):
        assert np.abs(ours - theirs).max() <= 1


@pytest.mark.parametrize("format_id", FORMATS)
def test_tensorrt_gives_the_frames_of_the_resizers_way(format_id, engines, tmp_path):
    clip = clip_in(format_id, 2)
    assert_same(upscaled(clip, engines.name, tmp_path, precision="fp32"), clip)


def test_half_precision_is_within_one_step_of_8_bit(engines, onnx_runtime, tmp_path):
    clip = clip_in(vs.YUV420P8, 2)
    assert_same(upscaled(clip, engines.name, tmp_path), clip)
    assert_same(upscaled(clip, "onnxruntime", tmp_path), clip)


def test_tiles_give_the_same_frames(engines, onnx_runtime, tmp_path):
    clip = clip_in(vs.YUV420P8, 2, size=(150, 200))
    for backend in (engines.name, "onnxruntime"):
        assert_same(upscaled(clip, backend, tmp_path, precision="fp32", tilesize=[128, 96]), clip)


@pytest.mark.parametrize(("itself", "recorded"), [(False, ["executor"]), (True, [])])
def test_what_does_not_record_itself_is_recorded(itself, recorded, monkeypatch):
    taken = []
    monkeypatch.setattr(recording, "Recorded", lambda executor: taken.append(executor) or "recorded")
    monkeypatch.setattr(tensorrt_cuda, "gpus", lambda: (CARD,))
    backend = TensorRTCuda(TensorRTLibrary(stand_in(rtx=itself)), 0)
    engine = SimpleNamespace(records_itself=itself, open=lambda inputs, outputs: "executor")
    assert backend.open_executor(engine, {}, {}) == ("recorded" if recorded else "executor")
    assert taken == recorded


def test_what_cannot_be_recorded_is_queued_and_that_is_said(monkeypatch, caplog):
    def refuse(executor):
        raise error

    monkeypatch.setattr(recording, "Recorded", refuse)
    error = RuntimeError("operation not permitted when stream is capturing")
    assert recording.recorded_if_possible("executor", "this engine") == "executor"
    assert (
        "this engine cannot be captured as a CUDA graph and is launched separately for each frame: operation"
        in caplog.text
    )
    for error in (torch.OutOfMemoryError("CUDA out of memory"), OutOfDeviceMemory("no memory")):
        with pytest.raises(type(error)):
            recording.recorded_if_possible("executor", "this engine")


def test_engine_is_kept_for_just_this(engines, tmp_path, monkeypatch):
    clip = clip_in(vs.YUV420P8, 2)
    for _ in range(2):
        upscaled(clip, engines.name, tmp_path).get_frame(0)
    assert len(engines.built) == 1
    for other in ({"precision": "fp32"}, {"variant": "micro"}, {"format": vs.YUV444P8}):
        upscaled(clip, engines.name, tmp_path, **other).get_frame(0)
    upscaled(clip_in(vs.YUV420P8, 2, size=(50, 64)), engines.name, tmp_path).get_frame(0)
    assert len(engines.built) == 5
    engines.library.version = "10.100"
    upscaled(clip, engines.name, tmp_path).get_frame(0)
    monkeypatch.setattr(tensorrt_cuda, "driver_version", lambda: "590.2")
    upscaled(clip, engines.name, tmp_path).get_frame(0)
    assert len(engines.built) == 7
    other = Gpu(name="Some Card", capability=(12, 0)), Gpu(name="Another Card", capability=(8, 9))
    monkeypatch.setattr(tensorrt_cuda, "gpus", lambda: other)
    for device_id in (0, 1):
        upscaled(clip, engines.name, tmp_path, device_id=device_id).get_frame(0)
    assert len(engines.built) == 9


def test_kept_engine_that_the_library_refuses_is_built_again_once(engines, tmp_path, caplog):
    clip = clip_in(vs.YUV420P8, 2)
    refused = []
    runtime = engines.module.Runtime.deserialize_cuda_engine

    def first_refuses(self, data):
        refused.append(data)
        return None if len(refused) == 2 else runtime(self, data)

    engines.module.Runtime.deserialize_cuda_engine = first_refuses
    upscaled(clip, engines.name, tmp_path).get_frame(0)
    upscaled(clip, engines.name, tmp_path).get_frame(0)
    assert len(engines.built) == 2
    assert "is not used: " in caplog.text
    assert "refuses this engine" in caplog.text
    engines.module.Runtime.deserialize_cuda_engine = lambda self, data: None
    with pytest.raises(vs.Error, match="refuses this engine"):
        upscaled(clip, engines.name, tmp_path)
    assert len(engines.built) == 3
    with pytest.raises(vs.Error, match="refuses this engine"):
        upscaled(clip, engines.name, tmp_path / "fresh")
    assert len(engines.built) == 4, "an engine that was just built must not be built again"


def test_lack_of_memory_leads_to_tiles(engines, tmp_path, monkeypatch, caplog):
    clip = clip_in(vs.YUV420P8, 2, size=(150, 200))
    original = tensorrt_cuda.build_engine

    def scarce(library, onnx, **arguments):
        if not engines.built:
            engines.built.append("too large")
            library.logger.log(1, "Requested amount of GPU memory (123 bytes) could not be allocated: OutOfMemory")
            raise library.failure("cannot build this model")
        return original(library, onnx, **arguments)

    monkeypatch.setattr(tensorrt_cuda, "build_engine", scarce)
    assert_same(upscaled(clip, engines.name, tmp_path, precision="fp32"), clip)
    assert "Trying once more with each frame in" in caplog.text


def test_kept_engine_for_which_memory_lacks_is_not_thrown_away(engines, tmp_path):
    clip, loads = clip_in(vs.YUV420P8, 2, size=(150, 200)), engines.module.Runtime.deserialize_cuda_engine
    upscaled(clip, engines.name, tmp_path, precision="fp32").get_frame(0)
    (kept,) = (tmp_path / "engines").glob("*.engine")

    def first_lacks(self, data):
        engines.module.Runtime.deserialize_cuda_engine = loads
        self._logger.log(1, "OutOfMemory (Requested size was 12345)")

    engines.module.Runtime.deserialize_cuda_engine = first_lacks
    assert_same(upscaled(clip, engines.name, tmp_path, precision="fp32"), clip)
    assert kept in (files := list(kept.parent.glob("*.engine")))
    assert len(files) == len(engines.built) == 2, "the engine for tiles must be the only new one"


def lane_of(*shape):
    return {"plane0": torch.zeros(shape)}, {"result0": torch.zeros(shape)}


def test_provider_that_fell_back_to_the_cpu_is_an_error(monkeypatch, recwarn):
    if CUDA in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime has the CUDA provider")
    monkeypatch.setattr(onnxruntime_cuda, "_provider", lambda device: (CUDA, {}))
    with pytest.raises(
        BackendFailure, match=r"CUDAExecutionProvider: .*fallback to CPU EP has been explicitly disabled"
    ):
        OnnxRuntimeExecutor(one_node(), *lane_of(4, 4))
    # If a library ignores that entry, the executor checks the chosen provider.
    monkeypatch.setattr(onnxruntime.SessionOptions, "add_session_config_entry", lambda self, key, value: None)
    with pytest.raises(BackendFailure, match=r"fell back to the CPU: its CUDA provider cannot be loaded"):
        OnnxRuntimeExecutor(one_node(), *lane_of(4, 4))


def test_onnxruntime_reads_and_writes_the_lanes_own_memory():
    inputs, outputs = lane_of(4, 4)
    executor = OnnxRuntimeExecutor(one_node(), inputs, outputs)
    inputs["plane0"].fill_(-3)
    executor.enqueue()
    assert (outputs["result0"] == 3).all()


def test_what_onnxruntime_says_is_the_message(monkeypatch):
    with pytest.raises(BackendFailure, match=r"refused the network on CPUExecutionProvider: .+"):
        OnnxRuntimeExecutor(b"no graph", *lane_of(4, 4))
    with pytest.raises(BackendFailure, match="contiguous"):
        OnnxRuntimeExecutor(one_node(), {"plane0": torch.zeros(4, 8)[:, ::2]}, {"result0": torch.zeros(4, 4)})
    executor = OnnxRuntimeExecutor(one_node(), *lane_of(4, 4))

    class Session:
        def run_with_iobinding(self, *arguments):
            raise Exception("BFCArena::AllocateRawInternal Failed to allocate memory for requested buffer")

    executor._session = Session()
    with pytest.raises(OutOfDeviceMemory, match="close other programs that use the GPU"):
        executor.enqueue()


def test_provider_that_fails_is_not_told_on_standard_output(monkeypatch, capfd):
    def fails(*arguments):
        raise RuntimeError("CUDA failure 2: out of memory")

    monkeypatch.setattr(onnxruntime.InferenceSession, "_create_inference_session", fails)
    with pytest.raises(OutOfDeviceMemory, match="refused the network on CPUExecutionProvider: CUDA failure 2"):
        OnnxRuntimeExecutor(one_node(), *lane_of(4, 4))
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CUDA])
    assert "out of memory" in onnxruntime_cuda.provider_trouble.__wrapped__(0)
    assert capfd.readouterr().out == ""


def test_memory_that_onnxruntime_lacks_at_its_second_run_is_missed_when_a_lane_is_opened(monkeypatch):
    runs = []

    def run(self, *arguments):
        runs.append(arguments)
        if len(runs) == 2:
            raise Exception("Failed to allocate memory for requested buffer of size 12345")

    monkeypatch.setattr(onnxruntime.InferenceSession, "run_with_iobinding", run)
    with pytest.raises(OutOfDeviceMemory, match="size 12345"):
        OnnxRuntimeCuda("cpu", "a stand-in").open_executor(one_node(), *lane_of(4, 4))


def test_onnxruntime_that_lacks_its_cuda_is_unavailable_not_a_crash(monkeypatch):
    """Packages for GPUs from 1.27 on cannot be imported if CUDA 13 is not installed."""

    def lacking(name, *arguments, **options):
        if name == "onnxruntime":
            raise ImportError("libcudart.so.13: cannot open shared object file: No such file or directory")
        return original(name, *arguments, **options)

    original = builtins.__import__
    monkeypatch.setattr(builtins, "__import__", lacking)
    for user in (onnxruntime_cpu, onnxruntime_cuda):
        monkeypatch.setattr(user, "onnxruntime_module", onnxruntime_library.onnxruntime_module.__wrapped__)
    monkeypatch.setattr(base, "gpus", lambda: (CARD,))
    monkeypatch.setattr(onnxruntime_runtime, "torch_trouble", lambda device_id: "")
    why = r"'onnxruntime' cannot be used: .*cannot be imported \(libcudart\.so\.13: .*\); install"
    with pytest.raises(BackendUnavailable, match=why):
        choose_backend("onnxruntime")
    assert available_on(OnnxRuntime())[0] == ""


def test_onnxruntime_without_torch_runs_on_the_cpu(monkeypatch):
    monkeypatch.setattr(base, "gpus", lambda: (CARD,))
    monkeypatch.setattr("vsparagon.extras.find_spec", lambda name: None if name == "torch" else object())
    monkeypatch.setattr(onnxruntime_runtime, "torch_trouble", lambda device_id: 1 / 0)
    why = 'torch is not installed; pip install "vsparagon[onnxruntime-gpu]"'
    assert OnnxRuntime().on(0).place == f"CPU, because ONNX Runtime cannot use the GPU: {why}"


def test_onnxruntime_without_cuda_says_so_and_runs_on_the_cpu(monkeypatch):
    monkeypatch.setattr(base, "gpus", lambda: (CARD,))
    monkeypatch.setattr(onnxruntime_runtime, "torch_trouble", lambda device_id: "")
    trouble = onnxruntime_cuda.provider_trouble.__wrapped__
    monkeypatch.setattr(onnxruntime_cuda, "provider_trouble", trouble)
    if CUDA not in onnxruntime.get_available_providers():
        assert "it was built for the CPU only; pip uninstall onnxruntime" in OnnxRuntime().on(0).place
    # A build for GPUs whose provider lacks its libraries: it warns, and uses the CPU.
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CUDA, "CPUExecutionProvider"])
    if not torch.cuda.is_available():
        place = OnnxRuntime().on(0).place
        assert place.startswith("CPU, because ONNX Runtime cannot use the GPU: its CUDA provider cannot be loaded")
        with pytest.raises(BackendUnavailable, match="device_id is 1, but ONNX Runtime cannot use it: its CUDA"):
            OnnxRuntime().on(1)
    monkeypatch.setattr(onnxruntime_cuda, "provider_trouble", lambda device_id: "")
    chosen = OnnxRuntime().on(0)
    assert isinstance(chosen, OnnxRuntimeCuda)
    assert (chosen.device, chosen.place) == ("cuda:0", "cuda:0 (Some Card)")


@pytest.mark.parametrize(
    ("capability", "name", "said"),
    [
        ((7, 0), "tensorrt", "compute capability 7.0, which tensorrt 10.99 does not support"),
        ((7, 5), "tensorrt", ""),
        ((7, 5), "tensorrt_rtx", "compute capability 7.5, which tensorrt_rtx 10.99 does not support in full"),
        ((9, 0), "tensorrt_rtx", "compute capability 9.0, which tensorrt_rtx 10.99 does not support"),
        ((9, 0), "tensorrt", ""),
        ((8, 9), "tensorrt_rtx", ""),
    ],
)
def test_gpu_that_a_library_is_not_for_is_named(capability, name, said, monkeypatch):
    from enum import Enum

    module = stand_in(rtx=name == "tensorrt_rtx")
    if name == "tensorrt_rtx":
        module.ComputeCapability = Enum("ComputeCapability", ["SM75", "SM89", "SM120"])
    monkeypatch.setattr(tensorrt, "load_library", lambda name: TensorRTLibrary(module))
    monkeypatch.setattr(tensorrt, "gpus", lambda: (Gpu(name="Some Card", capability=capability),))
    assert said in tensorrt.library_trouble.__wrapped__(name, 0)
    assert bool(said) == bool(tensorrt.library_trouble.__wrapped__(name, 0))


def test_missing_gpu_is_not_blamed_on_the_driver_alone(monkeypatch):
    monkeypatch.setattr(tensorrt, "trouble_without", lambda *modules, extra: "")
    monkeypatch.setattr(tensorrt, "gpus", tuple)
    wanted = "no NVIDIA GPU was found; if this machine has one, install its driver"
    assert TensorRT("tensorrt_rtx").missing() == wanted


def test_library_that_does_not_start_is_named(monkeypatch):
    module = stand_in()

    def broken(logger):
        logger.log(0, "CUDA initialization failure with error: 35")
        raise TypeError("pybind11::init(): factory function returned nullptr")

    module.Runtime = broken
    monkeypatch.setattr(tensorrt, "load_library", lambda name: TensorRTLibrary(module))
    monkeypatch.setattr(tensorrt, "gpus", lambda: (CARD,))
    assert "CUDA initialization failure with error: 35" in tensorrt.library_trouble.__wrapped__("tensorrt", 0)


@pytest.mark.parametrize("precision", ["fp16", "fp32"])
@pytest.mark.parametrize("format_id", FORMATS)
def test_frame_graphs_build_for_real(precision, format_id, monkeypatch, tmp_path):
    pytest.importorskip("tensorrt_rtx", reason="it builds engines without a GPU")
    engines = Engines(monkeypatch, "tensorrt_rtx")
    sizes = []

    def build(library, onnx, *, name, device):
        from vsparagon.engines.build import build_engine

        sizes.append(len(build_engine(load_library("tensorrt_rtx"), onnx, name=name)))
        return MARK + onnx

    monkeypatch.setattr(tensorrt_cuda, "build_engine", build)
    upscaled(clip_in(format_id, 2), "tensorrt_rtx", tmp_path, precision=precision).get_frame(0)
    assert len(sizes) == 1
    assert sizes[0] > 10_000
    assert engines.built == []


def test_script_builds_ahead_what_the_filter_takes(engines, tmp_path, monkeypatch, capsys):
    script = SCRIPTS / "build_engine.py"
    options = ["--backend", engines.name, "--clip", "yuv420p8", "--width", "64", "--height", "48"]
    monkeypatch.setattr(sys, "argv", [str(script), *options, "--cache", str(tmp_path)])
    with pytest.raises(SystemExit, match="0"):
        runpy.run_path(str(script), run_name="__main__")
    assert capsys.readouterr().out == "cached for 64x48 YUV420P8; `vsparagon cache list` shows it\n"
    assert engines.built == ["nano x2 clean for 64x48 yuv of 8 bit"]
    untagged = vs.core.std.BlankClip(format=vs.YUV420P8, width=64, height=48, length=1)
    upscaled(untagged, engines.name, tmp_path).get_frame(0)
    assert len(engines.built) == 1, "the filter must find the kept engine"
    upscaled(untagged, engines.name, tmp_path, precision="fp32").get_frame(0)
    assert len(engines.built) == 2
