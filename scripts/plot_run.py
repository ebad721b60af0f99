"""Plot the curves of a training run from its TensorBoard files, as in docs/.

python scripts/plot_run.py runs/nano_x2_gan gan.png --scalars gan/margin gan/penalty gan/ratio val/Set5/psnr
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from matplotlib.figure import Figure
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from vsparagon.errors import InvalidInput
from vsparagon.system.interrupt import ending_on_interrupt

COLUMNS = 2
KINDS = (".png", ".svg")


def draw(run: Path, names: list[str], out: Path) -> None:
    """Write a picture with a panel for each scalar of a run.

    Args:
        run: the run's folder.
        names: of the scalars; empty for all.
        out: PNG or SVG file to write.

    Raises:
        InvalidInput: the folder is not that of a run, lacks one of the scalars (the message lists those that exist), or
            `out` has an unknown suffix.
    """
    if out.suffix.lower() not in KINDS:
        raise InvalidInput(f"the picture is called {out.name}; it must end in {' or '.join(KINDS)}.")
    if not (run / "tensorboard").is_dir():
        raise InvalidInput(f"{run} is not the folder of a run: it has no folder tensorboard.")
    events = EventAccumulator(str(run / "tensorboard"), size_guidance={"scalars": 0})
    events.Reload()
    known: list[str] = events.Tags()["scalars"]
    for name in names:
        if name not in known:
            raise InvalidInput(f"{run} has no scalar {name!r}; it has {', '.join(known) or 'none'}.")
    names = names or known
    if not names:
        raise InvalidInput(f"{run} has no scalars yet.")
    rows = -(-len(names) // COLUMNS)
    figure = Figure(figsize=(5 * COLUMNS, 2.4 * rows), layout="constrained")
    panels = list(figure.subplots(rows, COLUMNS, squeeze=False).flat)
    for axes, name in zip(panels, names, strict=False):
        points = events.Scalars(name)
        axes.plot([point.step for point in points], [point.value for point in points])
        axes.set(title=name, xlabel="iteration")
        axes.grid(alpha=0.3)
    for axes in panels[len(names) :]:
        axes.axis("off")
    figure.savefig(out, dpi=100)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="the run's folder")
    parser.add_argument("out", type=Path, help="PNG or SVG file to write")
    parser.add_argument("--scalars", nargs="+", default=[], help="names of the scalars to draw (default: all)")
    args = parser.parse_args()
    try:
        draw(args.run, args.scalars, args.out)
    except (InvalidInput, OSError) as error:
        sys.exit(f"plot_run: {error}")


if __name__ == "__main__":
    with ending_on_interrupt("plot_run"):
        main()
