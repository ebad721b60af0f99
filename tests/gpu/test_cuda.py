"""On an NVIDIA GPU: the same pictures as on the CPU, and no allocations after the first frames.

`python -m pytest -m needs_cuda` runs all tests that need a GPU. With VSPARAGON_REQUIRE_CUDA=1, they fail instead of
being skipped if there is none.
"""

import gc
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import vapoursynth as vs
from clips import arrays, clip_in, clip_of, numbered, photograph

torch = pytest.importorskip("torch", reason="GPUs are reached through torch")

from vsparagon import Upscaler, backends  # noqa: E402
from vsparagon.backends.base import CpuRuntime, FrameBackend  # noqa: E402
from vsparagon.backends.torch import Torch  # noqa: E402
from vsparagon.backends.torch.cuda import TorchCuda  # noqa: E402
from vsparagon.device.gpus import gpus  # noqa: E402
from vsparagon.device.recorded import Recorded  # noqa: E402
from vsparagon.pipelines.frame import FRAMES_PER_LANE  # noqa: E402

pytestmark = pytest.mark.needs_cuda

core = vs.core
FORMATS = [vs.YUV420P8, vs.YUV420P10, vs.YUV422P16, vs.YUV444PS, vs.YUV420PH, vs.YUV411P8, vs.RGB24, vs.RGB48,
           vs.RGBS, vs.GRAY8, vs.GRAY16]  # fmt: skip
SIZE = (180, 320)


def on_gpu() -> list[str]:
    """Return the names of the backends that run on this machine's GPU."""
    found = []
    for name, runtime in backends.RUNTIMES.items():
        if not runtime.missing():
            try:
                bound = runtime.on(0)
            except backends.BackendUnavailable:
                continue
            if isinstance(bound, FrameBackend):
                found.append(name)
    return found


class OnCpu(Torch):
    """A runtime that always runs on the CPU, with which the GPU is compared."""

    name = "torch_on_cpu"
    on = CpuRuntime.on  # does not look for a GPU


@pytest.fixture(autouse=True)
def _processor(monkeypatch):
    monkeypatch.setitem(backends.RUNTIMES, OnCpu.name, OnCpu())


@pytest.fixture(params=list(backends.RUNTIMES))
def backend(request):
    if request.param not in on_gpu():
        pytest.skip(f"{request.param} does not run on this GPU")
    return request.param


def difference(result, expected, n=0):
    frames = (arrays(clip.get_frame(n)) for clip in (result, expected))
    return max(np.abs(a - b).max() for a, b in zip(*frames, strict=True))


def one_step(video_format, precision):
    """Return the tolerance: an 8-bit code value for fp16; for fp32, one of the format or the precision of float32."""
    if video_format.sample_type == vs.FLOAT:
        return 1 / 255 if precision == "fp16" else 1e-3 if video_format.bits_per_sample == 16 else 1e-4
    return 1 << (video_format.bits_per_sample - 8) if precision == "fp16" else max(1, video_format.bits_per_sample - 14)


def test_torch_is_among_the_backends_that_run_here():
    assert "torch" in on_gpu()


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("format_id", FORMATS)
def test_the_gpu_gives_the_frames_of_the_cpu(format_id, precision, backend):
    clip = clip_in(format_id, size=SIZE)
    expected = core.paragon.Upscale(clip, backend=OnCpu.name, precision="fp32")
    result = core.paragon.Upscale(clip, backend=backend, precision=precision)
    assert result.format.id == format_id
    assert difference(result, expected) <= one_step(clip.format, precision)


@pytest.mark.parametrize("size", [(16, 16), (46, 202), (540, 960), (1080, 1920)], ids=str)
def test_any_size(size, backend):
    picture = np.tile(photograph(400, 320), (3, 6, 1))[: size[0], : size[1]]
    clip = clip_of([picture], vs.YUV420P8, matrix=1)
    expected = core.paragon.Upscale(clip, backend=OnCpu.name)
    assert difference(core.paragon.Upscale(clip, backend=backend), expected) <= 1


def test_tiles_and_pictures_and_luma_only_and_a_size_of_ones_own(backend):
    clip = clip_in(vs.YUV420P8, size=SIZE)
    for arguments in ({"tilesize": [160, 128]}, {"width": 500, "height": 300}, {"chroma": "resizer"}):
        expected = core.paragon.Upscale(clip, backend=OnCpu.name, **arguments)
        assert difference(core.paragon.Upscale(clip, backend=backend, **arguments), expected) <= 1
    for picture in (photograph(120, 160), photograph(120, 160)[..., :1]):
        ours, theirs = (Upscaler(backend=name)(picture).astype(int) for name in (backend, OnCpu.name))
        assert np.abs(ours - theirs).max() <= 1


@pytest.mark.parametrize("streams", [1, 4])
def test_frames_come_in_order(streams, backend):
    result = core.paragon.Upscale(numbered(300, size=SIZE), backend=backend, num_streams=streams)
    seen = [arrays(frame)[0].mean() for frame in result.frames(prefetch=16)]
    assert all(abs(grey - (n % 200 + 20)) <= 1 for n, grey in enumerate(seen))


def test_nothing_is_allocated_once_frames_flow(backend):
    result = core.paragon.Upscale(numbered(400, size=SIZE), backend=backend, num_streams=3)
    statistics, pinned = [], []
    for n, frame in enumerate(result.frames(prefetch=8)):
        frame.close()
        if n >= 50 and n % 50 == 0:
            torch.cuda.synchronize()
            now = torch.cuda.memory_stats()
            names = ("allocation.all.allocated", "reserved_bytes.all.current", "num_device_alloc")
            statistics.append([now[name] for name in names])
            pinned.append(torch.cuda.host_memory_stats()["num_host_alloc"])
    assert all(values == statistics[0] for values in statistics), statistics
    # One buffer for upload and one for download, allocated when this many frames are first in flight.
    assert pinned[-1] - pinned[0] <= 2 * 3 * FRAMES_PER_LANE, pinned


def test_memory_of_the_device_is_flat_and_comes_back(backend):
    # In a process of its own, and as the driver reports it, which includes what torch does not count.
    program = (
        "import gc, torch, vapoursynth as vs\n"
        "used = []\n"
        "def measure():\n"
        "    free, total = torch.cuda.mem_get_info()\n"
        "    used.append((total - free) >> 20)\n"
        "for _ in range(4):\n"
        "    clip = vs.core.std.BlankClip(None, 640, 360, vs.YUV420P8, 200)\n"
        f"    result = vs.core.paragon.Upscale(clip, backend='{backend}')\n"
        "    for n, frame in enumerate(result.frames()):\n"
        "        frame.close()\n"
        "        if n in (50, 199): measure()\n"
        "    del result, frame\n"
        "    gc.collect()\n"
        "    torch.cuda.empty_cache()\n"
        "print(*used)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    used = [int(number) for number in done.stdout.split()]
    assert max(used[2:]) <= used[1] + 64, used  # MiB; a filter that is not released takes hundreds


def test_work_is_recorded_once_for_each_lane(monkeypatch):
    result = core.paragon.Upscale(numbered(30, size=SIZE), backend="torch", num_streams=2)
    replayed, enqueue = [], Recorded.enqueue
    monkeypatch.setattr(Recorded, "enqueue", lambda self: (replayed.append(self), enqueue(self))[1])
    monkeypatch.setattr(Recorded, "__init__", lambda self, *given: pytest.fail("recorded again"))
    list(result.frames())
    assert len(replayed) == 30
    assert len(set(replayed)) == 2


def test_both_ways_are_tried_and_agree(caplog):
    with caplog.at_level("INFO"):
        core.paragon.Upscale(clip_in(vs.YUV420P8, size=(540, 960)), backend="torch")
    assert "kernels: ours take " in caplog.text


def test_several_filters_share_the_gpu(backend):
    clip = clip_in(vs.YUV420P8, 12, size=(90, 160))
    once = core.paragon.Upscale(clip, backend=backend, num_streams=1)
    twice = core.paragon.Upscale(once, backend=backend, num_streams=2)
    beside = core.std.StackVertical([twice, core.paragon.Upscale(once, backend="torch", precision="fp32")])
    with ThreadPoolExecutor(1) as pool:
        frames = pool.submit(lambda: [arrays(frame) for frame in beside.frames(prefetch=6)]).result(timeout=300)
    for planes in frames:
        for plane in planes:
            upper, lower = np.split(plane, 2)
            assert np.abs(upper - lower).max() <= 2


def test_a_filter_can_be_made_while_another_runs(backend):
    running = core.paragon.Upscale(numbered(400, size=SIZE), backend=backend).frames(prefetch=8)
    seen = []
    for n, frame in enumerate(running):
        seen.append(arrays(frame)[0].mean())
        if n % 100 == 10:
            core.paragon.Upscale(numbered(3, size=(48, 64 + n)), backend=backend).get_frame(1)
    assert all(abs(grey - (n % 200 + 20)) <= 1 for n, grey in enumerate(seen))


def test_colours_may_change_within_a_clip(backend):
    limited = clip_in(vs.YUV420P8, 2, size=SIZE)
    clip = limited + limited.std.SetFrameProps(_Range=1) + limited.std.SetFrameProps(_Matrix=6)
    result, expected = (core.paragon.Upscale(clip, backend=name) for name in (backend, OnCpu.name))
    assert max(difference(result, expected, n) for n in range(len(clip))) <= 1


def test_colours_may_change_while_frames_flow(backend):
    clip = numbered(200, size=SIZE)
    clip = clip[:100] + clip[100:].std.SetFrameProps(_Range=1)
    result = core.paragon.Upscale(clip, backend=backend, num_streams=4)
    seen = [arrays(frame)[0].mean() for frame in result.frames(prefetch=16)]
    assert all(abs(grey - (n + 20)) <= 1 for n, grey in enumerate(seen))


def test_a_device_that_is_not_there(backend):
    with pytest.raises(vs.Error, match=rf"device_id is {len(gpus())}; the NVIDIA GPUs of this machine are 0: "):
        core.paragon.Upscale(numbered(1), backend=backend, device_id=len(gpus()))


def test_the_last_device_works_too(backend):
    clip = clip_in(vs.YUV420P8, size=SIZE)
    last = core.paragon.Upscale(clip, backend=backend, device_id=len(gpus()) - 1)
    assert difference(last, core.paragon.Upscale(clip, backend=OnCpu.name)) <= 1


def test_too_little_memory_for_the_whole_leads_to_tiles(caplog):
    clip = core.core.std.BlankClip(None, 2560, 1440, vs.YUV420P8, 1)

    def peak(**arguments):
        gc.collect()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        core.paragon.Upscale(clip, backend="torch", precision="fp32", num_streams=1, **arguments).get_frame(0)
        return torch.cuda.max_memory_reserved()

    whole, tiles = peak(), peak(tilesize=[720, 640])
    assert tiles < 0.8 * whole
    torch.cuda.set_per_process_memory_fraction(1.15 * tiles / torch.cuda.mem_get_info()[1])
    try:
        with caplog.at_level("WARNING"):
            peak()
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert "Trying once more with each frame in" in caplog.text


def test_auto_takes_the_gpu_and_says_so(caplog):
    with caplog.at_level("INFO"):
        core.paragon.Upscale(numbered(1))
    assert f"cuda:0 ({gpus()[0].name})" in caplog.text


def test_float32_is_not_rounded_to_tensorfloat():
    backend = backends.RUNTIMES["torch"].on(0)
    assert isinstance(backend, TorchCuda)
    clip = clip_in(vs.RGBS, size=SIZE)
    exact = core.paragon.Upscale(clip, backend=OnCpu.name, precision="fp32")
    assert difference(core.paragon.Upscale(clip, backend="torch", precision="fp32"), exact) < 1e-4
