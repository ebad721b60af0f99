"""Measure the filter on this machine: frames per second, the pipeline's own cost, and the start of a script.

    python scripts/benchmark.py speed --variants nano micro --backends openvino --streams 0
    python scripts/benchmark.py overhead
    python scripts/benchmark.py start

Candidates of one command run in turn, several rounds each, and the median counts: other programs on the machine then
disturb all alike. Wall time is what one waits; processor time is what a disturbed machine still measures well.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import vapoursynth as vs
from PIL import Image

core: Any = vs.core


def hardware() -> str:
    """Return processor, threads and versions in one line."""
    info = Path("/proc/cpuinfo")
    names = [line.split(":")[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
    packages = ", ".join(f"{name} {version(name)}" for name in ("vapoursynth", "openvino", "numpy"))
    return f"{names[0] if names else platform.processor()}, {core.num_threads} threads; {packages}"


def moving_picture(path: Path | None, width: int, height: int, frames: int) -> Any:
    """Return YUV420P8 BT.709: a photograph that moves by a few pixels each frame, held in memory."""
    from skimage import data

    picture = np.asarray(Image.open(path).convert("RGB")) if path else data.astronaut()
    picture = np.asarray(Image.fromarray(picture).resize((width + 64, height + 64), Image.Resampling.LANCZOS))
    blank = core.std.BlankClip(None, width, height, vs.RGB24, 16)

    def fill(n: int, f: vs.VideoFrame) -> vs.VideoFrame:
        frame = f.copy()
        for plane in range(3):
            np.asarray(frame[plane])[:] = picture[3 * n : 3 * n + height, 4 * n : 4 * n + width, plane]
        return frame

    clip = blank.std.ModifyFrame([blank], fill).resize.Bicubic(format=vs.YUV420P8, matrix=1)
    stills = [frame.copy() for frame in clip.frames()]
    still = core.std.BlankClip(None, width, height, vs.YUV420P8, 16).std.SetFrameProps(_Matrix=1)
    return still.std.ModifyFrame([still], lambda n, f: stills[n]).std.Loop(-(-frames // 16))[:frames]


def seconds_per_frame(clip: Any) -> tuple[float, float]:
    """Return wall and processor seconds for a frame of the clip, its first two frames apart."""
    frames = clip.frames()
    next(frames), next(frames)
    wall, processor = time.perf_counter(), time.process_time()
    count = sum(1 for _ in frames)
    return (time.perf_counter() - wall) / count, (time.process_time() - processor) / count


def compare(candidates: dict[str, Callable[[], Any]], rounds: int) -> dict[str, tuple[float, float]]:
    """Run each candidate's clip once a round; return the medians of wall and processor seconds for a frame."""
    seen: dict[str, list[tuple[float, float]]] = {name: [] for name in candidates}
    for _ in range(rounds):
        for name, make in candidates.items():
            seen[name].append(seconds_per_frame(make()))
    return {
        name: (statistics.median(w for w, _ in times), statistics.median(p for _, p in times))
        for name, times in seen.items()
    }


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    return "\n".join("| " + " | ".join(row) + " |" for row in (header, ["---"] * len(header), *rows))


def speed(args: argparse.Namespace) -> None:
    """Frames per second from YUV420P8 to YUV420P8."""
    width, height = args.size
    source = moving_picture(args.picture, width, height, args.frames)
    candidates: dict[str, Callable[[], Any]] = {
        "zimg bicubic": lambda: source.resize.Bicubic(width * args.scale, height * args.scale),
        "zimg lanczos": lambda: source.resize.Lanczos(width * args.scale, height * args.scale),
    }
    for variant, backend, precision, streams in product(args.variants, args.backends, args.precisions, args.streams):
        name = f"{variant} {backend} {precision} streams={streams or 'auto'}"
        arguments = {"variant": variant, "backend": backend, "precision": precision, "num_streams": streams}
        clip = core.paragon.Upscale(source, scale=args.scale, **arguments)
        candidates[name] = lambda clip=clip: clip
    result = compare(candidates, args.rounds)
    print(f"{hardware()}\n{width}x{height} x{args.scale}, {args.frames} frames, median of {args.rounds} rounds\n")
    rows = [[name, f"{1 / wall:.1f}", f"{processor * 1000:.1f}"] for name, (wall, processor) in result.items()]
    print(table(["candidate", "frames/s", "processor ms/frame"], rows))


def overhead(args: argparse.Namespace) -> None:
    """The filter with its network replaced by a copy of ready pixels, against the same way by zimg alone."""
    from vsparagon.backends.openvino import _OpenVINOSlot

    width, height = args.size
    source = moving_picture(args.picture, width, height, args.frames)
    filtered = core.paragon.Upscale(source, scale=args.scale)

    def plain() -> Any:
        rgb = source.resize.Spline36(format=vs.RGBS).resize.Point(width * args.scale, height * args.scale)
        return rgb.resize.Spline36(format=vs.YUV420P8, matrix=1)

    _OpenVINOSlot.run = lambda self: None  # type: ignore[method-assign]
    result = compare({"zimg alone": plain, "filter without network": lambda: filtered}, args.rounds)
    print(f"{hardware()}\n{width}x{height} x{args.scale}, {args.frames} frames, median of {args.rounds} rounds\n")
    rows = [[name, f"{wall * 1000:.2f}", f"{processor * 1000:.2f}"] for name, (wall, processor) in result.items()]
    print(table(["way", "wall ms/frame", "processor ms/frame"], rows))


def start(args: argparse.Namespace) -> None:
    """Seconds from the start of Python to an evaluated script and to its first frame, cold and warm cache."""
    width, height = args.size
    program = (
        "import sys, time; begin = time.perf_counter()\n"
        "import vapoursynth as vs, numpy\n"
        "base = time.perf_counter()\n"
        "import vsparagon\n"
        "imported = time.perf_counter()\n"
        f"clip = vs.core.std.BlankClip(None, {width}, {height}, vs.YUV420P8, 1)\n"
        "result = vs.core.paragon.Upscale(clip, cache=sys.argv[1], variant=sys.argv[2])\n"
        "evaluated = time.perf_counter()\n"
        "result.get_frame(0)\n"
        "print(imported - base, evaluated - imported, time.perf_counter() - evaluated)\n"
    )
    import tempfile

    rows = []
    for variant in args.variants:
        seen: dict[str, list[list[float]]] = {"cold": [], "warm": []}
        for _ in range(args.rounds):
            with tempfile.TemporaryDirectory() as cache:
                for state in ("cold", "warm"):
                    command = [sys.executable, "-c", program, cache, variant]
                    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
                    seen[state].append([float(number) for number in output.split()])
        for state, times in seen.items():
            medians = [statistics.median(column) * 1000 for column in zip(*times, strict=True)]
            rows.append([f"{variant}, {state} cache", *(f"{number:.0f}" for number in medians)])
    print(f"{hardware()}\n{width}x{height}, median of {args.rounds} rounds\n")
    print(table(["", "import vsparagon ms", "evaluate ms", "first frame ms"], rows))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["speed", "overhead", "start"])
    parser.add_argument("--variants", nargs="+", default=["nano"])
    parser.add_argument("--backends", nargs="+", default=["openvino"])
    parser.add_argument("--precisions", nargs="+", default=["auto"])
    parser.add_argument("--streams", nargs="+", type=int, default=[0], help="values of num_streams")
    parser.add_argument("--scale", type=int, default=2)
    parser.add_argument("--size", nargs=2, type=int, metavar=("WIDTH", "HEIGHT"))
    parser.add_argument("--frames", type=int, default=48)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--picture", type=Path, help="the picture to move; by default scikit-image's astronaut")
    args = parser.parse_args()
    defaults = {"speed": [640, 360], "overhead": [960, 540], "start": [1920, 1080]}
    args.size = args.size or defaults[args.what]
    {"speed": speed, "overhead": overhead, "start": start}[args.what](args)


if __name__ == "__main__":
    main()
