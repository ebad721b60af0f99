"""Measure the filter on this machine, and compare it with alternatives.

    python scripts/benchmark.py speed --variants nano micro --peers --json speed.json --chart speed.png
    python scripts/benchmark.py speed --models WEIGHTS.safetensors --sizes 640x360 1280x720 --x264 medium
    python scripts/benchmark.py speed --device cuda --variants nano micro
    python scripts/benchmark.py growth --chart growth.png
    python scripts/benchmark.py streams --streams 1 2 3 4 --threads 1 2 --x264 medium
    python scripts/benchmark.py overhead
    python scripts/benchmark.py start
    python scripts/benchmark.py scaling --workers 1 2 4 8

speed: frames per second, and the useful multiplications of the inference form as a share of the CPU's float32 peak;
growth: time and memory by picture size; streams: how many frames at once are fastest; overhead: the time spent outside
the network; start: the time before the first frame; scaling: the gain from more workers of `vsparagon encode`, with a
wait in place of each frame. Every candidate runs in a process of its own. The candidates take turns, one at a time, for
several rounds, and the median is reported.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from benchmarking import chart, cuda, machine, parts, scaling, speed
from benchmarking.jobs import Settings, Size
from benchmarking.networks import Run, find_networks, find_runs
from benchmarking.options import parse, settings_of
from benchmarking.report import Column, Report, Row

from vsparagon.errors import InvalidInput, ParagonError
from vsparagon.system.interrupt import ending_on_interrupt

type Measured = tuple[Sequence[Column], list[Row], list[str]]

USUAL = (Size(width=640, height=360),)
LARGE = (Size(width=1920, height=1080),)
GROWING = tuple(Size(width=height * 16 // 9, height=height) for height in (180, 360, 540, 720, 1080))
ON_GPU = tuple(Size(width=height * 16 // 9, height=height) for height in (540, 720, 1080))


def measure_speed(args: argparse.Namespace, settings: Settings) -> Measured:
    if args.device == "cuda":
        return _measure_cuda(args, settings)
    rows, notes = speed.measure_speed(
        _runs(args), args.sizes or USUAL, settings, streams=args.streams, peers=args.peers, precisions=args.precisions
    )
    return speed.SPEED_COLUMNS, rows, notes


def _measure_cuda(args: argparse.Namespace, settings: Settings) -> Measured:
    if args.peers:
        raise InvalidInput("--peers are measured on the CPU only; leave --peers or --device out.")
    cuda.check_gpu(args.device_id)
    networks = find_networks(args.variants, args.models, args.scale)
    runs = find_runs(networks, args.backends or ["torch"], args.precisions, chroma=args.chroma, gpu=args.device_id)
    rows, notes = cuda.measure_cuda(
        runs, args.sizes or ON_GPU, settings, device_id=args.device_id, streams=args.streams
    )
    return cuda.COLUMNS, rows, notes


def measure_growth(args: argparse.Namespace, settings: Settings) -> Measured:
    rows, notes = speed.measure_growth(_runs(args), args.sizes or GROWING, settings)
    return speed.GROWTH_COLUMNS, rows, notes


def measure_streams(args: argparse.Namespace, settings: Settings) -> Measured:
    rows, notes = speed.measure_streams(
        _runs(args), args.sizes or USUAL, settings, streams=args.streams, threads=args.threads
    )
    return speed.STREAM_COLUMNS, rows, notes


def measure_overhead(args: argparse.Namespace, settings: Settings) -> Measured:
    return parts.OVERHEAD_COLUMNS, parts.measure_overhead(_runs(args), args.sizes or USUAL, settings), []


def measure_start(args: argparse.Namespace, settings: Settings) -> Measured:
    networks = find_networks(args.variants, args.models, args.scale)
    return parts.START_COLUMNS, parts.measure_start(networks, args.sizes or LARGE, settings), []


def measure_scaling(args: argparse.Namespace, settings: Settings) -> Measured:
    rows = scaling.measure_scaling(args.workers, args.milliseconds, settings)
    return scaling.COLUMNS, rows, [f"Each frame is a wait of {args.milliseconds} ms, one at a time in each worker."]


def _runs(args: argparse.Namespace) -> list[Run]:
    networks = find_networks(args.variants, args.models, args.scale)
    backends = getattr(args, "backends", []) or ["openvino"]
    return find_runs(networks, backends, args.precisions, chroma=args.chroma)


COMMANDS = {
    "speed": measure_speed,
    "growth": measure_growth,
    "streams": measure_streams,
    "overhead": measure_overhead,
    "start": measure_start,
    "scaling": measure_scaling,
}


def main() -> None:
    args = parse(sys.argv[1:], __doc__ or "")
    picture = getattr(args, "chart", None)
    try:
        if picture:
            chart.check_drawing()
        settings = settings_of(args)
        facts = machine.describe(with_ffmpeg=bool(settings.x264))
        columns, rows, notes = COMMANDS[args.command](args, settings)
    except ParagonError as error:
        sys.exit(f"benchmark: {error}")
    report = Report(machine=facts, settings=settings, columns=columns, rows=rows, notes=notes)
    print(report.markdown())
    if args.json:
        args.json.write_text(report.json() + "\n", encoding="utf-8")
    if picture:
        draw = chart.draw_growth if args.command == "growth" else chart.draw_speed
        draw(rows, picture)


if __name__ == "__main__":
    with ending_on_interrupt("benchmark"):
        main()
