"""Measure where the filter's time goes, outside the network and before the first frame."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence

from benchmarking.jobs import Candidate, Settings, Size
from benchmarking.networks import Network, Run, filter_candidate
from benchmarking.report import Column, Row
from benchmarking.rounds import compare, usual_environment
from benchmarking.speed import NAME, SIZE
from vsparagon.errors import BackendFailure, InvalidInput

OVERHEAD_COLUMNS = (
    NAME,
    SIZE,
    Column(key="wall_ms", title="ms/frame", form=".2f"),
    Column(key="processor_ms", title="CPU ms/frame", form=".2f"),
    Column(key="share", title="of the filter's time", form=".0%"),
)
START_COLUMNS = (
    NAME,
    SIZE,
    Column(key="import_ms", title="import vsparagon ms", form=".0f"),
    Column(key="evaluate_ms", title="evaluate ms", form=".0f"),
    Column(key="first_ms", title="first frame ms", form=".0f"),
)

# A script as a user writes it. It prints the seconds for import, evaluation and first frame.
SCRIPT = """
import sys, time
import vapoursynth as vs
begin = time.perf_counter()
import vsparagon
imported = time.perf_counter()
clip = vs.core.std.BlankClip(None, {width}, {height}, vs.YUV420P8, 1)
result = vs.core.paragon.Upscale(clip, cache=sys.argv[1], scale={scale}, **{arguments})
evaluated = time.perf_counter()
result.get_frame(0)
print(imported - begin, evaluated - imported, time.perf_counter() - evaluated)
"""


def measure_overhead(runs: Sequence[Run], sizes: Sequence[Size], settings: Settings) -> list[Row]:
    """Return rows for the filter, for the filter without its network, and for the same conversions by the resizer.

    Raises:
        InvalidInput: a run is not on OpenVINO.
    """
    if any(run.backend != "openvino" for run in runs):
        raise InvalidInput("overhead knows how to leave the network out on openvino only; name no other backend.")
    rows: list[Row] = []
    for size in sizes:
        for run in runs:
            whole = filter_candidate(run, size)
            arguments = {name: value for name, value in run.arguments.items() if name != "backend"}
            candidates = [
                whole,
                Candidate(
                    name=f"{whole.name}, without network",
                    kind="paragon_without_network",
                    size=size,
                    arguments=arguments,
                ),
                Candidate(name="zimg: RGBS, enlarged, back", kind="zimg_float", size=size),
            ]
            results = compare(candidates, settings)
            rows += [
                {
                    "name": result.candidate.name,
                    "size": size,
                    "frames_per_second": result.frames_per_second,
                    "wall_ms": 1000 * result.median("wall"),
                    "processor_ms": 1000 * result.median("processor"),
                    "share": 1 / result.speed_beside(results[0]),
                }
                for result in results
            ]
    return rows


def measure_start(networks: Sequence[Network], sizes: Sequence[Size], settings: Settings) -> list[Row]:
    """Return rows with the time for import, evaluation and first frame, with an empty and with a filled cache.

    Raises:
        BackendFailure: a script failed.
    """
    rows: list[Row] = []
    for network in networks:
        for size in sizes:
            seen: dict[str, list[list[float]]] = {"empty": [], "filled": []}
            program = SCRIPT.format(
                width=size.width, height=size.height, scale=settings.scale, arguments=network.arguments
            )
            for _ in range(settings.rounds):
                with tempfile.TemporaryDirectory() as cache:
                    for times in seen.values():
                        times.append(_run(program, cache))
            for state, times in seen.items():
                medians = [1000 * statistics.median(column) for column in zip(*times, strict=True)]
                figures = dict(zip(("import_ms", "evaluate_ms", "first_ms"), medians, strict=True))
                rows.append({"name": f"vsparagon {network.name}, {state} cache", "size": size, **figures})
    return rows


def _run(program: str, cache: str) -> list[float]:
    command = [sys.executable, "-c", program, cache]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=usual_environment())
    if done.returncode:
        raise BackendFailure("a script with the filter failed; its message is above.")
    return [float(number) for number in done.stdout.split()]
