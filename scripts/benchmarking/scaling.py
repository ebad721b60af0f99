"""What more workers bring an encode, where no frame is made on this machine: a wait stands in for other computers."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarking.jobs import Candidate, Settings, Size
from benchmarking.report import Column, Row
from benchmarking.rounds import Result
from benchmarking.speed import BESIDE, NAME, SPEED
from vsparagon.errors import BackendFailure

COLUMNS = (
    NAME,
    SPEED,
    BESIDE,
    Column(key="of_ideal", title="of the waits alone", form=".0%"),
    Column(key="seconds", title="seconds", form=".1f"),
)
SIZE = Size(width=64, height=48)
SEGMENT = 24  # frames

# One frame of a process waits at a time, as it would for a GPU.
SCRIPT = """
import time
import vapoursynth as vs

clip = vs.core.std.BlankClip(None, {width}, {height}, vs.YUV420P8, {frames})

def wait(n, f):
    time.sleep({seconds})
    return f

clip.std.ModifyFrame(clip, wait).set_output()
"""


def measure_scaling(workers: Sequence[int], milliseconds: int, settings: Settings) -> list[Row]:
    """Return whole encodes, Dask's start and the joining included, by each number of workers.

    Args:
        workers: numbers of processes.
        milliseconds: that a frame takes.
        settings: `frames` of the film, `rounds`.

    Raises:
        BackendFailure: an encode failed.
    """
    with tempfile.TemporaryDirectory(prefix="vsparagon-benchmark-") as name:
        folder = Path(name)
        script = folder / "waits.vpy"
        seconds = milliseconds / 1000
        script.write_text(SCRIPT.format(width=SIZE.width, height=SIZE.height, frames=settings.frames, seconds=seconds))
        rounds = [[_encode(script, count) for count in workers] for _ in range(settings.rounds)]
    results = [
        Result(
            candidate=Candidate(name=f"{count} worker{'s' if count > 1 else ''}", kind="encode", size=SIZE),
            opening={},
            turns=[{"wall": wall / settings.frames} for wall in walls],
        )
        for count, walls in zip(workers, zip(*rounds, strict=True), strict=True)
    ]
    return [
        {
            "name": result.candidate.name,
            "size": SIZE,
            "frames_per_second": result.frames_per_second,
            "beside_first": result.speed_beside(results[0]),
            "of_ideal": seconds / count / result.median("wall"),
            "seconds": result.median("wall") * settings.frames,
        }
        for count, result in zip(workers, results, strict=True)
    ]


def _encode(script: Path, workers: int) -> float:
    """Encode the film and return how many seconds that took."""
    command = [sys.executable, "-m", "vsparagon", "encode", str(script), str(script.with_name("out.mkv")), "-y"]
    command += ["--workers", str(workers), "--segment-frames", str(SEGMENT), "--preset", "ultrafast"]
    begin = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BackendFailure(f"an encode by {workers} workers failed: {done.stderr.strip().splitlines()[-1]}")
    return time.perf_counter() - begin
