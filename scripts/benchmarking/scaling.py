"""Measure how an encode scales with workers; a wait for each frame stands in for the work of other computers."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarking.jobs import Settings
from benchmarking.report import Column, Row
from benchmarking.speed import BESIDE, NAME, SPEED
from vsparagon.errors import BackendFailure

COLUMNS = (
    NAME,
    SPEED,
    BESIDE,
    Column(key="of_ideal", title="of the waits alone", form=".0%"),
    Column(key="seconds", title="seconds", form=".1f"),
)
SEGMENT = 24  # frames

# In each process, one frame at a time waits, as it would for a GPU.
SCRIPT = """
import time
import vapoursynth as vs

clip = vs.core.std.BlankClip(None, 64, 48, vs.YUV420P8, {frames})

def wait(n, f):
    time.sleep({seconds})
    return f

clip.std.ModifyFrame(clip, wait).set_output()
"""


def measure_scaling(workers: Sequence[int], milliseconds: int, settings: Settings) -> list[Row]:
    """Return rows for whole encodes, from Dask's start to the joined file, with each number of workers.

    Args:
        workers: numbers of processes to try.
        milliseconds: wait for each frame.
        settings: give the length of the video (`frames`) and the number of `rounds`.

    Raises:
        BackendFailure: an encode failed.
    """
    with tempfile.TemporaryDirectory(prefix="vsparagon-benchmark-") as name:
        folder = Path(name)
        script = folder / "waits.vpy"
        seconds = milliseconds / 1000
        script.write_text(SCRIPT.format(frames=settings.frames, seconds=seconds))
        rounds = [[_encode(script, count) for count in workers] for _ in range(settings.rounds)]
    rows: list[Row] = []
    for count, times in zip(workers, zip(*rounds, strict=True), strict=True):
        took = statistics.median(times)
        rows.append(
            {
                "name": f"{count} worker{'s' if count > 1 else ''}",
                "frames_per_second": settings.frames / took,
                "beside_first": statistics.median(first[0] / own for first, own in zip(rounds, times, strict=True)),
                "of_ideal": seconds * settings.frames / count / took,
                "seconds": took,
            }
        )
    return rows


def _encode(script: Path, workers: int) -> float:
    """Encode the video, and return how many seconds it took."""
    command = [sys.executable, "-m", "vsparagon", "encode", str(script), str(script.with_name("out.mkv")), "-y"]
    command += ["--workers", str(workers), "--segment-frames", str(SEGMENT), "--preset", "ultrafast"]
    begin = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BackendFailure(f"an encode by {workers} workers failed: {done.stderr.strip().splitlines()[-1]}")
    return time.perf_counter() - begin
