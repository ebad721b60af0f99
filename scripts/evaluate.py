"""Compare the picture quality and speed of networks with bicubic and Lanczos interpolation.

    python scripts/evaluate.py --pictures SET5 SET14 --variants nano micro
    python scripts/evaluate.py --videos CLIP.mp4 --crf 28 --profiles clean compressed --plot quality.png

Pictures and frames are downscaled by antialiased bicubic, frames are then compressed if --crf is given, and all are
upscaled again. As in papers, `--scale` pixels are cut from each side before measuring. PSNR and SSIM are means over
pictures or frames. Flicker is how much the change of the luma between two frames differs from the source's, on a scale
of 0..255. Speed is that of the filter, or of VapourSynth's own resizer, from YUV420P8 to YUV420P8, measured as by
`scripts/benchmark.py`: the median of three rounds.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, Final

import numpy as np
import vapoursynth as vs
from benchmarking.jobs import Candidate, Settings, Size
from benchmarking.networks import ONLY_LUMA, has_precision
from benchmarking.rounds import compare
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from vsparagon import Upscaler
from vsparagon.arguments import CHROMA
from vsparagon.colours.layout import BT709
from vsparagon.errors import InvalidInput, ParagonError
from vsparagon.input.streams import opened_container
from vsparagon.lookup import find_model
from vsparagon.system.files import distinct_names
from vsparagon.system.interrupt import ending_on_interrupt
from vsparagon.training.degradation import Degradation, Pair, compress
from vsparagon.training.pictures import Picture, crop_to_multiple
from vsparagon.training.quality import flicker
from vsparagon.training.resize import Kernel, reduce, resize
from vsparagon.training.validation import Enlarge, least_side, load_pairs, mean_quality

ROUNDS, FRAMES = 3, 40


@dataclass(frozen=True, kw_only=True)
class Way:
    """A way to upscale.

    Attributes:
        name: for the table.
        enlarge: upscales a picture, H,W,3 uint8, to measure quality.
        kind, arguments: a function in `benchmarking.filters` and its arguments, to measure speed.
    """

    name: str
    enlarge: Enlarge
    kind: str
    arguments: dict[str, Any]


def interpolation(kernel: Kernel, scale: int) -> Way:
    """Return an interpolation as a way to upscale."""
    return Way(
        name=kernel,
        enlarge=lambda low: resize(low, low.shape[0] * scale, low.shape[1] * scale, kernel),
        kind="zimg",
        arguments={"kernel": kernel.capitalize()},
    )


def network(name: str, scale: int, *, chroma: str, **arguments: Any) -> Way:
    """Return a network as a way to upscale.

    Args:
        name: for the table.
        scale: of the network.
        chroma: what upscales it, as in the filter.
        arguments: further arguments, which the filter and `Upscaler` have in common.
    """
    if chroma == "network":
        return Way(name=name, enlarge=Upscaler(scale=scale, **arguments), kind="paragon", arguments=arguments)
    arguments |= {"chroma": chroma}
    by_luma = partial(by_filter, scale=scale, **arguments)
    return Way(name=name + ONLY_LUMA, enlarge=by_luma, kind="paragon", arguments=arguments)


def by_filter(low: Picture, **arguments: Any) -> Picture:
    """Upscale a picture, H,W,3 uint8, by the filter as a clip of YUV444P16."""
    blank = vs.core.std.BlankClip(None, low.shape[1], low.shape[0], vs.RGB24, 1)

    def fill(n: int, f: vs.VideoFrame) -> vs.VideoFrame:  # noqa: ARG001  (VapourSynth names them)
        frame = f.copy()
        for channel in range(3):
            np.asarray(frame[channel])[:] = low[..., channel]
        return frame

    clip = blank.std.ModifyFrame([blank], fill).resize.Spline36(format=vs.YUV444P16, matrix=BT709)
    with vs.core.paragon.Upscale(clip, **arguments).resize.Spline36(format=vs.RGB24).get_frame(0) as frame:
        return np.stack([np.asarray(frame[channel]) for channel in range(3)], axis=2)


def load_clip(path: Path, scale: int, frames: int, crf: int | None) -> list[Pair]:
    """Return the first frames of a video with their low resolution.

    Args:
        path: of the video.
        scale: how many times smaller the low resolution is.
        frames: number of frames to take.
        crf: compress the low resolution by x264 at this CRF; None for no compression.

    Raises:
        InvalidInput: the file cannot be read, has no video, or its frames are too small or of several sizes.
    """
    with opened_container(path) as container:
        if not container.streams.video:
            raise InvalidInput(f"{path} has no video.")
        decoded = [
            frame.to_ndarray(format="rgb24").astype(np.uint8, copy=False)
            for _, frame in zip(range(frames), container.decode(video=0), strict=False)
        ]
    if not decoded:
        raise InvalidInput(f"no frame of {path} can be decoded.")
    if len({frame.shape for frame in decoded}) > 1:
        raise InvalidInput(f"the frames of {path} change their size; give --frames up to where they do, or cut it.")
    even = 2 * scale  # 4:2:0 needs even sides at low resolution
    least = -(-least_side(scale) // even) * even
    if min(decoded[0].shape[:2]) < least:
        raise InvalidInput(f"the frames of {path} are too small to be measured; they need {least} pixels a side.")
    highs = [crop_to_multiple(frame, even) for frame in decoded]
    lows = [reduce(high, scale) for high in highs]
    if crf is not None:
        lows = compress(lows, "h264", crf=crf)
    return [Pair(low, high) for low, high in zip(lows, highs, strict=True)]


def measure(way: Way, pairs: list[Pair], scale: int, *, moving: bool) -> dict[str, float]:
    """Return a way's figures, by name, for pictures or (`moving`) for consecutive frames of a video."""
    results = [way.enlarge(pair.low) for pair in pairs]
    following = iter(results)
    quality = mean_quality(lambda _: next(following), pairs, scale)
    figures = {"PSNR": quality.psnr, "SSIM": quality.ssim, "RGB PSNR": quality.psnr_rgb}
    if moving:
        steps = [flicker(results[i], results[i - 1], pairs[i].high, pairs[i - 1].high) for i in range(1, len(results))]
        figures["flicker"] = float(np.mean(steps)) if steps else 0.0
    return figures


def frames_per_second(ways: Sequence[Way], size: Size, scale: int) -> dict[str, float]:
    """Return the frames per second of each way, by name, for a source of this size."""
    candidates = [Candidate(name=way.name, kind=way.kind, size=size, arguments=way.arguments) for way in ways]
    results = compare(candidates, Settings(scale=scale, frames=FRAMES, rounds=ROUNDS))
    return {result.candidate.name: result.frames_per_second for result in results}


def table(figures: dict[str, dict[str, float]]) -> str:
    """Return a Markdown table: a row for each way, a column for each figure."""
    columns = list(next(iter(figures.values())))
    rows = [["", *columns], ["---"] * (len(columns) + 1)]
    for name, values in figures.items():
        rows.append([name, *(_shown(column, values[column]) for column in columns)])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _shown(column: str, value: float) -> str:
    return f"{value:.{4 if column.endswith('SSIM') else 1 if column == SPEED else 2}f}"


SPEED = "frames/s"
# Where a label may be put: offset from its point (in typographic points), horizontal and vertical alignment.
SIDES: Final = (
    ((5, 0), "left", "center"),
    ((0, 5), "center", "bottom"),
    ((0, -6), "center", "top"),
    ((-5, 0), "right", "center"),
)


def plot(figures: dict[str, dict[str, float]], path: Path) -> None:
    """Draw luma PSNR against speed, a panel for each set of pictures or video."""
    panels = [column for column in next(iter(figures.values())) if column.endswith("PSNR") and "RGB" not in column]
    figure = Figure(figsize=(5.5 * len(panels), 4.5), layout="constrained")
    for axes, column in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        for values in figures.values():
            axes.plot(values[SPEED], values[column], "o")
        axes.set(xscale="log", xlabel=SPEED, ylabel="luma PSNR in dB", title=column.removesuffix(" PSNR"))
        axes.margins(0.2)
        axes.grid(alpha=0.3)
        figure.draw_without_rendering()  # lays out the axes, so that the positions of the points are known
        _label(axes, {name: (values[SPEED], values[column]) for name, values in figures.items()})
    figure.savefig(path, dpi=120)


def _label(axes: Axes, points: dict[str, tuple[float, float]]) -> None:
    """Label points with their names, each on the first side where the label overlaps nothing, or on the last one."""
    taken = [Bbox.from_bounds(x - 4, y - 4, 8, 8) for x, y in axes.transData.transform(list(points.values()))]
    for name, point in points.items():
        for place, horizontal, vertical in SIDES:
            label = axes.annotate(
                name, point, place, textcoords="offset points", fontsize=7, ha=horizontal, va=vertical
            )
            box = label.get_window_extent()
            if not any(box.overlaps(other) for other in taken) or place == SIDES[-1][0]:
                taken.append(box)
                break
            label.remove()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=Path, nargs="+", default=[], help="folders of high-resolution pictures")
    parser.add_argument("--videos", type=Path, nargs="+", default=[], help="high-resolution videos")
    parser.add_argument("--frames", type=int, default=1000, help="number of frames of each video (1000)")
    parser.add_argument("--every", type=int, default=1, help="measure only every Nth frame, without flicker (1)")
    parser.add_argument("--crf", type=int, help="compress the downscaled videos by x264, preset medium, at this CRF")
    parser.add_argument("--scale", type=int, default=2, help="scale factor (2)")
    parser.add_argument("--variants", nargs="*", default=["nano", "micro"], help="bundled networks (nano micro)")
    parser.add_argument(
        "--profiles", nargs="+", default=["clean"], help="profiles of the bundled networks: clean, compressed (clean)"
    )
    parser.add_argument("--models", type=Path, nargs="+", default=[], help="model files of your own")
    parser.add_argument("--precisions", nargs="+", default=["auto"], help="auto, fp32, fp16, bf16, int8 (auto)")
    parser.add_argument("--chroma", nargs="+", choices=CHROMA, default=["network"], help="what upscales it (network)")
    parser.add_argument(
        "--speed",
        type=int,
        nargs=2,
        default=[960, 540],
        metavar=("WIDTH", "HEIGHT"),
        help="size of the source for measuring the speed (960 540)",
    )
    parser.add_argument("--plot", type=Path, help="PNG file for a plot of quality against speed")
    args = parser.parse_args()
    if not args.pictures and not args.videos:
        parser.error("give --pictures, --videos or both")
    for name in ("frames", "every", "scale"):
        if (number := getattr(args, name)) < 1:
            parser.error(f"--{name} is {number}; it must be at least 1")
    if args.crf is not None and not 0 <= args.crf <= 51:
        parser.error(f"--crf is {args.crf}; it must be between 0 and 51")
    if args.plot and args.plot.suffix.lower() != ".png":
        parser.error(f"--plot is {args.plot}; it must end in .png")
    try:
        evaluate(args)
    except (ParagonError, OSError) as error:
        sys.exit(f"evaluate: {error}")


def evaluate(args: argparse.Namespace) -> None:
    """Measure what the arguments ask for, and print the results.

    Raises:
        ParagonError, OSError: a model, picture or video cannot be used.
    """
    kernels: tuple[Kernel, ...] = ("bicubic", "lanczos")
    ways = [interpolation(kernel, args.scale) for kernel in kernels]
    asked = {
        variant if len(args.profiles) == 1 else f"{variant} {profile}": {"variant": variant, "profile": profile}
        for variant, profile in product(args.variants, args.profiles)
    }
    files = {name: {"model": str(path)} for path, name in distinct_names(args.models).items()}
    if twice := files.keys() & (asked.keys() | set(kernels)):
        raise InvalidInput(f"two are called {', '.join(sorted(twice))}; give the files other names.")
    asked |= files
    for (name, given), precision in product(asked.items(), args.precisions):
        model = find_model(scale=0 if "model" in given else args.scale, **given)
        if model.scale != args.scale:
            raise InvalidInput(
                f"--scale is {args.scale}, but {name} enlarges {model.scale} times; models of one scale are compared."
            )
        if has_precision(name, model, precision):
            title = name if precision == args.precisions[0] else f"{name} {precision}"
            ways += [network(title, args.scale, chroma=way, precision=precision, **given) for way in args.chroma]

    figures: dict[str, dict[str, float]] = {way.name: {} for way in ways}
    for place, title in distinct_names([*args.pictures, *args.videos]).items():
        moving = place in args.videos
        if moving:
            pairs = load_clip(place, args.scale, args.frames, args.crf)[:: args.every]
        else:
            pairs = load_pairs(place, args.scale, Degradation())
        for way in ways:
            measured = measure(way, pairs, args.scale, moving=moving and args.every == 1)
            figures[way.name] |= {f"{title} {name}": value for name, value in measured.items()}
    size = Size(width=args.speed[0], height=args.speed[1])
    for name, speed in frames_per_second(ways, size, args.scale).items():
        figures[name][SPEED] = speed
    compression = "" if args.crf is None else f", x264 CRF {args.crf}"
    print(f"x{args.scale}{compression}; speed at {size}\n")
    print(table(figures))
    if args.plot:
        plot(figures, args.plot)


if __name__ == "__main__":
    with ending_on_interrupt("evaluate"):
        main()
