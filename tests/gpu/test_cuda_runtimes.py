"""On an NVIDIA GPU: engines are really built, kept, shared and interrupted, and ONNX Runtime computes only there.

test_cuda.py tests what all backends have in common on a GPU.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest
import vapoursynth as vs
from clips import arrays, clip_of, photograph
from engines import STOP_IN_THE_MIDDLE, TELL_STEPS, building_process
from places import SCRIPTS

torch = pytest.importorskip("torch", reason="GPUs are reached through torch")
pytest.importorskip("onnx", reason="frame graphs are ONNX")

from onnx_files import one_node, shuffle_network  # noqa: E402

from vsparagon import backends  # noqa: E402
from vsparagon.backends.base import FrameBackend  # noqa: E402
from vsparagon.backends.onnxruntime.cuda import CUDA, OnnxRuntimeCuda, OnnxRuntimeExecutor  # noqa: E402
from vsparagon.backends.tensorrt import cuda as tensorrt_cuda  # noqa: E402
from vsparagon.backends.tensorrt.cuda import TensorRTCuda  # noqa: E402
from vsparagon.cache import kept_files  # noqa: E402
from vsparagon.cli.cache import about  # noqa: E402
from vsparagon.engines.build import LIBRARIES  # noqa: E402
from vsparagon.errors import BackendFailure, BackendUnavailable  # noqa: E402

pytestmark = pytest.mark.needs_cuda

PATIENCE = 600  # seconds; TensorRT measures its kernels


@pytest.fixture(params=LIBRARIES)
def library(request):
    runtime = backends.RUNTIMES[request.param]
    try:
        bound = runtime.on(0) if not runtime.missing() else None
    except BackendUnavailable as error:
        pytest.skip(str(error))
    if bound is None:
        pytest.skip(runtime.missing())
    assert isinstance(bound, TensorRTCuda)
    return request.param


def start(library, folder, before=""):
    command = [sys.executable, "-c", building_process(before), library, str(folder)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def engines_in(folder):
    return kept_files(folder, "engines")


def upscaled(library, folder, **arguments):
    clip = clip_of([photograph(180, 320)], vs.YUV420P8, matrix=1)
    return vs.core.paragon.Upscale(clip, backend=library, cache=str(folder), **arguments).get_frame(0)


def test_engine_is_built_once_and_read_again(library, tmp_path, monkeypatch):
    upscaled(library, tmp_path)
    (engine,) = engines_in(tmp_path)
    assert about(engine).startswith("engine of nano x2 clean for 320x180 yuv of 8 bit, fp16, by ")
    monkeypatch.setattr(tensorrt_cuda, "build_engine", lambda *arguments, **options: 1 / 0)
    upscaled(library, tmp_path)


def test_damaged_engine_is_built_anew(library, tmp_path, caplog):
    upscaled(library, tmp_path)
    (engine,) = engines_in(tmp_path)
    content = engine.path.read_bytes()
    engine.path.write_bytes(content[: len(content) // 2])
    upscaled(library, tmp_path)
    assert "cut short or damaged" in caplog.text
    assert engine.path.stat().st_size > len(content) // 2


def test_build_killed_in_the_middle_harms_nobody(library, tmp_path):
    first = start(library, tmp_path, STOP_IN_THE_MIDDLE)
    assert first.stdout.readline() == "in the middle\n", first.communicate()
    second = start(library, tmp_path)
    first.kill()
    first.communicate()
    out, err = second.communicate(timeout=PATIENCE)
    assert (out, second.returncode) == ("done\n", 0), err
    assert len(engines_in(tmp_path)) == 1


def test_two_processes_build_one_engine(library, tmp_path):
    processes = [start(library, tmp_path) for _ in range(2)]
    told = [process.communicate(timeout=PATIENCE) for process in processes]
    assert [out for out, _ in told] == ["done\n", "done\n"], told
    assert sum("no engine of" in err for _, err in told) == 1
    assert len(engines_in(tmp_path)) == 1


def test_interrupted_build_ends_and_keeps_nothing(library, tmp_path):
    process = start(library, tmp_path, TELL_STEPS)
    assert process.stdout.readline() == "step\n", process.communicate()
    os.kill(process.pid, signal.SIGINT)
    out, _ = process.communicate(timeout=PATIENCE)
    assert "done" not in out
    assert process.returncode != 0
    assert engines_in(tmp_path) == []


def test_script_builds_an_engine_of_any_size(library, tmp_path):
    script = SCRIPTS / "build_engine.py"
    command = [sys.executable, script, "--backend", library, "--shapes", "64x64/320x180/640x360", "--output", "engine"]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=PATIENCE)
    from vsparagon.backends.tensorrt.executor import Engine
    from vsparagon.engines.build import load_library

    engine = Engine(load_library(library), (tmp_path / "engine").read_bytes())
    results = []
    with torch.cuda.stream(torch.cuda.Stream()):
        for height, width in ((64, 64), (180, 320), (360, 640)):
            pictures = torch.rand(1, 3, height, width, device="cuda").half()
            enlarged = torch.zeros(1, 3, 2 * height, 2 * width, device="cuda", dtype=torch.float16)
            engine.open({"input": pictures}, {"output": enlarged}).enqueue()
            torch.cuda.current_stream().synchronize()
            results.append((pictures.float().mean() - enlarged.float().mean()).abs().item())
    assert max(results) < 0.05


@pytest.mark.parametrize("arguments", [{}, {"tilesize": 64}], ids=str)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("backend", ["onnxruntime", *LIBRARIES])
def test_networks_of_others_give_the_frames_of_the_cpu(backend, channels, arguments, tmp_path):
    runtime = backends.RUNTIMES[backend]
    if missing := runtime.missing():
        pytest.skip(missing)
    if not isinstance(runtime.on(0), FrameBackend):
        pytest.skip(f"{backend} does not run on this GPU")
    path = str(shuffle_network(tmp_path / "net.onnx", channels=channels))
    ours, expected = (
        arrays(upscaled(name, tmp_path, model=path, **more)) for name, more in ((backend, arguments), ("openvino", {}))
    )
    for plane, reference in zip(ours, expected, strict=True):
        assert abs(plane - reference).max() <= 1


def test_onnxruntime_computes_on_the_gpu_alone():
    bound = backends.RUNTIMES["onnxruntime"].on(0)
    if not isinstance(bound, OnnxRuntimeCuda):
        pytest.skip(bound.place)
    planes = [{name: torch.full((4, 4), -3.0, device="cuda")} for name in ("plane0", "result0")]
    with torch.cuda.stream(torch.cuda.Stream()):
        executor = bound.open_executor(one_node(), *planes)
        assert executor._session.get_providers()[0] == CUDA
        executor.enqueue()
        torch.cuda.current_stream().synchronize()
    assert (planes[1]["result0"] == 3).all()
    # The provider has no kernel for this operator, so ONNX Runtime would run it on the CPU.
    with pytest.raises(BackendFailure, match="CPU"), torch.cuda.stream(torch.cuda.Stream()):
        OnnxRuntimeExecutor(one_node("Acosh"), *planes)
