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
        note: why the file's audio and subtitles cannot be played, or "".
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
    if not beside:
        return Opened(source=source)
    stamps, rate = source.timestamps, Fraction(source.clip.fps)
    if len(stamps) != source.clip.num_frames or not rate or not _even(stamps, source.time_base, rate):
        note = "no audio or subtitles: the frame rate is variable or unknown, and the preview plays at a constant rate"
        return Opened(source=source, note=note)
    return Opened(source=source, beside=beside, ahead=float(stamps[0] * source.time_base - overview.start))


def _even(stamps: Sequence[int], time_base: Fraction, rate: Fraction) -> bool:
    return all(abs((stamp - stamps[0]) * time_base - n / rate) <= UNEVEN for n, stamp in enumerate(stamps))


def _index(job: Job) -> Path:
    """Return the path prefix of BestSource's index, which is kept because indexing a long video takes a while."""
    folder = usable_cache_folder(job.cache) / "sources"
    folder.mkdir(exist_ok=True)
    return folder / hashlib.sha256(str(job.input).encode()).hexdigest()[:16]


def seconds_of(clip: vs.VideoNode) -> float:
    """Return a clip's duration in seconds, at its nominal frame rate."""
    return float(clip.num_frames / rate_of(clip))
