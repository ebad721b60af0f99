"""Measure one of `benchmarking.filters` on a clip, from YUV420P8 to YUV420P8."""

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
    """Open the clip, and return its opening figures and a function that measures one turn.

    The figures are the seconds to the first frame (`first`, without the making of the source clip) and the part of
    them in which libraries were loaded (`loading`).
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
    turns = count(1)  # each turn uses new frames, because VapourSynth caches old ones

    def turn() -> dict[str, float]:
        start = next(turns) * length
        return _measured(clip[start : start + length], settings.x264)

    return {"first": first, "loading": loading}, turn


def _import_openvino_first() -> None:
    """Import our OpenVINO before VapourSynth loads vs-mlrt's plugin, which includes another version of it."""
    from vsparagon.backends import RUNTIMES

    RUNTIMES["openvino"].missing()


def _measured(clip: Any, x264: str) -> dict[str, float]:
    """Render all frames, and return wall-clock and processor seconds per frame, and peak memory so far in MiB."""
    begin, busy = time.perf_counter(), _processor_seconds()
    if x264:
        _encode(clip, x264)
    else:
        make_all(clip)
    wall, processor = time.perf_counter() - begin, _processor_seconds() - busy
    return {"wall": wall / len(clip), "processor": processor / len(clip), "memory": _peak_memory()}


def make_all(clip: Any) -> None:
    """Render all frames as vspipe does: the thread that finishes a frame requests the next one at once.

    `clip.frames()` would leave that to the main thread, which has to wait for its turn on a busy processor.

    Raises:
        vapoursynth.Error: a frame cannot be made.
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
    """Pipe the clip through x264 as vspipe would, and discard the result.

    Raises:
        EncodeFailure: ffmpeg failed, or a frame cannot be made.
    """
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
            with suppress(OSError):  # closing flushes the buffer, which fails again
                ffmpeg.stdin.close()
            raise EncodeFailure(f"ffmpeg did not take the frames ({error}); its message is above") from error
    if ffmpeg.returncode:
        raise EncodeFailure(f"ffmpeg failed with {ffmpeg.returncode}; its message is above")


def _processor_seconds() -> float:
    """Return the processor seconds used by this process and by its child processes that have ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _peak_memory() -> float:
    """Return the peak resident memory of this process in MiB; 0 if the system does not report it."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), 0.0)
