"""Open an input for viewing. There is no folder next to an output, so BestSource's index goes to the user's cache."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Final

import vapoursynth as vs

from vsparagon.cache import usable_cache_folder
from vsparagon.input.job import Job
from vsparagon.input.source import Source, open_source, rate_of
from vsparagon.input.streams import read_overview

UNEVEN: Final = Fraction(1, 20)  # seconds by which a timestamp may differ from a constant frame rate


@dataclass(frozen=True, kw_only=True)
class Opened:
    """An input opened for viewing.

    Attributes:
        source: its clip.
        beside: the kinds of streams that can be played along with it, of "audio" and "subtitle".
        ahead: seconds from the beginning of those streams to the first frame.
        note: how the timing differs from the file's, or "".
    """

    source: Source
    beside: frozenset[str] = frozenset()
    ahead: float = 0.0
    note: str = ""


def open_to_view(job: Job) -> Opened:
    """Open the input of a job for viewing.

    Raises:
        ParagonError: the input cannot be used, or BestSource is not installed.
    """
    job.check_files()
    if job.is_script:
        return Opened(source=open_source(job, Path(), 0))
    overview = read_overview(job.input)
    source = open_source(job, _index(job), overview.track)
    beside = overview.kinds & {"audio", "subtitle"}
    first = _first_time(source, scripted=job.filter_script is not None)
    if first is not None:
        return Opened(source=source, beside=beside, ahead=float(first - overview.start))
    cause = "the filter script changes the timing" if job.filter_script else "the frame rate is variable or unknown"
    silent = ", without audio and subtitles" if beside else ""
    rate = float(rate_of(source.clip))
    return Opened(source=source, note=f"{cause}: playing at a constant {rate:.5g} frames per second{silent}")


def _first_time(source: Source, *, scripted: bool) -> Fraction | None:
    """Return when the file shows the clip's first frame, in seconds; None if it shows the clip at no constant rate.

    Args:
        source: a file's clip.
        scripted: whether a filter script has processed it; its frames may have kept their times.
    """
    rate, count = Fraction(source.clip.fps), source.clip.num_frames
    times = [stamp * source.time_base for stamp in source.timestamps]
    if not times or not rate or not _even(times):
        return None
    first, last = _kept_times(source.clip) if scripted else (None, None)
    if first is None or last is None:
        if len(times) != count:
            return None
        first, last = times[0], times[-1]
    return first if abs(last - first - (count - 1) / rate) <= UNEVEN + 1 / rate else None


def _even(times: Sequence[Fraction]) -> bool:
    pace = (times[-1] - times[0]) / max(len(times) - 1, 1)
    return all(abs(time - times[0] - n * pace) <= UNEVEN for n, time in enumerate(times))


def _kept_times(clip: vs.VideoNode) -> list[Fraction | None]:
    """Return the times in the file, in seconds, that the first and the last frame have kept through a filter script."""
    found: list[Fraction | None] = []
    for n in (0, clip.num_frames - 1):
        try:
            with clip.get_frame(n) as frame:
                time = frame.props.get("_AbsoluteTime")
        except vs.Error:  # told when the frame is to be shown
            time = None
        found.append(None if time is None else Fraction(time))
    return found


def _index(job: Job) -> Path:
    """Return the path prefix of BestSource's index, which is kept because indexing a long video takes a while."""
    folder = usable_cache_folder(job.cache) / "sources"
    folder.mkdir(exist_ok=True)
    return folder / hashlib.sha256(str(job.input).encode()).hexdigest()[:16]


def seconds_of(clip: vs.VideoNode) -> float:
    """Return a clip's duration in seconds, at its nominal frame rate."""
    return float(clip.num_frames / rate_of(clip))
