"""Streams of frames: several in flight, bounded, in order, and nothing left behind."""

import gc
import subprocess
import sys
import threading
import time
import weakref

import numpy as np
import pytest
import vapoursynth as vs
from clips import arrays, numbered

import vsparagon
from vsparagon.backends import ON_CPU, RUNTIMES
from vsparagon.pipelines.picture import PicturePipeline
from vsparagon.stream import map_frames

core = vs.core


@pytest.mark.parametrize("length", [1, 2, 7, 300])
def test_frames_come_in_order(length):
    result = vsparagon.upscale(numbered(length), num_streams=3)
    seen = [(f.props["number"], round(arrays(f)[0].mean())) for f in result.frames(prefetch=8)]
    assert [number for number, _ in seen] == list(range(length))
    assert all(abs(grey - (n % 200 + 20)) <= 1 for n, grey in seen)


@pytest.mark.parametrize("lanes", [1, 2, 4])
def test_no_more_frames_in_flight_than_allowed_and_as_many_as_allowed(lanes):
    clip = numbered(60)
    running, most, lock = 0, 0, threading.Lock()

    def function(frame: vs.VideoFrame) -> vs.VideoFrame:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.01)
        with lock:
            running -= 1
        return frame

    threads = core.num_threads
    core.num_threads = 8
    try:
        list(map_frames(clip, clip, function, lanes).frames(prefetch=12))
    finally:
        core.num_threads = threads
    assert most == lanes


def test_random_access_gives_the_same_frames_as_streaming():
    result = vsparagon.upscale(numbered(40))
    streamed = [arrays(f)[0] for f in result.frames()]
    for n in (39, 0, 17, 18, 3):
        assert (arrays(result.get_frame(n))[0] == streamed[n]).all()


def test_a_slot_is_given_back_after_a_failure(monkeypatch):
    clip = numbered(20)
    result = vsparagon.upscale(clip, num_streams=1, backend="onnxruntime")
    from vsparagon.backends.onnxruntime.cpu import _OnnxRuntimeSlot

    def fail(self):
        raise vsparagon.BackendFailure("once")

    with monkeypatch.context() as patch:
        patch.setattr(_OnnxRuntimeSlot, "run", fail)
        for n in range(3):  # more often than there are slots
            with pytest.raises(vs.Error, match="once"):
                result.get_frame(n)
    result.get_frame(5)


@pytest.mark.parametrize("backend", ON_CPU)
def test_threads_and_streams_reach_the_runtime(backend, monkeypatch):
    seen = []
    opener = type(RUNTIMES[backend].cpu())
    original = opener.open

    def spy(self, model, build, run):
        seen.append(run)
        return original(self, model, build, run)

    monkeypatch.setattr(opener, "open", spy)
    before = core.num_threads
    core.num_threads = 1
    try:
        vsparagon.upscale(numbered(3), backend=backend, num_streams=2).get_frame(0)
        vsparagon.upscale(numbered(3), backend=backend).get_frame(0)
    finally:
        core.num_threads = before
    assert [(run.threads, run.streams) for run in seen] == [(1, 2), (1, 1)]


def resident_memory(program: str) -> list[float]:
    """Run a program that calls measure() several times, and return what that measured, in MiB."""
    start = (
        "import numpy as np, psutil, vapoursynth as vs\n"
        "resident, me = [], psutil.Process()\n"
        "def measure(): resident.append(me.memory_info().rss / 2**20)\n"
    )
    command = [sys.executable, "-c", start + program + "print(*resident)\n"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [float(number) for number in done.stdout.split()]


def test_memory_is_flat_over_two_thousand_pictures():
    resident = resident_memory(
        "from vsparagon import Upscaler\n"
        "upscaler, picture = Upscaler(), np.zeros((48, 64, 3), np.float32)\n"
        "for n in range(2001):\n"
        "    upscaler(picture)\n"
        "    if n % 500 == 0 and n: measure()\n"
    )
    assert max(resident) - resident[0] < 8, resident  # leaking every result would be 210 MiB


def test_no_frame_is_held_over_two_thousand_frames():
    # Resident memory cannot show it, because VapourSynth keeps freed frames for reuse, up to gigabytes of them.
    # But it counts the memory in use.
    clip = core.core.std.BlankClip(None, 64, 48, vs.YUV420P8, 2401)
    used = [core.used_cache_size for n, f in enumerate(vsparagon.upscale(clip).frames()) if n % 200 == 0]
    assert len(used) == 13
    assert max(used[2:]) <= max(used[:2]) + 2**20, used  # holding one frame in ten would be 35 MB


def test_closing_half_way_leaves_nothing_running():
    program = (
        "import vapoursynth as vs, psutil, time\n"
        "made = []\n"
        "clip = vs.core.std.BlankClip(width=320, height=240, format=vs.YUV420P8, length=500)\n"
        "clip = clip.std.ModifyFrame(clip, lambda n, f: made.append(n) or f)\n"
        "frames = vs.core.paragon.Upscale(clip).frames(prefetch=4)\n"
        "for n in range(5): next(frames)\n"
        "frames.close()\n"
        "del frames, clip\n"
        "time.sleep(0.5)\n"
        "before = len(made)\n"
        "time.sleep(1)\n"
        "print(before, len(made), len(psutil.Process().children()))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    before, after, children = map(int, done.stdout.split())
    assert 5 <= before == after < 500
    assert children == 0


def test_pipeline_gives_each_caller_its_own_picture():
    from vsparagon.choice import make_choice
    from vsparagon.lookup import find_model

    choice = make_choice(find_model(), num_streams=2)
    pipeline = PicturePipeline(choice, height=24, width=32)
    wrong = []

    def work(level: float) -> None:
        target = [np.empty((48, 64), np.float32) for _ in range(3)]
        for _ in range(30):
            pipeline.enlarge([np.full((24, 32), level, np.float32)] * 3, target)
            if max(np.abs(plane - level).max() for plane in target) > 0.01:
                wrong.append(level)

    threads = [threading.Thread(target=work, args=(level,)) for level in (0.2, 0.4, 0.6, 0.8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_released_clip_releases_its_network():
    def pipelines() -> weakref.WeakSet[PicturePipeline]:
        return weakref.WeakSet(held for held in gc.get_objects() if type(held) is PicturePipeline)

    others, alive = pipelines(), weakref.WeakSet()  # earlier tests may keep their clips
    for _ in range(3):
        result = vsparagon.upscale(numbered(4))
        opened = pipelines() - others
        assert opened
        alive |= opened
        list(result.frames())
        del result
    gc.collect()
    assert not alive


def test_frames_on_the_way_are_not_kept():
    clip = core.std.BlankClip(None, 320, 180, vs.YUV420P8, 60)
    result = vsparagon.upscale(clip)
    before = core.used_cache_size
    for _ in result.frames(close=True):
        pass
    of_rgb = 3 * 4 * 640 * 360
    assert core.used_cache_size - before < 4 * of_rgb  # VapourSynth's default is to keep eight of them
