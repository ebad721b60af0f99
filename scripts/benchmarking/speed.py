"""Measure frames per second on the CPU: compared with alternatives, over sizes, and over streams and threads."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from itertools import product
from pathlib import Path

from benchmarking.cost import useful_macs_per_pixel
from benchmarking.jobs import Candidate, Settings, Size
from benchmarking.networks import Network, Run, filter_candidate
from benchmarking.peers import check_peers, interpolations, network_peers
from benchmarking.report import Column, Row
from benchmarking.rounds import Result, compare

NAME = Column(key="name", title="")
SIZE = Column(key="size", title="size")
SPEED = Column(key="frames_per_second", title="frames/s", form=".1f")
BESIDE = Column(key="beside_first", title="relative to the first", form=".2f")
PEAK = Column(key="of_peak", title="share of sgemm peak", form=".0%")
PROCESSOR = Column(key="processor_ms", title="CPU ms/frame", form=".1f")
FIRST = Column(key="first_ms", title="first frame ms", form=".0f")
LOADING = Column(key="loading_ms", title="of which loading ms", form=".0f")
MEMORY = Column(key="memory", title="peak MiB", form=".0f")
RATE = Column(key="megapixels_per_second", title="megapixels/s", form=".2f")
PER_PIXEL = Column(key="memory_per_megapixel", title="MiB per further megapixel", form=".0f")

SPEED_COLUMNS = (NAME, SIZE, SPEED, BESIDE, PEAK, PROCESSOR, FIRST, LOADING, MEMORY)
GROWTH_COLUMNS = (NAME, SIZE, SPEED, RATE, PEAK, MEMORY, PER_PIXEL)
STREAM_COLUMNS = (NAME, SIZE, SPEED, BESIDE, PROCESSOR, FIRST, MEMORY)


def measure_speed(
    runs: Sequence[Run],
    sizes: Sequence[Size],
    settings: Settings,
    *,
    streams: Sequence[int],
    peers: Sequence[str],
    precisions: Sequence[str],
) -> tuple[list[Row], list[str]]:
    """Return rows for the filter, the peers and zimg at each size, and notes. The sgemm peak is from the same rounds.

    Raises:
        ParagonError: a peer cannot be measured, or a candidate failed.
    """
    check_peers(peers, settings.scale)
    networks = {run.network.name: run.network for run in runs}
    rows: list[Row] = []
    for size in sizes:
        candidates = [filter_candidate(run, size, streams=count) for run, count in product(runs, streams)]
        with tempfile.TemporaryDirectory(prefix="vsparagon-benchmark-") as folder:
            candidates += network_peers(
                peers,
                list(networks.values()),
                size,
                precisions=precisions,
                streams=streams,
                folder=Path(folder),
            )
            candidates += interpolations(size)
            *results, sgemm = compare([*candidates, _sgemm(size)], settings, reopened=True)
        rows += [_row(result, results[0], sgemm, networks) for result in results]
    return rows, [_peak_note(rows)]


def measure_growth(runs: Sequence[Run], sizes: Sequence[Size], settings: Settings) -> tuple[list[Row], list[str]]:
    """Return rows for the filter at each size, from small to large, with figures that grow with it, and notes.

    Raises:
        BackendFailure: a candidate failed.
    """
    networks = {run.network.name: run.network for run in runs}
    rows: list[Row] = []
    for run in runs:
        candidates = [filter_candidate(run, size) for size in sorted(set(sizes), key=lambda size: size.pixels)]
        *results, sgemm = compare([*candidates, _sgemm(sizes[0])], settings)
        of_run = [_row(result, results[0], sgemm, networks) for result in results]
        for before, row in zip([None, *of_run], of_run, strict=False):
            row["megapixels_per_second"] = row["frames_per_second"] * row["size"].pixels / 1e6
            more = (row["size"].pixels - before["size"].pixels) / 1e6 if before else 0
            if before and more and row["memory"]:
                row["memory_per_megapixel"] = (row["memory"] - before["memory"]) / more
        rows += of_run
    return rows, [_peak_note(rows)]


def measure_streams(
    runs: Sequence[Run], sizes: Sequence[Size], settings: Settings, *, streams: Sequence[int], threads: Sequence[int]
) -> tuple[list[Row], list[str]]:
    """Return rows for each run with its default and with each number of streams and threads, and notes on the best.

    Raises:
        BackendFailure: a candidate failed.
    """
    rows, notes = [], []
    for run, size in product(runs, sizes):
        candidates = [filter_candidate(run, size)]
        candidates += [filter_candidate(run, size, streams=s, threads=t) for t, s in product(threads, streams)]
        results = compare(candidates, settings, reopened=True)
        found = [_row(result, results[0], None, {}) for result in results]
        best = max(found[1:], key=lambda row: row["beside_first"])
        notes.append(
            f"Best at {size}: {best['name']}, {best['beside_first']:.2f} times as fast as the default "
            f"({found[0]['frames_per_second']:.1f} frames/s)."
        )
        rows += found
    return rows, notes


def _peak_note(rows: Sequence[Row]) -> str:
    peak = max(row.get("sgemm_gflops", 0.0) for row in rows)
    return (
        f"sgemm peak: {peak:.0f} GFLOPS. The share of it counts the multiplications of the inference form by non-zero "
        "weights, whichever form was run."
    )


def _sgemm(size: Size) -> Candidate:
    return Candidate(name="sgemm", kind="sgemm", size=size)


def _row(result: Result, first: Result, sgemm: Result | None, networks: dict[str, Network]) -> Row:
    candidate = result.candidate
    row: Row = {
        "name": candidate.name,
        "size": candidate.size,
        **candidate.facts,
        "frames_per_second": result.frames_per_second,
        "beside_first": result.speed_beside(first),
        "processor_ms": 1000 * result.median("processor"),
        "first_ms": 1000 * result.opening("first"),
        "loading_ms": 1000 * result.opening("loading"),
        "memory": max(turn["memory"] for turn in result.turns) or None,
    }
    network = networks.get(candidate.facts.get("network", ""))
    if network and sgemm and candidate.facts.get("chroma") != "resizer":
        per_pixel = useful_macs_per_pixel(network.model, candidate.size.height, candidate.size.width)
        per_frame = per_pixel * candidate.size.pixels
        row["macs_per_pixel"] = per_pixel
        row["sgemm_gflops"] = 2e-9 * sgemm.median("multiplications")
        row["of_peak"] = result.beside(sgemm, lambda own, peak: per_frame / own["wall"] / peak["multiplications"])
    return row
