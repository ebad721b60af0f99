"""How a clip is cut into segments, and what is read from its frames."""

import pytest
import vapoursynth as vs

pytest.importorskip("ffmpeg", reason="command lines of ffmpeg are built with ffmpeg-python")

from clips import numbered

from vsparagon.encode.segment import _duration, all_spans, render, stretches


def test_last_span_ends_with_the_clip():
    assert [(span.number, span.first, span.last) for span in all_spans(7, 3)] == [(0, 0, 3), (1, 3, 6), (2, 6, 7)]


def test_spans_in_sequence_are_rendered_in_one_go():
    spans = all_spans(80, 10)
    missing = [spans[number] for number in (0, 1, 3, 4, 5, 7)]
    assert [[span.number for span in stretch] for stretch in stretches(missing)] == [[0, 1], [3, 4, 5], [7]]


def test_no_frame_is_rendered_but_those_of_the_span():
    asked = []
    clip = numbered(40)
    watched = clip.std.ModifyFrame(clip, lambda n, f: asked.append(n) or f)
    assert [frame.props["number"] for frame in render(watched, 3, 9)] == [*range(3, 9)]
    assert sorted(asked) == [*range(3, 9)]


@pytest.mark.parametrize(
    ("numerator", "denominator", "expected"),
    [
        (1001, 30000, (1001, 30000)),
        (0, 25, (0, 1)),
        (1, 0, (0, 1)),
        (-1, 25, (0, 1)),
        (1, -25, (0, 1)),
        ([1, 2], 25, (0, 1)),
        (1, [25, 30], (0, 1)),
    ],
)
def test_duration_that_makes_no_sense_is_none(numerator, denominator, expected):
    clip = vs.core.std.BlankClip(None, 16, 16, vs.GRAY8, 1)
    with clip.std.SetFrameProps(_DurationNum=numerator, _DurationDen=denominator).get_frame(0) as frame:
        assert _duration(frame) == expected
    with clip.std.RemoveFrameProps(["_DurationNum", "_DurationDen"]).get_frame(0) as frame:
        assert _duration(frame) == (0, 1)
