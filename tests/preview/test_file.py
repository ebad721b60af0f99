"""The Matroska file that `vsparagon preview` serves, as ffmpeg's libraries read it."""

from __future__ import annotations

import io
from fractions import Fraction

import numpy as np
import pytest
import vapoursynth as vs

pytest.importorskip("av")

import av
from clips import counted

from vsparagon.preview.description import described, preview_format
from vsparagon.preview.player import INDEX_BYTES
from vsparagon.preview.virtual_file import VirtualFile

HDR = {
    "_Matrix": 9,
    "_Primaries": 9,
    "_Transfer": 16,
    "_Range": 0,
    "_ChromaLocation": 2,
    "MasteringDisplayPrimariesX": [0.68, 0.265, 0.15],
    "MasteringDisplayPrimariesY": [0.32, 0.69, 0.06],
    "MasteringDisplayWhitePointX": 0.3127,
    "MasteringDisplayWhitePointY": 0.329,
    "MasteringDisplayMaxLuminance": 1000.0,
    "MasteringDisplayMinLuminance": 0.005,
    "ContentLightLevelMax": 900,
    "ContentLightLevelAverage": 300,
}
FORMATS = {
    **{f"yuv{s}p": getattr(vs, f"YUV{s}P8") for s in (420, 422, 444)},
    **{f"yuv{s}p{d}le": getattr(vs, f"YUV{s}P{d}") for s in (420, 422, 444) for d in (10, 12, 16)},
    "gbrp": vs.RGB24,
    "gbrp10le": vs.RGB30,
    "gbrp12le": vs.RGB36,
    "gbrp16le": vs.RGB48,
}


def steady(clip):
    return [n * 1_000_000 * clip.fps.denominator // clip.fps.numerator for n in range(clip.num_frames)]


def file_of(clip, times=(), on_frame=lambda _seconds: None):
    with clip.get_frame(0) as frame:
        props = dict(frame.props)
    return VirtualFile(clip, described(clip, props, times or steady(clip), "a film"), on_frame)


def content(file):
    return b"".join(file.read(0))


def planes(frame):
    """Return the rows of each plane that PyAV has decoded, without padding."""
    found = []
    for plane in frame.planes:
        rows = np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)
        found.append(rows[:, : plane.width * (2 if frame.format.components[0].bits > 8 else 1)])
    return found


@pytest.mark.parametrize("name", FORMATS)
def test_file_is_read_by_ffmpeg_as_the_clip(name):
    clip = counted(FORMATS[name], width=62, length=3, _SARNum=4, _SARDen=3)
    taken = []
    file = file_of(clip, on_frame=taken.append)
    whole = content(file)
    assert len(whole) == file.size
    assert len(taken) == 3
    with av.open(io.BytesIO(whole)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.pix_fmt, stream.average_rate) == (name, 30)
        assert stream.sample_aspect_ratio == Fraction(4, 3)
        assert container.metadata["title"] == "a film"
        assert container.duration == pytest.approx(100_000, abs=1)
        decoded = list(container.decode(stream))
    assert len(decoded) == 3
    for shown, made in zip(decoded, clip.frames(), strict=True):
        order = (1, 2, 0) if name.startswith("g") else (0, 1, 2)
        for rows, plane in zip(planes(shown), order, strict=True):
            np.testing.assert_array_equal(rows, np.ascontiguousarray(made[plane]).view(np.uint8))


def test_file_tells_colours_and_hdr_metadata(tmp_path):
    (tmp_path / "film.mkv").write_bytes(content(file_of(counted(vs.YUV420P10, length=2).std.SetFrameProps(**HDR))))
    found = vs.core.bs.VideoSource(str(tmp_path / "film.mkv"), cachemode=0, showprogress=False)
    with found.get_frame(0) as frame:
        for name, value in HDR.items():
            assert frame.props[name] == pytest.approx(value, abs=2e-5), name


@pytest.mark.parametrize("location", range(4))
@pytest.mark.parametrize("full", [0, 1])
def test_file_tells_range_and_chroma_location(full, location, tmp_path):
    clip = counted(length=2).std.SetFrameProps(_Range=full, _ChromaLocation=location)
    (tmp_path / "film.mkv").write_bytes(content(file_of(clip)))
    found = vs.core.bs.VideoSource(str(tmp_path / "film.mkv"), cachemode=0, showprogress=False)
    with found.get_frame(0) as frame:
        assert (frame.props["_Range"], frame.props["_ChromaLocation"]) == (full, location)


def test_file_leaves_unknown_colours_to_the_player():
    clip = counted(length=1).std.SetFrameProps(_Matrix=2, _Transfer=2).std.RemoveFrameProps("_Primaries")
    with av.open(io.BytesIO(content(file_of(clip)))) as container:
        frame = next(container.decode(video=0))
    assert (frame.colorspace, frame.color_trc, frame.color_primaries) == (2, 2, 2)


def test_file_has_frame_times_of_any_kind():
    times = [0, 33_000, 67_000, 300_123, 300_124, 7_200_000_000]
    with av.open(io.BytesIO(content(file_of(counted(length=6), times)))) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    assert [packet.pts * packet.time_base * 1_000_000 for packet in packets] == times
    assert all(not packet.duration for packet in packets)  # which would be that of a constant rate
    assert all(packet.is_keyframe for packet in packets)


class Opened(io.RawIOBase):
    """A virtual file as PyAV reads it: each seek begins a new reading, as a player's does."""

    def __init__(self, file):
        self._file, self._place, self._pieces, self._left = file, 0, file.read(0), b""

    def seekable(self):
        return True

    def readable(self):
        return True

    def tell(self):
        return self._place

    def seek(self, offset, whence=io.SEEK_SET):
        place = offset + (0, self._place, self._file.size)[whence]
        if place != self._place:
            self._pieces.close()
            self._place, self._pieces, self._left = place, self._file.read(place), b""
        return place

    def readinto(self, buffer):
        if not self._left:
            self._left = next(self._pieces, b"")
        count = min(len(buffer), len(self._left))
        buffer[:count], self._left = self._left[:count], self._left[count:]
        self._place += count
        return count


@pytest.mark.parametrize("number", [0, 1, 99_999, 53_456])
def test_seeking_in_a_long_film_reads_only_the_frames_there(number):
    clip = vs.core.std.BlankClip(None, 1920, 1080, vs.YUV420P8, 100_000, 24000, 1001, keep=True)
    times = [time + n % 3 * 5000 for n, time in enumerate(steady(clip))]
    taken = []
    file = Opened(file_of(clip, times, taken.append))
    with av.open(file, options={"indexmem": str(INDEX_BYTES)}) as container:
        before = len(taken)
        container.seek(times[number], stream=container.streams.video[0])
        assert next(container.decode(video=0)).pts == times[number]
    assert before <= 8
    assert len(taken) - before <= 3


@pytest.mark.parametrize("first", [0, 1, 40, 300, 1000, 1036, 1040, 5700, 50_000, 98_000])
def test_file_can_be_read_from_any_byte(first):
    file = file_of(counted())
    assert b"".join(file.read(first)) == content(file)[first:]


def test_reading_from_the_middle_makes_no_frame_before_it():
    asked = []
    clip = counted()
    noted = clip.std.FrameEval(lambda n: asked.append(n) or clip)
    file = file_of(noted)
    asked.clear()
    next(iter(file.read(file.size - 4 * 4608)))
    assert min(asked) == 16


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        (vs.YUV420P8, "YUV420P8"),
        (vs.YUV422P12, "YUV422P12"),
        (vs.YUV444P16, "YUV444P16"),
        (vs.YUV411P8, "YUV444P8"),
        (vs.YUV440P8, "YUV444P8"),
        (vs.YUV444PS, "YUV444P16"),
        (vs.RGB24, "RGB24"),
        (vs.RGBH, "RGB48"),
        (vs.GRAY8, "YUV444P8"),
        (vs.GRAYS, "YUV444P16"),
    ],
)
def test_clip_is_shown_in_its_own_format_or_the_closest_that_players_know(source, shown):
    core = vs.core.core
    assert core.get_video_format(preview_format(core.get_video_format(source))).name == shown
    eleven = core.query_video_format(vs.YUV, vs.INTEGER, 11, 1, 1)
    assert core.get_video_format(preview_format(eleven)).name == "YUV420P12"
