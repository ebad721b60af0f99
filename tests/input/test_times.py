"""Repair of missing and wrong timestamps."""

from fractions import Fraction

import pytest

from vsparagon.input.times import NO_TIMESTAMP, mended, new_beginning


@pytest.mark.parametrize(
    ("stamps", "wanted", "strayed"),
    [
        ([-20, 0, 30], [-20, 0, 30], 0),
        ([5], [5], 0),
        ([0, 40, 40, 80, 120], [0, 20, 40, 80, 120], 1),
        ([0, 40, NO_TIMESTAMP, 120], [0, 40, 80, 120], 1),
        ([0, 40, 99999, 120, 160], [0, 40, 80, 120, 160], 1),
        ([0, 40, -99999, NO_TIMESTAMP, 160], [0, 40, 80, 120, 160], 2),
        ([NO_TIMESTAMP, 40, 80], [0, 40, 80], 1),
        ([0, 40, 80, 20], [0, 40, 80, 120], 1),
        ([0, 4, 14, 24, NO_TIMESTAMP], [0, 4, 14, 24, 34], 1),  # the median of all distances
        ([0, 40, 41, 41, 42, 80], [0, 13, 27, 41, 42, 80], 2),
        ([0, 1, 1, 2, 3, 4], [-1, 0, 1, 2, 3, 4], 2),  # no tick is free in between
        ([0, *[NO_TIMESTAMP] * 6, 28, NO_TIMESTAMP], [0, 4, 8, 12, 16, 20, 24, 28, 32], 7),  # as in MPEG-PS
        ([5, 4, 3, 2], [], 4),
        ([60, 50, 40, 30, 20, 25], [], 6),  # only two of the six rise
        ([], [], 0),
        ([NO_TIMESTAMP, NO_TIMESTAMP, 7], [], 3),
        ([NO_TIMESTAMP], [], 1),
    ],
)
def test_most_times_are_kept_and_the_others_put_between(stamps, wanted, strayed):
    assert mended(stamps) == (wanted, strayed)


@pytest.mark.parametrize(
    ("stamps", "place"),
    [
        ([*range(0, 200, 4), *range(0, 200, 4)], 50),
        ([*range(90, 290, 4), NO_TIMESTAMP, *range(80, 290, 4)], 51),
        ([*range(0, 400, 4), 0, 4], 100),
        ([400, 404, 0, 4, 8], 2),
        ([], 0),
        ([7], 0),
        ([*range(0, 400, 4)], 0),
        ([*range(0, 200, 4), 0, *range(204, 400, 4)], 0),  # a wrong one
        ([*range(0, 200, 4), 9999, 0, *range(208, 400, 4)], 0),
        ([*range(0, 200, 4), *range(104, 400, 4)], 0),  # less than a second back
        ([*range(0, 200, 4), *range(9000, 9400, 4)], 0),  # a jump forward
    ],
)
def test_times_that_begin_anew_are_told_from_wrong_ones(stamps, place):
    assert new_beginning(stamps, Fraction(100)) == place
