"""Clips as mpv's filter `vapoursynth` gives them to a script, in its variable `video_in`."""

from itertools import islice

import numpy as np
import pytest
import vapoursynth as vs
from clips import arrays, clip_in

import vsparagon

core = vs.core

CONCURRENT = 2  # mpv requests this many frames at once
BUFFERED = 4 * CONCURRENT  # and keeps this many for the script
PLACEHOLDER = 16  # luma of the frames that it returns while the script is evaluated


class Player:
    """An endless clip without a frame rate, whose frames pass by once.

    Attributes:
        video_in: the clip, BT.2020, with mpv's frame properties.
        evaluating: whether the script is still being evaluated; frames are then placeholders.
    """

    def __init__(self) -> None:
        self.evaluating, self._oldest = True, 0
        self._film = clip_in(vs.YUV420P8, matrix=9).get_frame(0)
        blank = core.std.BlankClip(
            None, 64, 48, vs.YUV420P8, (2**31 - 1) // 16, fpsnum=0, fpsden=1, color=[16, 128, 128]
        )
        self.video_in = blank.std.ModifyFrame(blank, self._frame)

    def _frame(self, n: int, f: vs.VideoFrame) -> vs.VideoFrame:
        frame = f.copy()
        if not self.evaluating:
            self._oldest = max(self._oldest, n - BUFFERED + 1)
            if n < self._oldest:
                raise vs.Error(f"Frame {n} requested, but only have frames starting from {self._oldest}.")
            for plane in range(3):
                np.asarray(frame[plane])[:] = np.roll(self._film[plane], n)
        frame.props.clear()
        frame.props.update(_ColorSpace=9, _Range=0, _ChromaLocation=0, _FieldBased=0, _SARNum=1, _SARDen=1)
        frame.props.update(_DurationNum=0 if self.evaluating else 42000, _DurationDen=1 if self.evaluating else 10**6)
        frame.props["_MP_IMAGE"] = str(n)
        return frame


@pytest.fixture
def player() -> Player:
    return Player()


def test_frames_are_requested_in_time_and_keep_their_properties(player):
    result = vsparagon.upscale(player.video_in, num_streams=3)
    player.evaluating = False
    for n, frame in enumerate(islice(result.frames(prefetch=CONCURRENT, close=True), 60)):
        assert frame.props["_MP_IMAGE"] == str(n)
        assert (frame.props["_DurationNum"], frame.props["_DurationDen"]) == (42000, 10**6)
        assert arrays(frame)[0].std() > 20
    with pytest.raises(vs.Error, match="Frame 0 requested, but only have frames starting from"):
        player.video_in.get_frame(0)  # so each was requested before it had passed


def test_placeholder_is_not_shown_when_the_script_uses_the_clip_several_times(player):
    others = [player.video_in.std.Invert() for _ in range(2)]  # VapourSynth caches what more than one node requests
    result = vsparagon.upscale(player.video_in)
    player.evaluating = False
    assert arrays(result.get_frame(0))[0].max() > PLACEHOLDER + 100
    assert others[0].get_frame(0).props["_DurationNum"] == 42000


@pytest.mark.parametrize("chroma", ["network", "resizer"])
def test_matrix_is_read_from_the_property_that_mpv_sets(player, chroma):
    player.evaluating = False
    tagged = player.video_in.std.SetFrameProps(_Matrix=9)
    ours, expected = (vsparagon.upscale(c, chroma=chroma).get_frame(0) for c in (player.video_in, tagged))
    assert ours.props["_Matrix"] == 9
    for one, other in zip(arrays(ours), arrays(expected), strict=True):
        assert (one == other).all()
