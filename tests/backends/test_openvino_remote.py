"""OpenVINO in a separate process, because this one has loaded another: the same pictures, and clear errors."""

import gc
import io
import os
import pickle
import shutil
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from unittest.mock import Mock

import numpy as np
import psutil
import pytest
import vapoursynth as vs
from clips import arrays, clip_of, photograph
from goldens import golden_paths

import vsparagon
from vsparagon import Upscaler
from vsparagon.backends.openvino import client
from vsparagon.backends.openvino.client import WorkerProcess, worker_process
from vsparagon.backends.openvino.server import serve
from vsparagon.backends.openvino.shared_arrays import SharedArrays
from vsparagon.lookup import find_model

PICTURE = photograph(70, 90).astype(np.float32) / 255


@pytest.fixture
def conflict(monkeypatch):
    """Pretend that this process has loaded another OpenVINO, with a worker for this test alone."""

    def fail():
        raise ImportError("version mismatches")

    monkeypatch.setattr("vsparagon.backends.openvino.library.import_openvino", fail)
    for module in ("vsparagon.backends.openvino", "vsparagon.lookup.model_file"):
        monkeypatch.setattr(f"{module}.import_trouble", lambda: "version mismatches")
    monkeypatch.setattr(client, "_worker", None)
    yield
    if client._worker:
        client._worker.kill()


def apart_after(request, make):
    """Return what `make` gives with OpenVINO in this process, and with OpenVINO in a worker."""
    here = make()
    request.getfixturevalue("conflict")
    assert client._worker is None
    there = make()
    assert client._worker is not None
    return here, there


@pytest.mark.parametrize(
    ("variant", "precision"),
    [
        ("nano", "fp32"),
        pytest.param("nano", "bf16", marks=pytest.mark.needs_bf16),
        ("swift", "fp32"),
        ("swift", "int8"),
    ],
)
def test_pictures_are_the_same(variant, precision, request):
    here, there = apart_after(request, lambda: Upscaler(variant, backend="openvino", precision=precision)(PICTURE))
    assert (here == there).all()


@pytest.mark.parametrize("arguments", [{}, {"tilesize": 64}, {"num_streams": 3}], ids=str)
def test_frames_are_the_same(arguments, request):
    clip = clip_of([photograph(60, 80)[:, ::-1] if n % 2 else photograph(60, 80) for n in range(12)])

    def frames():
        return [arrays(frame) for frame in clip.paragon.Upscale(**arguments).frames(prefetch=8)]

    here, there = apart_after(request, frames)
    assert (np.array(here) == np.array(there)).all()


def test_a_network_folded_to_luma_is_the_same(request):
    clip = clip_of([photograph(60, 80)], vs.YUV420P8, matrix=1)

    def frame():
        return arrays(clip.paragon.Upscale(variant="swift", precision="int8", chroma="resizer").get_frame(0))[0]

    here, there = apart_after(request, frame)
    assert (here == there).all()


@pytest.mark.parametrize("name", ["nano_x2", "micro_x2_full_body"])
def test_stages_are_the_same(name, request, tmp_path):
    pytest.importorskip("onnx", reason="stages are exported as ONNX")
    clip = clip_of([photograph(120, 130)])

    def frame():
        enlarged = clip.paragon.Upscale(model=str(golden_paths()[name]), tilesize=96, cache=str(tmp_path))
        return arrays(enlarged.get_frame(0))

    here, there = apart_after(request, frame)
    assert (np.array(here) == np.array(there)).all()


def test_long_plans_hold_a_stage_only_while_it_runs(request, tmp_path, monkeypatch):
    pytest.importorskip("onnx", reason="stages are exported as ONNX")
    monkeypatch.setattr("vsparagon.onnx.graph_cache.FEW", 1)
    clip = clip_of([photograph(120, 130)])

    def frame():
        model = str(golden_paths()["micro_x2_full_body"])
        return arrays(clip.paragon.Upscale(model=model, tilesize=96, cache=str(tmp_path)).get_frame(0))

    here, there = apart_after(request, frame)
    assert (np.array(here) == np.array(there)).all()


def test_model_files_are_read_there(conflict, tmp_path):
    graph = find_model().graph
    assert find_model(model=str(graph)).scale == 2
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(graph.read_bytes()[:1000])
    with pytest.raises(vsparagon.ModelError, match=r"broken\.onnx is not an ONNX file that can be read"):
        find_model(model=str(broken))


def test_what_runs_where_is_said(conflict):
    lines = vs.core.core.paragon.Backends()
    place = "CPU, in a separate process, because this one has loaded another OpenVINO, such as that of vs-mlrt"
    assert f"openvino: available on {place}" in lines
    assert lines[-1].startswith("auto: openvino on CPU, in a separate process")


def test_worker_that_died_is_named_and_replaced(conflict):
    clip = clip_of([photograph(40, 56)] * 3)
    enlarged = clip.paragon.Upscale()
    enlarged.get_frame(0).close()
    first = worker_process()
    first.kill()
    with pytest.raises(vs.Error, match=r"OpenVINO's own process ended \(exit status -?\d+\); open the clip again"):
        enlarged.get_frame(1)
    clip.paragon.Upscale().get_frame(1).close()
    assert worker_process() is not first


@pytest.mark.skipif(sys.platform == "win32", reason="sends a signal")
def test_call_that_waits_for_a_worker_that_dies_is_told(conflict):
    worker, told = worker_process(), SimpleQueue()

    def ask():
        try:
            told.put(worker.call("trouble"))
        except vsparagon.BackendFailure as error:
            told.put(str(error))

    os.kill(worker.pid, signal.SIGSTOP)
    threading.Thread(target=ask, daemon=True).start()
    while not worker._answers:
        time.sleep(0.01)
    worker.kill()
    assert told.get(timeout=30).startswith("OpenVINO's own process ended")


def test_worker_whose_answers_cannot_be_read_is_ended(conflict, monkeypatch):
    worker = worker_process()
    monkeypatch.setattr(client.pickle, "load", Mock(side_effect=pickle.UnpicklingError))
    worker.call("trouble")  # whose answer is being waited for already
    worker._process.wait(timeout=30)


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_worker_forgets_what_is_dropped_here(conflict):
    def megabytes():
        return int(Path(f"/proc/{worker_process().pid}/statm").read_text(encoding="ascii").split()[1]) * 4 >> 10

    large, peaks = np.zeros((700, 800, 3), np.float32), []
    for _ in range(6):
        Upscaler(backend="openvino")(large)
        peaks.append(megabytes())
    assert peaks[-1] - peaks[1] < 100, "each takes about a hundred megabytes"


def test_many_threads_ask_at_once(conflict):
    clip = clip_of([photograph(40, 56)] * 24).paragon.Upscale()
    expected = arrays(clip.get_frame(0))
    with ThreadPoolExecutor(12) as pool:
        results = list(pool.map(lambda number: arrays(clip.get_frame(number)), range(24)))
    assert (np.array(results) == np.array(expected)).all()


def test_one_call_after_the_other_takes_one_thread(conflict):
    worker = worker_process()
    threads = []
    for _ in range(200):
        worker.call("trouble")
        threads.append(psutil.Process(worker.pid).num_threads())
    assert threads[-1] == threads[0]


def test_frames_that_fail_there_are_let_go(conflict, monkeypatch):
    core, call = vs.core.core, WorkerProcess.call
    enlarged = core.std.BlankClip(None, 56, 40, vs.RGB24, 20, keep=True).paragon.Upscale()
    enlarged.get_frame(0).close()
    monkeypatch.setattr(WorkerProcess, "call", lambda self, method, *rest: call(self, "run", 99))
    gc.collect()
    gc.disable()
    try:
        before = core.used_cache_size
        for n in range(1, 20):
            with pytest.raises(vs.Error, match=r"OpenVINO's own process failed: 99$"):
                enlarged.get_frame(n)
        assert core.used_cache_size <= before
    finally:
        gc.enable()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows cannot fork")
def test_fork_has_a_worker_of_its_own():
    program = (
        "import os, signal\n"
        "from vsparagon.backends.openvino.client import worker_process\n"
        "worker = worker_process()\n"
        "assert worker.call('trouble') == ''\n"
        "worker._lock.acquire()\n"  # as if another thread were just asking
        "child = os.fork()\n"
        "if not child:\n"
        "    signal.alarm(50)\n"
        "    try:\n"
        "        worker.call('trouble')\n"
        "    except Exception as error:\n"
        "        print(error, flush=True)\n"
        "    os._exit(worker_process() is worker or worker_process().call('trouble') != '')\n"
        "assert os.waitpid(child, 0)[1] == 0\n"
        "worker._lock.release()\n"
        "assert worker.call('trouble') == ''\n"
    )
    done = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, check=True, timeout=60)
    assert "not its forks" in done.stdout


def test_what_fails_there_is_told_here(conflict):
    worker = worker_process()
    with pytest.raises(vsparagon.BackendFailure, match=r"OpenVINO's own process failed: 99"):
        worker.call("run", 99)
    assert worker.call("trouble") == ""


def test_what_libraries_print_there_does_not_disturb_the_answers(capfd, conflict):
    assert worker_process().call("compute", os.write, 1, b"a line of a library\n") == 20
    assert worker_process().call("trouble") == ""
    assert tuple(capfd.readouterr()) == ("", "a line of a library\n")


@pytest.mark.skipif(sys.platform != "linux", reason="processes are read from /proc")
@pytest.mark.parametrize("end", ["os.kill(os.getpid(), 9)", "sys.exit()"])
def test_worker_ends_with_its_process(end):
    program = (
        "import os, sys\n"
        "from vsparagon.backends.openvino.client import worker_process\n"
        "assert worker_process().call('trouble') == ''\n"
        "print(worker_process().pid, flush=True)\n"
        f"{end}\n"
    )
    done = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, check=False, timeout=60)
    deadline = time.monotonic() + 30
    while is_running(int(done.stdout)):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_worker_does_not_wait_for_calls_in_progress():
    released, begun = threading.Event(), threading.Event()

    class Waiting:
        def take(self):
            begun.set()
            released.wait(60)

    message = pickle.dumps((0, [], "take", ()))
    serving = threading.Thread(target=serve, args=(Waiting(), io.BytesIO(message), io.BytesIO()), daemon=True)
    serving.start()
    assert begun.wait(10)
    serving.join(10)
    assert not serving.is_alive()
    released.set()


def is_running(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_files_are_those_of_the_folder_that_this_process_is_in(conflict, tmp_path, monkeypatch):
    for folder, scale in (("a", 2), ("b", 3)):
        (tmp_path / folder).mkdir()
        monkeypatch.chdir(tmp_path / folder)
        shutil.copy(find_model(variant="swift", scale=scale).graph, "net.onnx")
        clip = clip_of([photograph(40, 56)]).paragon.Upscale(model="net.onnx", cache="kept")
        assert clip.get_frame(0).width == 56 * scale
        assert list(Path("kept").glob("openvino-*/*/*.blob"))


def test_worker_is_not_misled_by_modules_that_are_called_like_pythons(conflict, tmp_path, monkeypatch):
    for name in ("numpy", "pathlib"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit(3)", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(client, "__file__", str(tmp_path / "1/2/3/client.py"))
    assert worker_process().call("trouble") == ""


@pytest.mark.skipif(sys.platform != "linux", reason="descriptors are counted in /proc")
def test_slots_take_one_descriptor_each(conflict):
    clip = clip_of([photograph(40, 56)])
    clip.paragon.Upscale().get_frame(0).close()
    before = len(list(Path("/proc/self/fd").iterdir()))
    opened = clip.paragon.Upscale(num_streams=20)
    assert len(list(Path("/proc/self/fd").iterdir())) - before <= 22
    assert opened.num_frames == 1


def test_shared_arrays_are_the_same_memory():
    shapes = {"a": (2, 3), "b": (1, 5, 7)}
    ours = SharedArrays(shapes)
    theirs = SharedArrays(shapes, ours.place)
    ours.arrays["a"][1, 2] = 5
    theirs.arrays["b"][:] = 7
    assert theirs.arrays["a"].sum() == 5
    assert (ours.arrays["b"] == 7).all()
    assert ours.arrays["a"].sum() == 5
