"""Repair the timestamps of a file's frames where they are missing or wrong."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from statistics import median_low
from typing import Final

NO_TIMESTAMP: Final = -(1 << 63)
SEVERAL: Final = 5  # frames that tell a new beginning from single wrong timestamps
LEAST_GOOD: Final = 0.5  # share of a file's timestamps that must be usable; with fewer, all are dropped


def mended(stamps: Sequence[int]) -> tuple[list[int], int]:
    """Return strictly rising timestamps, and how many of them are not the file's own.

    As many timestamps as possible are kept: the longest choice that rises by at least a tick per frame. The other
    frames are spread evenly between these; before the first and after the last, they follow at the median distance.
    If fewer than half of the file's timestamps can be kept, or only one although there are several frames, the list is
    empty and the number is that of all frames.

    Args:
        stamps: of all frames in display order, in ticks; `NO_TIMESTAMP` for a frame without one.
    """
    kept = _rising(stamps)
    told = sum(stamp != NO_TIMESTAMP for stamp in stamps)
    if not kept or len(kept) < max(min(2, len(stamps)), LEAST_GOOD * told):
        return [], len(stamps)
    times = list(stamps)
    for first, last in pairwise(kept):
        for place in range(first + 1, last):
            times[place] = stamps[first] + (stamps[last] - stamps[first]) * (place - first) // (last - first)
    usual = median_low(times[n + 1] - times[n] for n in range(kept[0], kept[-1])) if len(kept) > 1 else 1
    for place in reversed(range(kept[0])):
        times[place] = times[place + 1] - usual
    for place in range(kept[-1] + 1, len(times)):
        times[place] = times[place - 1] + usual
    return times, len(stamps) - len(kept)


def new_beginning(stamps: Sequence[int], second: Fraction) -> int:
    """Return the place of the first frame at which the timestamps begin anew, as in joined recordings; 0 if none do.

    That is where several timestamps are all a second or more below the several before them.

    Args:
        stamps: as for `mended`.
        second: in ticks.
    """
    known = [(place, stamp) for place, stamp in enumerate(stamps) if stamp != NO_TIMESTAMP]
    told = [stamp for _, stamp in known]
    for n in range(2, len(told) - 1):
        if told[n] < told[n - 1] and min(told[max(0, n - SEVERAL) : n]) - max(told[n : n + SEVERAL]) >= second:
            return known[n][0]
    return 0


def _rising(stamps: Sequence[int]) -> list[int]:
    """Return the places of the longest choice of timestamps that rises by at least a tick per frame.

    This is the longest subsequence in which timestamp - place does not fall, found by patience sorting.
    """
    ends: list[int] = []  # for each length, the last place of the best choice of that length
    heights: list[int] = []  # timestamp - place there
    before: dict[int, int] = {}  # place -> the one before it in the best choice that ends there
    for place, stamp in enumerate(stamps):
        if stamp == NO_TIMESTAMP:
            continue
        length = bisect_right(heights, stamp - place)
        if length:
            before[place] = ends[length - 1]
        ends[length : length + 1] = [place]
        heights[length : length + 1] = [stamp - place]
    chosen = ends[-1:]
    while chosen and chosen[-1] in before:
        chosen.append(before[chosen[-1]])
    return chosen[::-1]
