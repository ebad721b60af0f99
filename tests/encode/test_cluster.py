"""`vsparagon encode` with workers, some of which are killed."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("ffmpeg", reason="command lines of ffmpeg are built with ffmpeg-python")
distributed = pytest.importorskip("distributed", reason="segments are distributed by Dask")
if sys.platform != "linux":
    pytest.skip("processes are looked up in /proc", allow_module_level=True)

from subprocess import PIPE, Popen  # noqa: E402

from films import FRAMES, SEGMENT, command, encode, equals, finished_segments  # noqa: E402

from vsparagon.encode import cluster  # noqa: E402
from vsparagon.encode.segment import Span  # noqa: E402
from vsparagon.errors import EncodeFailure  # noqa: E402

pytestmark = pytest.mark.slow

SLOW = """
import time
def wait(n, f):
    time.sleep(0.04)
    return f
clip.std.ModifyFrame(clip, wait).set_output()
"""


@pytest.fixture
def slow(tmp_path):
    script = tmp_path / "slow.vpy"
    script.write_text(SLOW)
    return script


def workers_of(pid):
    """Return the ids of the workers that Dask has started as children of a process."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            line = (folder / "cmdline").read_bytes()
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, IndexError):
            continue
        if parent == pid and b"spawn_main" in line:
            found.append(int(folder.name))
    return found


def start(out, segments, *arguments, **options):
    process = Popen(command(*arguments), stdout=PIPE, stderr=PIPE, text=True, **options)
    deadline = time.monotonic() + 120
    while finished_segments(out) < segments:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return process


def gone(pids, seconds):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not any(Path(f"/proc/{pid}").exists() for pid in pids):
            return True
        time.sleep(0.1)
    return False


def test_two_workers_make_the_same_film(film, whole, tmp_path):
    out = tmp_path / "out.mkv"
    done = encode(film, out, "--segment-frames", SEGMENT, "--workers", 2)
    assert done.returncode == 0, done.stderr
    assert "segments are encoded by 2 processes; dashboard: http://" in done.stderr
    equals(out, whole)


def test_worker_that_is_killed_is_replaced_and_the_film_is_the_same(film, whole, slow, tmp_path):
    out = tmp_path / "out.mkv"
    process = start(out, 2, film, out, "--segment-frames", SEGMENT, "--filter-script", slow, "--workers", 2)
    before = workers_of(process.pid)
    assert len(before) == 2
    os.kill(before[0], signal.SIGKILL)
    deadline = time.monotonic() + 30
    while len(set(workers_of(process.pid)) - {before[0]}) < 2 and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    stderr = process.communicate(timeout=120)[1]
    assert process.returncode == 0, stderr
    assert "Traceback" not in stderr
    equals(out, whole)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_work_of_many_is_gone_on_with_by_one(number, film, whole, slow, tmp_path):
    out = tmp_path / "out.mkv"
    arguments = (film, out, "--segment-frames", SEGMENT, "--filter-script", slow)
    process = start(out, 2, *arguments, "--workers", 2)
    workers = workers_of(process.pid)
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=30)
    assert stdout == ""
    assert gone(workers, 20)
    if number == signal.SIGINT:
        assert process.returncode == 130
        assert stderr.splitlines()[-1].startswith("vsparagon: stopped; ")
        assert "Traceback" not in stderr
    kept = finished_segments(out)
    assert kept >= 2
    done = encode(*arguments)
    assert done.returncode == 0, done.stderr
    assert f"resuming: {kept * SEGMENT} of {FRAMES} frames done" in done.stderr
    equals(out, whole)


def test_ctrl_c_that_reaches_the_workers_too_is_one_line(film, slow, tmp_path):
    out = tmp_path / "out.mkv"
    arguments = (film, out, "--segment-frames", SEGMENT, "--filter-script", slow, "--workers", 2)
    process = start(out, 2, *arguments, start_new_session=True)
    workers = workers_of(process.pid)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    stderr = process.communicate(timeout=30)[1]
    assert process.returncode == 130
    assert stderr.splitlines()[-1].startswith("vsparagon: stopped; ")
    assert "Traceback" not in stderr
    assert gone(workers, 20)


def test_ctrl_c_while_the_workers_start_reaches_none_of_them_and_closes_all(monkeypatch):
    closed = []

    class Starting:
        def __init__(self, **_):
            assert signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, [])
            os.kill(os.getpid(), signal.SIGINT)

        def close(self, timeout):
            closed.append(self)

    monkeypatch.setattr(distributed, "LocalCluster", Starting)
    with pytest.raises(KeyboardInterrupt), cluster.open_client(workers=1, address=""):
        pass
    assert len(closed) == 1
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


def test_cluster_at_an_address_makes_the_same_film(film, whole, tmp_path):
    out = tmp_path / "out.mkv"
    with distributed.LocalCluster(n_workers=1, threads_per_worker=2, dashboard_address="127.0.0.1:0") as cluster:
        done = encode(film, out, "--segment-frames", SEGMENT, "--cluster", cluster.scheduler_address)
    assert done.returncode == 0, done.stderr
    equals(out, whole)


def test_failure_in_a_worker_is_one_line(film, tmp_path):
    script = tmp_path / "fail.vpy"
    script.write_text(
        "def choose(n):\n"
        "    if n == 30:\n"
        "        raise ValueError('bad luck')\n"
        "    return clip\n"
        "clip.std.FrameEval(choose).set_output()\n"
    )
    out = tmp_path / "out.mkv"
    done = encode(film, out, "--segment-frames", SEGMENT, "--filter-script", script, "--workers", 1)
    assert done.returncode == 1
    line = done.stderr.splitlines()[-1]
    assert line.startswith("vsparagon: frame 30 cannot be made: ")
    assert "bad luck" in line
    assert not out.exists()


def test_full_disk_of_a_worker_is_not_taken_for_a_lost_connection(monkeypatch):
    def full(context):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cluster, "_open", full)
    with pytest.raises(EncodeFailure, match=r"the worker on .+ cannot make segment 3: No space left on device; run"):
        cluster.make_segment(None, Span(number=3, first=30, last=40))


def test_worker_that_would_make_other_pictures_is_refused(film, tmp_path):
    script = tmp_path / "differs.vpy"
    script.write_text(
        "import multiprocessing\n"
        "import vapoursynth as vs\n"
        "variant = 'micro' if multiprocessing.parent_process() else 'nano'\n"
        "vs.core.paragon.Upscale(clip, variant=variant).set_output()\n"
    )
    out = tmp_path / "out.mkv"
    done = encode(film, out, "--segment-frames", SEGMENT, "--filter-script", script, "--workers", 1)
    assert done.returncode == 1
    line = done.stderr.splitlines()[-1]
    assert "would compute different frames (computed by: micro x2 clean on " in line
    assert ", not nano x2 clean on " in line
    assert not out.exists()


@pytest.mark.parametrize("codec", ["libx264", "hevc_nvenc"])  # the cluster may have a GPU even if this machine has none
def test_missing_scheduler_is_one_line(codec, film, tmp_path, monkeypatch):
    monkeypatch.setattr(cluster, "CONNECTING_SECONDS", 1)
    done = encode(film, tmp_path / "out.mkv", "--cluster", "tcp://127.0.0.1:9", "--codec", codec)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("vsparagon: there is no Dask scheduler at tcp://127.0.0.1:9")
    assert list(tmp_path.iterdir()) == []
