"""The frames' times in a file, mended where the file has them wrong."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise
from statistics import median_low
from typing import Final

NO_TIMESTAMP: Final = -(1 << 63)
LEAST_GOOD: Final = 0.5  # of the times that a file tells, or they say nothing


def mended(stamps: Sequence[int]) -> tuple[list[int], int]:
    """Return times that rise with every frame, and how many of them the file has not.

    Kept are as many as rise and leave a tick to each frame between them; the others are put evenly between these, or
    at the usual distance before the first and after the last. Where less than half of what the file tells can be kept,
    or but one of several, no times are returned.

    Args:
        stamps: of the frames in order of display; `NO_TIMESTAMP` where a frame has none.
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


def _rising(stamps: Sequence[int]) -> list[int]:
    """Return the places of the longest choice in which each time is later than all before it by a tick a frame."""
    ends: list[int] = []  # the last place of the best choice of each length
    heights: list[int] = []  # its time less its place: what must not fall
    before: dict[int, int] = {}
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
