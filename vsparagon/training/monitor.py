"""Show a training run: a progress bar, lines in the log, TensorBoard."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from vsparagon.training.pictures import Picture

log = logging.getLogger(__name__)

SHOWN = ("loss/", "gan/ratio")  # how the names of the figures in the log begin


class Monitor:
    """Shows one run. The progress bar appears only on a terminal; the log has the same figures.

    Args:
        folder: for TensorBoard's files. Values that an interrupted run wrote there for iterations after `begin` are
            superseded.
        begin, total: number of iterations done so far, and in the whole run.
    """

    def __init__(self, folder: Path, *, begin: int, total: int) -> None:
        self._begin, self._total, self._started = begin, total, time.monotonic()
        self._writer = SummaryWriter(str(folder), purge_step=begin + 1)
        self._bar = tqdm(total=total, initial=begin, unit="it", dynamic_ncols=True, disable=None)

    def advance(self) -> None:
        """Count an iteration."""
        self._bar.update()

    def scalars(self, done: int, values: Mapping[str, float]) -> None:
        """Write numbers to TensorBoard, as of iteration `done`."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, done)

    def report(self, done: int, values: Mapping[str, float]) -> None:
        """Show the losses and their ratio among the values, whose names begin with `SHOWN`, speed and time left."""
        shown = {name.partition("/")[2]: value for name, value in values.items() if name.startswith(SHOWN)}
        said = ", ".join(f"{name} {value:.5f}" for name, value in shown.items())
        self._bar.set_postfix_str(said, refresh=False)
        speed = (done - self._begin) / (time.monotonic() - self._started)
        left = timedelta(seconds=round((self._total - done) / speed))
        log.info("iteration %d of %d: loss %s, %.1f it/s, %s left", done, self._total, said, speed, left)

    def picture(self, done: int, name: str, picture: Picture) -> None:
        """Write a sample picture, H,W,3 uint8, to TensorBoard."""
        self._writer.add_image(name, picture, done, dataformats="HWC")

    def flush(self) -> None:
        """Write buffered TensorBoard data to the disk."""
        self._writer.flush()

    def close(self) -> None:
        """Close TensorBoard's file and the progress bar."""
        self._writer.close()
        self._bar.close()
