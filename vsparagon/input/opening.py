"""Open an input for viewing. There is no folder next to an output, so BestSource's index goes to the user's cache."""

from __future__ import annotations

import hashlib
from bisect import bisect_left
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

SECOND: Final = 1_000_000  # microseconds
UNEVEN: Final = Fraction(1, 20)  # seconds by which a timestamp may differ from a constant frame rate


@dataclass(frozen=True, kw_only=True)
class Opened:
    """An input opened for viewing.

    Attributes:
        source: its clip.
        times: when the clip's frames are shown, in microseconds from the first, rising.
        beside: the kinds of streams that can be played along with it, of "audio" and "subtitle".
        ahead: seconds from the beginning of those streams to the first frame.
        note: how the timing differs from the file's, or "".
    """

    source: Source
    times: Sequence[int]
    beside: frozenset[str] = frozenset()
    ahead: float = 0.0
    note: str = ""

    @property
    def lasts(self) -> float:
        """The clip's duration in seconds; the last frame is shown for as long as its nominal rate says."""
        return float(Fraction(self.times[-1], SECOND) + 1 / rate_of(self.source.clip))


def open_to_view(job: Job) -> Opened:
    """Open the input of a job for viewing.

    Raises:
        ParagonError: the input cannot be used, or BestSource is not installed.
    """
    job.check_files()
    if job.is_script:
        source = open_source(job, Path())
        return Opened(source=source, times=_steady_times(source.clip))
    overview = read_overview(job.input)
    source = open_source(job, _index(job), overview.track)
    beside = overview.kinds & {"audio", "subtitle"}
    scripted = job.filter_script is not None
    first, times = _file_times(source, scripted=scripted)
    if first is not None:
        return Opened(source=source, times=times, beside=beside, ahead=float(first - overview.track.start))
    cause = "the filter script changes the timing" if scripted else "the file has no usable timestamps"
    silent = ", without audio and subtitles" if beside else ""
    rate = float(rate_of(source.clip))
    note = f"{cause}: playing at a constant {rate:.5g} frames per second{silent}"
    return Opened(source=source, times=times, note=note)


def _file_times(source: Source, *, scripted: bool) -> tuple[Fraction | None, Sequence[int]]:
    """Return when the file shows the clip's first frame, in seconds, and the times for `Opened`.

    These are the file's own for a part of its frames in its own rate; else those of a constant rate. The first time is
    None if the file does not show the clip at that rate.

    Args:
        source: a file's clip.
        scripted: whether a filter script has processed it; its frames may have kept their times.
    """
    clip, stamps, tick = source.clip, source.timestamps, source.time_base
    steady = _steady_times(clip)
    if not stamps:
        return None, steady
    begin, end = 0, len(stamps)
    kept = _kept_times(clip) if scripted else []
    if kept:
        begin, end = bisect_left(stamps, round(kept[0] / tick)), bisect_left(stamps, round(kept[1] / tick)) + 1
    if end - begin == clip.num_frames and Fraction(clip.fps) == source.rate:
        numerator, denominator = (tick * SECOND).as_integer_ratio()
        return stamps[begin] * tick, [(n - stamps[begin]) * numerator // denominator for n in stamps[begin:end]]
    times = [stamp * tick for stamp in stamps]
    first, last = kept or (times[0], times[-1])
    fits = abs(last - first - Fraction(steady[-1], SECOND)) <= UNEVEN + 1 / rate_of(clip)
    return first if fits and _even(times) else None, steady


def _steady_times(clip: vs.VideoNode) -> Sequence[int]:
    """Return the times for `Opened` at the clip's nominal frame rate."""
    rate = rate_of(clip)
    return [n * SECOND * rate.denominator // rate.numerator for n in range(clip.num_frames)]


def _even(times: Sequence[Fraction]) -> bool:
    pace = (times[-1] - times[0]) / max(len(times) - 1, 1)
    return all(abs(time - times[0] - n * pace) <= UNEVEN for n, time in enumerate(times))


def _kept_times(clip: vs.VideoNode) -> list[Fraction]:
    """Return the times in the file that the first and the last frame have kept through a filter script.

    They are in seconds; none are returned if either frame has lost its time.
    """
    found = []
    for n in (0, clip.num_frames - 1):
        try:
            with clip.get_frame(n) as frame:
                found.append(Fraction(frame.props["_AbsoluteTime"]))
        except (KeyError, vs.Error):  # what is wrong with a frame is told when it is to be shown
            return []
    return found


def _index(job: Job) -> Path:
    """Return the path prefix of BestSource's index, which is kept because indexing a long video takes a while."""
    folder = usable_cache_folder(job.cache) / "sources"
    folder.mkdir(exist_ok=True)
    return folder / hashlib.sha256(str(job.input).encode()).hexdigest()[:16]
