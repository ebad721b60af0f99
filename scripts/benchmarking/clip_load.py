"""A clip of YUV420P8 that goes through one of `benchmarking.filters` and comes out as YUV420P8."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

from benchmarking.jobs import Job


def opened(job: Job) -> tuple[dict[str, float], Any]:
    """Return the seconds to the first frame and how many of them libraries took to load, and what measures the rest.

    Making the clip of the test picture is left out.
    """
    settings = job.settings
    begin = time.perf_counter()
    if job.kind.startswith("paragon"):
        _import_openvino_first()
    import vapoursynth as vs

    core: Any = vs.core.core
    if settings.threads:
        core.num_threads = settings.threads
    loading = time.perf_counter() - begin

    from benchmarking import filters
    from benchmarking.picture import moving_picture

    length = settings.frames
    source = moving_picture(settings.picture, job.width, job.height, length * (settings.rounds + 1))
    begin = time.perf_counter()
    clip = getattr(filters, job.kind)(source, settings.scale, **job.arguments)
    clip.get_frame(0).close()
    first = loading + time.perf_counter() - begin
    turns = count(1)  # new frames each time: VapourSynth remembers the old ones

    def turn() -> dict[str, float]:
        start = next(turns) * length
        return _measured(clip[start : start + length], settings.x264)

    return {"first": first, "loading": loading}, turn


def _import_openvino_first() -> None:
    """Import our OpenVINO before VapourSynth loads vs-mlrt's plugin, which brings one of its own."""
    from vsparagon.backends import BACKENDS

    BACKENDS["openvino"].missing()


def _measured(clip: Any, x264: str) -> dict[str, float]:
    """Make all frames; return seconds for each by the clock and of the processors, and the peak of memory so far."""
    begin, busy = time.perf_counter(), _processor_seconds()
    if x264:
        _encode(clip, x264)
    else:
        make_all(clip)
    wall, processor = time.perf_counter() - begin, _processor_seconds() - busy
    return {"wall": wall / len(clip), "processor": processor / len(clip), "memory": _peak_memory()}


def make_all(clip: Any) -> None:
    """Make all frames as vspipe does: where one is done, the next is asked for at once, by the thread that made it.

    `clip.frames()` would leave that to the main thread, which waits for its turn on a busy processor.
    """
    import vapoursynth as vs

    numbers = iter(range(len(clip)))
    left = len(clip)
    ended, lock = threading.Event(), threading.Lock()
    errors: list[Exception] = []

    def ask() -> None:
        n = next(numbers, None)
        if n is not None and not errors:
            clip.get_frame_async(n, arrived)

    def arrived(frame: Any, error: Exception | None) -> None:
        nonlocal left
        if frame is not None:
            frame.close()
        if error is not None:
            errors.append(error)
        ask()
        with lock:
            left -= 1
            if not left or errors:
                ended.set()

    for _ in range(min(vs.core.num_threads, len(clip))):
        ask()
    ended.wait()
    if errors:
        raise errors[0]


def _encode(clip: Any, preset: str) -> None:
    """Pipe the clip through x264 as vspipe would, and throw away what it makes."""
    import vapoursynth as vs

    from vsparagon.errors import EncodeFailure
    from vsparagon.ffmpeg import find_ffmpeg

    command = [find_ffmpeg(), "-v", "error", "-f", "yuv4mpegpipe", "-i", "-"]
    command += ["-c:v", "libx264", "-preset", preset, "-f", "null", "-"]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as ffmpeg:
        assert ffmpeg.stdin
        try:
            clip.output(ffmpeg.stdin, y4m=True)
            ffmpeg.stdin.close()
        except (OSError, vs.Error) as error:
            with suppress(OSError):  # it would fail once more, at the end, to write what it still holds
                ffmpeg.stdin.close()
            raise EncodeFailure(f"ffmpeg did not take the frames ({error}); its message is above") from error
    if ffmpeg.returncode:
        raise EncodeFailure(f"ffmpeg failed with {ffmpeg.returncode}; its message is above")


def _processor_seconds() -> float:
    """Seconds that this process and the encoders it ended took of all processors."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _peak_memory() -> float:
    """Peak resident memory of this process in MiB; 0 where the system does not tell."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), 0.0)
