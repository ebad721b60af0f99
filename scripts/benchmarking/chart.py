"""Draw the figures as a PNG."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarking.report import Row
from vsparagon.errors import BackendUnavailable

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def check_drawing() -> None:
    """Check, before anything is measured, that charts can be drawn.

    Raises:
        BackendUnavailable: matplotlib is not installed.
    """
    if not find_spec("matplotlib"):
        raise BackendUnavailable("--chart needs matplotlib; pip install matplotlib, or leave --chart out.")


def draw_speed(rows: Sequence[Row], path: Path) -> None:
    """Draw the frames per second of each row as a bar, with a panel for each size."""
    from matplotlib.figure import Figure

    sizes = list(dict.fromkeys(str(row["size"]) for row in rows))
    most = max(sum(str(row["size"]) == size for row in rows) for size in sizes)
    figure = Figure(figsize=(8, len(sizes) * (1 + 0.3 * most)), layout="constrained")
    for axes, size in zip(figure.subplots(len(sizes), 1, squeeze=False)[:, 0], sizes, strict=True):
        panel = [row for row in rows if str(row["size"]) == size]
        bars = axes.barh([row["name"] for row in panel], [row["frames_per_second"] for row in panel])
        axes.bar_label(bars, fmt="%.1f", padding=3)
        axes.invert_yaxis()
        axes.margins(x=0.12)
        axes.set(title=size, xlabel="frames/s")
    figure.savefig(path, dpi=120)


def draw_growth(rows: Sequence[Row], path: Path) -> None:
    """Plot time and memory over the picture size, with a line for each name; a straight line means linear growth."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    time, memory = figure.subplots(1, 2)
    for name in dict.fromkeys(row["name"] for row in rows):
        line = [row for row in rows if row["name"] == name]
        pixels = [row["size"].pixels / 1e6 for row in line]
        _line(time, pixels, [1000 / row["frames_per_second"] for row in line], name)
        _line(memory, pixels, [row["memory"] for row in line], name)
    time.set(ylabel="ms/frame")
    memory.set(ylabel="peak memory in MiB")
    for axes in (time, memory):
        axes.set(xlabel="megapixels of the source")
        axes.margins(0.1)
        axes.set_xlim(0)
        axes.set_ylim(0)
        axes.grid(alpha=0.3)
    time.legend()
    figure.savefig(path, dpi=120)


def _line(axes: Axes, across: list[float], up: list[float], name: str) -> None:
    axes.plot(across, up, "o-", label=name)
