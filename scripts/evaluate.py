"""Measure picture quality and speed of the models beside bicubic and Lanczos interpolation.

    python scripts/evaluate.py --pictures SET5 SET14 --variants nano micro
    python scripts/evaluate.py --videos CLIP.mp4 --crf 28 --profiles clean compressed --plot quality.png

Pictures and frames are reduced by antialiased bicubic (frames are then compressed, with --crf) and enlarged again;
`--scale` pixels are cut from each border, as papers do. PSNR and SSIM are means over pictures or frames. Flicker is
how differently from the source the luma changes between frames, in levels of 255. Speed is that of the filter, or of
VapourSynth's own resizer, from YUV420P8 to YUV420P8, in this run on this machine: the median of three rounds in turn.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import av
import numpy as np
import vapoursynth as vs
from benchmarking.clip_load import make_all
from matplotlib.figure import Figure

from vsparagon import Upscaler
from vsparagon.errors import ParagonError
from vsparagon.files import distinct_names
from vsparagon.training.degradation import Degradation, Pair, compress
from vsparagon.training.pictures import crop_to_multiple
from vsparagon.training.quality import flicker
from vsparagon.training.resize import Kernel, reduce, resize
from vsparagon.training.validation import Enlarge, load_pairs, mean_quality

core: Any = vs.core
ROUNDS, WARM_UP, FRAMES = 3, 8, 40


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A way to enlarge: for pictures, and as a node of VapourSynth."""

    name: str
    enlarge: Enlarge
    node: Callable[[Any], Any]


def interpolation(kernel: Kernel, scale: int) -> Candidate:
    """Return an interpolation."""
    resizer = getattr(core.resize, kernel.capitalize())
    return Candidate(
        name=kernel,
        enlarge=lambda low: resize(low, low.shape[0] * scale, low.shape[1] * scale, kernel),
        node=lambda clip: resizer(clip, clip.width * scale, clip.height * scale),
    )


def network(name: str, scale: int, **arguments: Any) -> Candidate:
    """Return a network, by arguments that the filter and `Upscaler` share."""
    return Candidate(
        name=name,
        enlarge=Upscaler(scale=scale, **arguments),
        node=lambda clip: core.paragon.Upscale(clip, scale=scale, **arguments),
    )


def load_clip(path: Path, scale: int, frames: int, crf: int | None) -> list[Pair]:
    """Return the frames of a video with their reductions, which went through x264 where there is a `crf`."""
    with av.open(str(path)) as container:
        decoded = [
            frame.to_ndarray(format="rgb24").astype(np.uint8, copy=False)
            for _, frame in zip(range(frames), container.decode(video=0), strict=False)
        ]
    highs = [crop_to_multiple(frame, 2 * scale) for frame in decoded]
    lows = [reduce(high, scale) for high in highs]
    if crf is not None:
        lows = compress(lows, "h264", crf=crf)
    return [Pair(low, high) for low, high in zip(lows, highs, strict=True)]


def measure(candidate: Candidate, pairs: list[Pair], scale: int, *, moving: bool) -> dict[str, float]:
    """Return the candidate's figures on pictures, or on the successive frames of a video."""
    results = [candidate.enlarge(pair.low) for pair in pairs]
    following = iter(results)
    quality = mean_quality(lambda _: next(following), pairs, scale)
    figures = {"PSNR": quality.psnr, "SSIM": quality.ssim, "RGB PSNR": quality.psnr_rgb}
    if moving:
        steps = [flicker(results[i], results[i - 1], pairs[i].high, pairs[i - 1].high) for i in range(1, len(results))]
        figures["flicker"] = float(np.mean(steps)) if steps else 0.0
    return figures


def frames_per_second(candidates: Sequence[Candidate], width: int, height: int) -> dict[str, float]:
    """Return the speed of each candidate on a clip of this size."""
    length = WARM_UP + FRAMES
    source = core.std.BlankClip(None, width, height, vs.YUV420P8, ROUNDS * length, color=[110, 120, 140], keep=True)
    nodes = {candidate.name: candidate.node(source.std.SetFrameProps(_Matrix=1)) for candidate in candidates}
    seen: dict[str, list[float]] = {name: [] for name in nodes}
    for turn in range(ROUNDS):  # new frames each time: VapourSynth remembers the old ones
        for name, node in nodes.items():
            begin = turn * length
            make_all(node[begin : begin + WARM_UP])  # what is only done once, is done
            start = time.perf_counter()
            make_all(node[begin + WARM_UP : begin + length])
            seen[name].append(FRAMES / (time.perf_counter() - start))
    return {name: statistics.median(values) for name, values in seen.items()}


def table(figures: dict[str, dict[str, float]]) -> str:
    """Return a Markdown table: a row for each candidate, a column for each figure."""
    columns = list(next(iter(figures.values())))
    rows = [["", *columns], ["---"] * (len(columns) + 1)]
    for name, values in figures.items():
        rows.append([name, *(_shown(column, values[column]) for column in columns)])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _shown(column: str, value: float) -> str:
    return f"{value:.{4 if column.endswith('SSIM') else 1 if column == SPEED else 2}f}"


SPEED = "frames/s"


def plot(figures: dict[str, dict[str, float]], path: Path) -> None:
    """Draw luma PSNR against speed, a panel for each set of pictures or video."""
    panels = [column for column in next(iter(figures.values())) if column.endswith("PSNR") and "RGB" not in column]
    figure = Figure(figsize=(5 * len(panels), 4), layout="constrained")
    for axes, column in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        for name, values in figures.items():
            axes.plot(values[SPEED], values[column], "o")
            axes.annotate(name, (values[SPEED], values[column]), (4, 4), textcoords="offset points", fontsize=8)
        axes.set(xscale="log", xlabel=SPEED, ylabel="luma PSNR in dB", title=column.removesuffix(" PSNR"))
        axes.margins(0.2)
        axes.grid(alpha=0.3)
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=Path, nargs="+", default=[], help="folders of high-resolution pictures")
    parser.add_argument("--videos", type=Path, nargs="+", default=[], help="high-resolution videos")
    parser.add_argument("--frames", type=int, default=1000, help="frames of each video to take")
    parser.add_argument("--every", type=int, default=1, help="measure one of so many frames alone, without flicker")
    parser.add_argument("--crf", type=int, help="compress the reduced videos by x264, medium, at this CRF")
    parser.add_argument("--scale", type=int, default=2)
    parser.add_argument("--variants", nargs="*", default=["nano", "micro"], help="bundled networks")
    parser.add_argument("--profiles", nargs="+", default=["clean"], help="of the bundled networks")
    parser.add_argument("--models", type=Path, nargs="+", default=[], help="model files of your own")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--speed", type=int, nargs=2, default=[960, 540], metavar=("WIDTH", "HEIGHT"))
    parser.add_argument("--plot", type=Path, help="PNG of quality against speed to write")
    args = parser.parse_args()
    if not args.pictures and not args.videos:
        parser.error("give --pictures, --videos or both")
    if args.every < 1:
        parser.error(f"--every is {args.every}; it must be at least 1")
    if args.plot and args.plot.suffix.lower() != ".png":
        parser.error(f"--plot is {args.plot}; it must end in .png")
    try:
        evaluate(args)
    except (ParagonError, OSError) as error:
        sys.exit(f"evaluate: {error}")


def evaluate(args: argparse.Namespace) -> None:
    """Measure all that was asked for, and print it."""
    kernels: tuple[Kernel, ...] = ("bicubic", "lanczos")
    candidates = [interpolation(kernel, args.scale) for kernel in kernels]
    given = {"precision": args.precision}
    candidates += [
        network(f"{variant} {profile}", args.scale, variant=variant, profile=profile, **given)
        for variant, profile in product(args.variants, args.profiles)
    ]
    candidates += [
        network(name, args.scale, model=str(path), **given) for path, name in distinct_names(args.models).items()
    ]

    figures: dict[str, dict[str, float]] = {candidate.name: {} for candidate in candidates}
    for place, title in distinct_names([*args.pictures, *args.videos]).items():
        moving = place in args.videos
        if moving:
            pairs = load_clip(place, args.scale, args.frames, args.crf)[:: args.every]
        else:
            pairs = load_pairs(place, args.scale, Degradation())
        for candidate in candidates:
            measured = measure(candidate, pairs, args.scale, moving=moving and args.every == 1)
            figures[candidate.name] |= {f"{title} {name}": value for name, value in measured.items()}
    for name, speed in frames_per_second(candidates, *args.speed).items():
        figures[name][SPEED] = speed
    compression = "" if args.crf is None else f", x264 CRF {args.crf}"
    print(f"x{args.scale}{compression}; speed at {args.speed[0]}x{args.speed[1]}\n")
    print(table(figures))
    if args.plot:
        plot(figures, args.plot)


if __name__ == "__main__":
    main()
