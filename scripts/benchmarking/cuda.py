"""Measure frames per second on an NVIDIA GPU: end to end, the graph alone, and the limits set by bus and memory."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

from benchmarking.jobs import Candidate, Settings, Size
from benchmarking.networks import Run
from benchmarking.report import Column, Row
from benchmarking.rounds import Result, compare
from benchmarking.speed import BESIDE, NAME, PROCESSOR, SIZE, SPEED
from vsparagon.device.gpus import gpus, torch_trouble
from vsparagon.errors import BackendFailure, BackendUnavailable

COPIED = 1 << 30  # bytes copied to measure the device's memory: far more than its cache holds

COLUMNS = (
    NAME,
    SIZE,
    SPEED,
    BESIDE,
    PROCESSOR,
    Column(key="bus_megabytes", title="bus MB/frame", form=".1f"),
    Column(key="bus_frames", title="bus limit frames/s", form=".0f"),
    Column(key="of_bus", title="share of bus limit", form=".0%"),
    Column(key="graph_frames", title="graph only frames/s", form=".0f"),
    Column(key="torch_graph_frames", title="with torch's kernels", form=".0f"),
    Column(key="memory_frames", title="memory limit frames/s", form=".0f"),
    Column(key="of_memory", title="share of memory limit", form=".0%"),
)
NOTE = (
    "Bus limit: copies in both directions at once, from and to pinned memory. Graph only: network and conversions on "
    "planes that stay on the device, with the faster of torch's and our own kernels if the backend is torch, and with "
    "torch's. Memory limit: the bytes that the convolutions, each in one step, and the planes read and write, at the "
    "speed of a copy of {size} GiB within the device ({speed:.0f} GB/s, read and written). Candidates of the same "
    "network and size were interleaved, and are compared with the first of them."
)
# Format of the frames that cross the bus -> the function in `benchmarking.filters` that sends them so.
WAYS = {"YUV420P8": "paragon", "float RGB": "paragon_float_rgb"}


def check_gpu(device_id: int) -> None:
    """Check that a GPU can be measured.

    Args:
        device_id: as CUDA numbers them.

    Raises:
        BackendUnavailable: there is no GPU, or torch is not installed or cannot use this one.
        InvalidInput: there is no GPU of this number.
    """
    advice = "leave --device out to measure the CPU"
    if not gpus():
        raise BackendUnavailable(
            f"--device cuda: no NVIDIA GPU was found; if this machine has one, install its driver, or {advice}."
        )
    try:
        trouble = torch_trouble(device_id)
    except ImportError as error:
        trouble = f'{error.name} is not installed; pip install "vsparagon[torch]"'
    if trouble:
        raise BackendUnavailable(f"--device cuda: {trouble}; or {advice}.")


def measure_cuda(
    runs: Sequence[Run], sizes: Sequence[Size], settings: Settings, *, device_id: int, streams: Sequence[int]
) -> tuple[list[Row], list[str]]:
    """Return rows for each run and size, with YUV420P8 and with float RGB frames on the bus, and notes.

    Args:
        runs: what to run.
        sizes: of the source.
        settings: common to all candidates.
        device_id: of the GPU, as CUDA numbers them.
        streams: values of `num_streams`.

    Raises:
        BackendFailure: nothing could be measured.
    """
    device = f"cuda:{device_id}"
    rows: list[Row] = []
    notes: list[str] = []
    memory: list[Result] = []
    for size, run in product(sizes, runs):  # one network at a time, because each candidate takes GPU memory
        candidates: list[Candidate] = []
        for layout, kind in WAYS.items():
            candidates += _of_run(run, layout, kind, size, streams, device_id)
        pixels = [size.pixels, size.pixels * settings.scale**2]
        for layout, each in (("YUV420P8", 1.5), ("float RGB", 12.0)):
            up, down = (int(count * each) for count in pixels)
            candidates.append(
                Candidate(name=layout, kind="bus", size=size, arguments={"device": device, "up": up, "down": down})
            )
        arguments = {"device": device, "size": COPIED}
        candidates.append(Candidate(name="memory", kind="device_memory", size=size, arguments=arguments))
        try:
            *results, copying = compare(candidates, settings, preloaded=["torch"])
        except BackendFailure as error:  # keep the figures of the others
            notes.append(f"{run.name} at {size} is left out: {error}")
            continue
        memory.append(copying)
        rows += _rows(results, copying)
    if not rows:
        raise BackendFailure(" ".join(notes))
    speed = max(result.median("bytes_per_second") for result in memory)
    return rows, [NOTE.format(size=COPIED >> 30, speed=speed / 1e9), *notes]


def _of_run(run: Run, layout: str, kind: str, size: Size, streams: Sequence[int], device_id: int) -> list[Candidate]:
    """Return a run end to end with each number of streams, and its graph alone; for torch, also by torch's kernels."""
    arguments = run.arguments | {"device_id": device_id}
    name = f"vsparagon {run.name}, {layout}"
    facts = {"network": run.network.name, "backend": run.backend, "precision": run.precision, "layout": layout}
    whole = [
        Candidate(
            name=name + (f", {count} streams" if count else ""),
            kind=kind,
            size=size,
            arguments=arguments | {"num_streams": count},
            facts=facts | {"streams": count},
        )
        for count in streams
    ]
    kinds = ("graph", "torch_graph") if run.backend == "torch" else ("graph",)
    graphs = [
        Candidate(name=name, kind=k, size=size, arguments=arguments | {"layout": layout}, facts=facts) for k in kinds
    ]
    return [*whole, *graphs]


def _rows(results: Sequence[Result], copying: Result) -> list[Row]:
    buses = {r.candidate.name: r for r in results if r.candidate.kind == "bus"}
    graphs, torchs = ({_graph_of(r): r for r in results if r.candidate.kind == k} for k in ("graph", "torch_graph"))
    whole = [r for r in results if r.candidate.kind in WAYS.values()]
    return [
        _row(result, whole[0], graphs[_graph_of(result)], buses[result.candidate.facts["layout"]], copying)
        | {"torch_graph_frames": torchs[_graph_of(result)].frames_per_second if _graph_of(result) in torchs else None}
        for result in whole
    ]


def _graph_of(result: Result) -> tuple[str, ...]:
    """Return what the graph depends on, which is everything but the number of streams."""
    return tuple(result.candidate.facts[name] for name in ("network", "backend", "precision", "layout"))


def _row(result: Result, first: Result, graph: Result, bus: Result, copying: Result) -> Row:
    moved = graph.opening("moved")
    return {
        "name": result.candidate.name,
        "size": result.candidate.size,
        **result.candidate.facts,
        "frames_per_second": result.frames_per_second,
        "beside_first": result.speed_beside(first),
        "processor_ms": 1000 * result.median("processor"),
        "bus_megabytes": (graph.opening("up") + graph.opening("down")) / 1e6,
        "bus_frames": bus.frames_per_second,
        "of_bus": result.speed_beside(bus),
        "graph_frames": graph.frames_per_second,
        "moved_megabytes": moved / 1e6,
        "memory_frames": copying.median("bytes_per_second") / moved,
        "of_memory": graph.beside(copying, lambda own, copied: moved / own["wall"] / copied["bytes_per_second"]),
    }
