"""Measure the filter on this machine, beside what one could use instead.

    python scripts/benchmark.py speed --variants nano micro --streams 1 2 --peers
    python scripts/benchmark.py overhead
    python scripts/benchmark.py start

Every candidate runs in a process of its own, so that its memory and its libraries are its own. They take turns, one at
a time, for several rounds, and medians count: what else the machine does then disturbs all alike.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

ROUND_UP = 16  # frames held in memory; the clip repeats them


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One way to enlarge a clip.

    Attributes:
        name: for the table.
        kind: a function of this file that builds the clip.
        arguments: of that function, after the source and the scale.
    """

    name: str
    kind: str
    arguments: dict[str, Any] = field(default_factory=dict)


# --- the ways, each from YUV420P8 to YUV420P8 ---------------------------------------------------------------------


def zimg(source: Any, scale: int, kernel: str) -> Any:
    """VapourSynth's own resizer."""
    return getattr(source.resize, kernel)(source.width * scale, source.height * scale)


def zimg_float(source: Any, scale: int) -> Any:
    """The filter's way without the filter: to RGBS, enlarged by repeating pixels, and back."""
    rgb = source.resize.Spline36(format=_format("RGBS")).resize.Point(source.width * scale, source.height * scale)
    return rgb.resize.Spline36(format=source.format.id, matrix=1)


def paragon(source: Any, scale: int, **arguments: Any) -> Any:
    """This filter."""
    return source.paragon.Upscale(scale=scale, **arguments)


def paragon_without_network(source: Any, scale: int, **arguments: Any) -> Any:
    """This filter, the network leaving its output as it is: everything but the network."""
    from vsparagon.backends import openvino

    openvino._OpenVINOSlot.run = lambda self: None  # type: ignore[method-assign]  # noqa: SLF001
    return paragon(source, scale, **arguments)


def vs_mlrt(source: Any, scale: int, plugin: str, path: str, streams: int, extended: bool) -> Any:
    """vs-mlrt's filters; they take RGBS alone, so a conversion goes before and after."""
    import vapoursynth as vs

    core: Any = vs.core
    rgb = source.resize.Spline36(format=_format("RGBS"))
    if extended:  # our inference form wants a picture of 24a + 8 pixels
        right, bottom = (24 * -(-(side + 8) // 24) + 8 - side for side in (source.width, source.height))
        rgb = rgb.std.AddBorders(0, right, 0, bottom)
    if plugin == "ov":
        config = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": str(core.num_threads)}
        large = core.ov.Model(rgb, path, num_streams=streams, config=lambda: config)
    else:
        large = core.ort.Model(rgb, path, num_streams=streams)
    large = large.std.CropAbs(source.width * scale, source.height * scale, 0, 0)
    return large.resize.Spline36(format=source.format.id, matrix=1)


def _format(name: str) -> Any:
    import vapoursynth as vs

    return getattr(vs, name)


KINDS: dict[str, Callable[..., Any]] = {
    function.__name__: function for function in (zimg, zimg_float, paragon, paragon_without_network, vs_mlrt)
}


# --- in the candidate's process -----------------------------------------------------------------------------------


def serve(job: dict[str, Any]) -> None:
    """Build the candidate's clip, say so, and measure it once for each line that comes in."""
    if job["kind"].startswith("paragon"):
        # vs-mlrt's plugin, if installed, brings an OpenVINO of its own; ours has to be there first.
        from vsparagon.backends.openvino import import_openvino

        import_openvino()
    width, height = job["size"]
    length = job["frames"]
    source = moving_picture(job["picture"], width, height, length * (job["rounds"] + 1))
    begin = time.perf_counter()
    clip = KINDS[job["kind"]](source, job["scale"], **job["arguments"])
    clip.get_frame(0)
    _answer(first=time.perf_counter() - begin)
    for turn, _ in enumerate(sys.stdin, 1):  # new frames each time: VapourSynth remembers the old ones
        frames = clip[turn * length : (turn + 1) * length].frames()
        next(frames), next(frames)
        wall, processor = time.perf_counter(), time.process_time()
        count = sum(1 for _ in frames)
        wall, processor = time.perf_counter() - wall, time.process_time() - processor
        _answer(wall=wall / count, processor=processor / count, memory=_peak_memory())


def _answer(**numbers: float) -> None:
    print(json.dumps(numbers), flush=True)


def _peak_memory() -> float:
    """Peak resident memory of this process in MiB; 0 where the system does not tell."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), 0.0)


def moving_picture(path: str | None, width: int, height: int, frames: int) -> Any:
    """Return YUV420P8 BT.709: a photograph that moves by a few pixels each frame, held in memory."""
    import vapoursynth as vs
    from PIL import Image
    from skimage import data

    core: Any = vs.core
    picture = np.asarray(Image.open(path).convert("RGB")) if path else np.asarray(data.astronaut())  # type: ignore[no-untyped-call]
    picture = np.asarray(Image.fromarray(picture).resize((width + 64, height + 64), Image.Resampling.LANCZOS))
    blank = core.std.BlankClip(None, width, height, vs.RGB24, ROUND_UP)

    def fill(n: int, f: vs.VideoFrame) -> vs.VideoFrame:
        frame = f.copy()
        for plane in range(3):
            np.asarray(frame[plane])[:] = picture[3 * n : 3 * n + height, 4 * n : 4 * n + width, plane]
        return frame

    clip = blank.std.ModifyFrame([blank], fill).resize.Bicubic(format=vs.YUV420P8, matrix=1)
    stills = [frame.copy() for frame in clip.frames()]
    still = core.std.BlankClip(None, width, height, vs.YUV420P8, ROUND_UP).std.SetFrameProps(_Matrix=1)
    held = still.std.ModifyFrame([still], lambda n, f: stills[n])
    return held.std.Loop(-(-frames // ROUND_UP))[:frames]


# --- in this process ----------------------------------------------------------------------------------------------


@dataclass
class Result:
    """Medians of one candidate: seconds of wall and processor time a frame, seconds to the first frame, peak MiB."""

    wall: float
    processor: float
    first: float
    memory: float


class Process:
    """A candidate, waiting in its own process."""

    def __init__(self, candidate: Candidate, args: argparse.Namespace) -> None:
        job = asdict(candidate) | {key: getattr(args, key) for key in ("scale", "size", "frames", "rounds", "picture")}
        command = [sys.executable, __file__, "serve", "--job", json.dumps(job)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.name = candidate.name
        self.first = self._read()["first"]

    def measure(self) -> dict[str, float]:
        assert self.process.stdin
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self._read()

    def _read(self) -> dict[str, float]:
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"benchmark: {self.name} failed; its message is above")
        numbers: dict[str, float] = json.loads(line)
        return numbers

    def close(self) -> None:
        self.process.communicate()


@contextmanager
def processes(candidates: Sequence[Candidate], args: argparse.Namespace) -> Iterator[list[Process]]:
    """Start the candidates, and end them afterwards."""
    with ExitStack() as stack:
        started = []
        for candidate in candidates:
            started.append(Process(candidate, args))
            stack.callback(started[-1].close)
        yield started


def compare(candidates: Sequence[Candidate], args: argparse.Namespace) -> dict[str, Result]:
    """Let the candidates take turns; return the medians by name."""
    with processes(candidates, args) as running:
        rounds = [[process.measure() for process in running] for _ in range(args.rounds)]
        results = {}
        for process, turns in zip(running, zip(*rounds, strict=True), strict=True):
            median = {key: statistics.median(turn[key] for turn in turns) for key in turns[0]}
            results[process.name] = Result(**median, first=process.first)
        return results


def hardware() -> str:
    """Return processor, threads and versions in one line."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    amx = ", AMX" if any("amx_tile" in line for line in lines if line.startswith("flags")) else ", no AMX"
    packages = ", ".join(f"{name} {version(name)}" for name in ("vapoursynth", "openvino", "numpy"))
    return f"{names[0] if names else platform.processor()}{amx}, {len(names)} cores; {packages}"


def report(args: argparse.Namespace, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print what was measured on what, as a Markdown table."""
    width, height = args.size
    print(f"{hardware()}; {width}x{height}, {args.scale} times, {args.frames} frames, {args.rounds} rounds\n")
    print("\n".join("| " + " | ".join(row) + " |" for row in (header, ["---"] * len(header), *rows)))


def speed(args: argparse.Namespace) -> None:
    """Frames per second from YUV420P8 to YUV420P8."""
    candidates = [Candidate(name=f"zimg {k}", kind="zimg", arguments={"kernel": k}) for k in ("Bicubic", "Lanczos")]
    for variant, backend, precision, streams in product(args.variants, args.backends, args.precisions, args.streams):
        name = f"{variant} {backend} {precision}" + (f" streams={streams}" if streams else "")
        arguments = {"variant": variant, "backend": backend, "precision": precision, "num_streams": streams}
        candidates.append(Candidate(name=name, kind="paragon", arguments=arguments))
    with tempfile.TemporaryDirectory(prefix="vsparagon-benchmark-") as folder:
        if args.peers:
            candidates += peers(args, Path(folder))
        results = compare(candidates, args)
    rows = [
        [name, f"{1 / r.wall:.1f}", f"{r.processor * 1000:.1f}", f"{r.first * 1000:.0f}", f"{r.memory:.0f}"]
        for name, r in results.items()
    ]
    report(args, ["", "frames/s", "processor ms/frame", "first frame ms", "peak MiB"], rows)


def peers(args: argparse.Namespace, folder: Path) -> list[Candidate]:
    """Return vs-mlrt on the same weights in float32: the published form, which its users would export, and ours."""
    from vsparagon.checkpoint import load_generator
    from vsparagon.export import export_onnx
    from vsparagon.library import find_model

    found = []
    for variant in args.variants:
        published = folder / f"{variant}.onnx"
        export_onnx(load_generator(variant, scale=args.scale), published)
        ours = find_model(variant=variant, scale=args.scale, profile="clean").graph
        for plugin, (form, path), streams in product(
            args.plugins, (("published", published), ("our form", ours)), args.streams
        ):
            name = f"vs-mlrt {plugin} {variant}, {form}" + (f" streams={streams}" if streams else "")
            arguments = {"plugin": plugin, "path": str(path), "streams": streams or 2, "extended": form == "our form"}
            found.append(Candidate(name=name, kind="vs_mlrt", arguments=arguments))
    return found


def overhead(args: argparse.Namespace) -> None:
    """The filter without its network, against the same way by zimg alone."""
    candidates = [
        Candidate(name="zimg: RGBS, enlarged, back", kind="zimg_float"),
        Candidate(name="filter without network", kind="paragon_without_network"),
    ]
    rows = [
        [name, f"{r.wall * 1000:.2f}", f"{r.processor * 1000:.2f}"] for name, r in compare(candidates, args).items()
    ]
    report(args, ["", "wall ms/frame", "processor ms/frame"], rows)


def start(args: argparse.Namespace) -> None:
    """Milliseconds from Python's start to an evaluated script and to its first frame, with a cold and a warm cache."""
    width, height = args.size
    program = (
        "import sys, time\n"
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
    rows = []
    for variant in args.variants:
        seen: dict[str, list[list[float]]] = {"cold": [], "warm": []}
        for _ in range(args.rounds):
            with tempfile.TemporaryDirectory() as cache:
                for times in seen.values():
                    command = [sys.executable, "-c", program, cache, variant]
                    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
                    times.append([float(number) for number in output.split()])
        for state, times in seen.items():
            medians = [statistics.median(column) * 1000 for column in zip(*times, strict=True)]
            rows.append([f"{variant}, {state} cache", *(f"{number:.0f}" for number in medians)])
    report(args, ["", "import vsparagon ms", "evaluate ms", "first frame ms"], rows)


COMMANDS = {"speed": (speed, [640, 360]), "overhead": (overhead, [960, 540]), "start": (start, [1920, 1080])}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=[*COMMANDS, "serve"])
    parser.add_argument("--job", help=argparse.SUPPRESS)
    parser.add_argument("--variants", nargs="+", default=["nano"])
    parser.add_argument("--backends", nargs="+", default=["openvino"])
    parser.add_argument("--precisions", nargs="+", default=["auto"])
    parser.add_argument("--streams", nargs="+", type=int, default=[0], help="values of num_streams, 0 for the default")
    parser.add_argument("--peers", action="store_true", help="vs-mlrt too; its plugins must be installed")
    parser.add_argument("--plugins", nargs="+", default=["ov", "ort"], help="which of vs-mlrt's")
    parser.add_argument("--scale", type=int, default=2)
    parser.add_argument("--size", nargs=2, type=int, metavar=("WIDTH", "HEIGHT"))
    parser.add_argument("--frames", type=int, default=48)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--picture", help="the picture to move; by default scikit-image's astronaut")
    args = parser.parse_args()
    if args.what == "serve":
        serve(json.loads(args.job))
        return
    command, size = COMMANDS[args.what]
    args.size = args.size or size
    command(args)


if __name__ == "__main__":
    main()
