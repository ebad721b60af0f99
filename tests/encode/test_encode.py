"""Successful runs of `vsparagon encode`, and what their outputs contain."""

from __future__ import annotations

import json
import os
import re
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest
import vapoursynth as vs
from av.stream import Disposition

pytest.importorskip("ffmpeg", reason="command lines of ffmpeg are built with ffmpeg-python")

from films import STREAMS, encode, ffmpeg, make_film, needs_svtav1, read, samples, streams

import vsparagon
from vsparagon.cli.encode import _text
from vsparagon.encode.contents import _codecs_of, _fate, _seconds, read_contents
from vsparagon.encode.run import Result
from vsparagon.input.job import Encoding, Job
from vsparagon.input.source import open_source
from vsparagon.input.streams import Stream, first_video, read_overview

needs_dask = pytest.mark.skipif(find_spec("distributed") is None, reason="workers need Dask")
COLOURS = ("_Matrix", "_Primaries", "_Transfer", "_Range", "_ChromaLocation")
MASTERING = "G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,1)"
HDR = ("libx265", "-pix_fmt:v:0", "yuv420p10le", "-x265-params:v:0",
       f"log-level=error:master-display={MASTERING}:max-cll=1000,400")  # fmt: skip


@pytest.fixture(scope="module")
def mp4(tmp_path_factory):
    upright = make_film(tmp_path_factory.mktemp("film") / "upright.mp4", video="setsar=4/3")
    path = upright.with_name("turned.mp4")
    ffmpeg("-display_rotation:v:0", 90, "-i", upright, "-map", "0:v", "-map", "0:a", "-map", "0:s", "-c", "copy", path)
    return path


@pytest.fixture(scope="module")
def mkv_result(mkv, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "out.mkv"
    return encode(mkv, out, "--segment-frames", 20, "--crf", 0), out


def test_result_is_one_line_on_standard_output(mkv_result):
    done, out = mkv_result
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{out}: 49 frames of 128x96, libx264 yuv420p, ")
    assert done.stdout.count("\n") == 1
    assert "nano x2 clean on " in done.stderr
    assert "49/49 frames, " in done.stderr


@pytest.mark.parametrize(("count", "said"), [(0, "0 frames"), (1, "1 frame"), (2, "2 frames")])
def test_frames_are_counted_in_words_that_fit(count, said):
    facts = {"resumed": 0, "width": 8, "height": 6, "encoding": Encoding(), "bytes": 0, "seconds": 1, "left_out": ()}
    assert _text(Result(output=Path("out.mkv"), frames=count, **facts)).startswith(f"out.mkv: {said} of 8x6, ")


def test_nothing_but_the_output_is_left(mkv_result, mkv):
    assert [path.name for path in mkv_result[1].parent.iterdir()] == ["out.mkv"]
    assert not list(mkv.parent.glob("*index*"))


def test_pictures_are_those_of_the_filter(mkv_result, mkv):
    wanted, found = vsparagon.upscale(read(mkv)), read(mkv_result[1])
    assert found.format.id == wanted.format.id
    assert found.num_frames == wanted.num_frames == 49
    for a, b in zip(wanted.frames(), found.frames(), strict=True):  # x264 is lossless at CRF 0
        for plane in range(3):
            np.testing.assert_array_equal(a[plane], b[plane])


def test_colours_are_labelled_as_the_input(mkv_result, mkv):
    before, after = read(mkv).get_frame(0).props, read(mkv_result[1]).get_frame(0).props
    assert {name: after[name] for name in COLOURS} == {name: before[name] for name in COLOURS}
    assert [after[name] for name in COLOURS[:3]] == [1, 5, 13]


def test_everything_else_comes_along(mkv_result, mkv):
    out = mkv_result[1]
    assert streams(mkv) == streams(out) == STREAMS
    with av.open(str(mkv)) as a, av.open(str(out)) as b:
        assert [(c["start"], c["end"], c["metadata"]) for c in b.chapters()] == [
            (c["start"], c["end"], c["metadata"]) for c in a.chapters()
        ]
        assert (b.metadata["title"], b.metadata["ARTIST"]) == ("A Film", "Somebody")
        assert b.streams.video[0].metadata["title"] == "A View"
        assert b.streams.audio[0].metadata["language"] == "ger"
        assert b.streams[3].metadata["filename"] == "font.ttf"
        assert [stream.disposition for stream in b.streams] == [stream.disposition for stream in a.streams]
        assert "libx264" not in b.streams.video[0].metadata.get("ENCODER", "")  # the input's tag
    for index in (0, 1):
        with av.open(str(mkv)) as a, av.open(str(out)) as b:
            assert [bytes(p) for p in b.demux(b.streams[index])] == [bytes(p) for p in a.demux(a.streams[index])]


def test_film_that_begins_with_its_video_keeps_title_chapters_font_and_cover(mkv, tmp_path):
    film, out, cover = tmp_path / "in.mkv", tmp_path / "out.mkv", tmp_path / "cover.png"
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=32x32:d=0.04", "-frames:v", 1, cover)
    order = [part for kind in "vast" for part in ("-map", f"0:{kind}")]
    ffmpeg("-i", mkv, *order, "-c", "copy", "-attach", cover, "-metadata:s:t:1", "mimetype=image/png", film)
    done = encode(film, out)
    assert done.returncode == 0, done.stderr
    assert [kind for kind, _ in streams(out)] == ["video", "audio", "subtitle", "attachment", "video"]
    assert streams(out) == streams(film)
    with av.open(str(film)) as a, av.open(str(out)) as b:
        assert b.metadata["title"] == a.metadata["title"] == "A Film"
        assert [c["metadata"]["title"] for c in b.chapters()] == ["One", "Two"]
        for index in (3, 4):
            names = ("filename", "mimetype")
            said = [[c.streams[index].metadata[name] for name in names] for c in (a, b)]
            assert said[0] == said[1]
        covers = [next(bytes(p) for p in c.demux(c.streams.video[1])) for c in (a, b)]
        assert covers[0] == covers[1]


def test_every_cover_is_kept_under_its_name(mp4, tmp_path):
    film, out = tmp_path / "in.mkv", tmp_path / "out.mkv"
    attached = []
    for number, (name, kind) in enumerate([("small_cover.jpg", "jpeg"), ("cover.png", "png")]):
        ffmpeg("-f", "lavfi", "-i", "testsrc2=s=32x32:d=0.04", "-frames:v", 1, tmp_path / name)
        attached += ["-attach", (tmp_path / name).as_posix(), f"-metadata:s:t:{number}", f"mimetype=image/{kind}"]
    ffmpeg("-i", mp4, "-map", "0:v:0", "-map", "0:a", "-c", "copy", *attached, film)
    done = encode(film, out)
    assert done.returncode == 0, done.stderr
    assert "left out" not in done.stderr
    with av.open(str(film)) as a, av.open(str(out)) as b:
        names = [[stream.metadata["filename"] for stream in c.streams.video[1:]] for c in (a, b)]
    assert names == [["small_cover.jpg", "cover.png"]] * 2


@pytest.mark.parametrize("name", ["x" * 300 + ".png", 'Who? "You*": <AC/DC> | cover.png', "cover.jpeg", "=.png"])
def test_cover_keeps_a_name_that_no_file_can_have(name, mp4, tmp_path):
    film, out, cover = tmp_path / "in.mkv", tmp_path / "out.mkv", tmp_path / "c.png"
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=32x32:d=0.04", "-frames:v", 1, cover)
    tags = ("mimetype=image/png", f"filename={name}")
    attached = [part for tag in tags for number in (0, 1) for part in (f"-metadata:s:t:{number}", tag)]
    ffmpeg("-i", mp4, "-map", "0:v:0", "-c", "copy", "-attach", cover, "-attach", cover, *attached, film)
    done = encode(film, out)
    assert done.returncode == 0, done.stderr
    with av.open(str(film)) as a, av.open(str(out)) as b:
        for covers in zip(a.streams.video[1:], b.streams.video[1:], strict=True):
            assert [cover.metadata["filename"] for cover in covers] == [name] * 2
            assert [cover.metadata["mimetype"] for cover in covers] == ["image/png"] * 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c.png", "in.mkv", "out.mkv"]


def test_transparency_that_is_lost_is_told_of(tmp_path):
    film, vp9 = tmp_path / "in.mkv", tmp_path / "in.webm"
    drawn = ("-f", "lavfi", "-i", "testsrc2=s=64x48:r=10:d=0.3,format=yuva420p")
    ffmpeg(*drawn, "-c:v", "ffv1", "-pix_fmt", "bgra", film)
    ffmpeg(*drawn, "-c:v", "libvpx-vp9", "-metadata:s:v", "alpha_mode=1", vp9)
    for source in (film, vp9):
        done = encode(source, tmp_path / f"{source.suffix[1:]}.mkv", "--json")
        assert done.returncode == 0, done.stderr
        events = [json.loads(line) for line in done.stdout.splitlines()]
        assert {"event": "note", "text": "left out: transparency"} in events
        assert events[-1]["left_out"] == ["transparency"]


def test_closed_captions_that_are_lost_are_told_of(tmp_path):
    film, captioned = tmp_path / "film.m2v", tmp_path / "captioned.m2v"
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=64x48:r=30:d=0.2", "-c:v", "mpeg2video", film)
    captions, first_slice = b"\0\0\1\xb2GA94\3\x41\xff\xfc\x94\x20\xff", b"\0\0\1\1"
    captioned.write_bytes(film.read_bytes().replace(first_slice, captions + first_slice))
    told = [read_contents(path, "matroska").left_out for path in (film, captioned)]
    assert told == [(), ("the closed captions inside the video stream",)]


def test_turned_picture_is_shown_upright_with_its_shape(mp4, tmp_path):
    done = encode(mp4, tmp_path / "out.mp4")
    assert done.returncode == 0, done.stderr
    result = read(tmp_path / "out.mp4")
    props = result.get_frame(0).props
    assert (result.width, result.height, props["Rotation"]) == (2 * 48, 2 * 64, 0)
    assert (props["_SARNum"], props["_SARDen"]) == (3, 4)


@pytest.mark.parametrize(("degrees", "shape"), [(0, (4, 3)), (90, (3, 4)), (180, (4, 3)), (270, (3, 4))])
def test_pixels_are_turned_with_the_picture(degrees, shape, tmp_path):
    stored, film = tmp_path / "stored.mp4", tmp_path / "turned.mp4"
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=64x48:r=10:d=0.2,setsar=4/3", "-pix_fmt", "yuv420p", stored)
    ffmpeg("-display_rotation:v:0", degrees, "-i", stored, "-c", "copy", film)
    with open_source(Job(input=film), tmp_path / "index", read_overview(film).track).clip.get_frame(0) as frame:
        assert (frame.props["_SARNum"], frame.props["_SARDen"]) == shape
        assert frame.width == (64 if degrees % 180 == 0 else 48)


@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
def test_shape_of_the_container_overrides_that_of_the_codec(suffix, tmp_path):
    stored, film, out = tmp_path / "stored.mkv", tmp_path / f"film{suffix}", tmp_path / "out.mkv"
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=72x56:r=25:d=0.2,setsar=64/45", "-c:v", "mpeg2video", stored)
    ffmpeg("-i", stored, "-c", "copy", "-aspect", "4:3", film)
    assert read(film).get_frame(0).props["_SARNum"] > 60, "BestSource gives the codec's, near 64:45"
    done = encode(film, out)
    assert done.returncode == 0, done.stderr
    with av.open(str(out)) as container:
        assert container.streams.video[0].display_aspect_ratio == Fraction(4, 3)


def test_labels_that_change_in_the_middle_are_told_of(tmp_path):
    parts, film, out = [], tmp_path / "film.mkv", tmp_path / "out.mkv"
    for name in ("bt709", "smpte170m", "bt709"):
        parts.append(tmp_path / f"{len(parts)}.ts")
        drawn = f"testsrc2=s=64x48:r=10:d=0.5,setparams=colorspace={name}"
        ffmpeg("-f", "lavfi", "-i", drawn, "-pix_fmt", "yuv420p", parts[-1])
    (tmp_path / "parts.txt").write_text("".join(f"file '{part.name}'\n" for part in parts))
    ffmpeg("-f", "concat", "-i", tmp_path / "parts.txt", "-c", "copy", film)
    done = encode(film, out, "--json", "--segment-frames", 7)
    assert done.returncode == 0, done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()]
    lost = "the labels of 5 frames with other colours or pixels than the first"
    assert events[-1]["left_out"] == [lost]
    assert {"event": "note", "text": f"left out: {lost}"} in events


@pytest.mark.parametrize("more", [(), pytest.param(("--workers", 1), marks=needs_dask)], ids=["here", "in a worker"])
def test_what_a_script_prints_does_not_come_between_the_json(more, mkv, tmp_path):
    script = tmp_path / "talk.vpy"
    script.write_text("clip.std.FrameEval(lambda n: print('frame', n) or clip).set_output()")
    done = encode(mkv, tmp_path / "out.mkv", "--filter-script", script, "--json", *more, env=dict(os.environ))
    assert done.returncode == 0, done.stderr
    assert [json.loads(line)["event"] for line in done.stdout.splitlines()][-1] == "done"
    assert "\nframe 48\n" in done.stderr


@pytest.mark.parametrize("shape", [(1, 1), (10, 11)], ids=str)
@pytest.mark.parametrize("name", ["out.mkv", "out.mp4"])
def test_shape_of_pixels_is_written_exactly_at_any_size(shape, name, tmp_path):
    film = tmp_path / "film.mkv"
    ffmpeg("-f", "lavfi", "-i", f"testsrc2=s=302x206:r=10:d=0.2,setsar={shape[0]}/{shape[1]}", film)
    done = encode(film, tmp_path / name)
    assert done.returncode == 0, done.stderr
    with av.open(str(tmp_path / name)) as result:
        assert result.streams.video[0].sample_aspect_ratio == Fraction(*shape)


def test_cover_before_the_video_is_not_taken_for_it(tmp_path):
    """As in WMV."""
    marks = (("video", Disposition.attached_pic), ("audio", Disposition(0)), ("video", Disposition.default))
    streams = [
        Stream(index=index, kind=kind, codec="h264", metadata={}, disposition=mark)
        for index, (kind, mark) in enumerate(marks)
    ]
    assert first_video(tmp_path, streams) is streams[2]


def test_second_view_is_left_out_and_the_first_keeps_its_mark(tmp_path):
    film = tmp_path / "views.mkv"
    views = [part for size in ("32x32", "64x48") for part in ("-f", "lavfi", "-i", f"testsrc2=s={size}:d=0.1")]
    ffmpeg(*views, "-map", 1, "-map", 0, "-pix_fmt", "yuv420p", "-disposition:v:0", "forced", film)
    contents = read_contents(film, "matroska")
    assert (contents.track.number, contents.width, contents.height, contents.disposition) == (0, 64, 48, "forced")
    assert (contents.carried, contents.left_out) == ((), ("stream 1 (video, h264)",))


@pytest.mark.parametrize(
    ("kind", "codec", "fates"),
    [
        ("audio", "aac", ["copy", "copy", ""]),
        ("audio", "pcm_bluray", ["flac", "", ""]),
        ("subtitle", "subrip", ["copy", "mov_text", "webvtt"]),
        ("subtitle", "mov_text", ["srt", "copy", "webvtt"]),
        ("subtitle", "webvtt", ["copy", "mov_text", "copy"]),
        ("subtitle", "pgssub", ["copy", "", ""]),
        ("subtitle", "dvdsub", ["copy", "copy", ""]),
        ("attachment", "", ["copy", "", ""]),
        ("attachment", "text", ["copy", "", ""]),
        ("video", "h264", ["", "", ""]),
        ("cover", "png", ["", "copy", ""]),  # Matroska attaches covers
        ("cover", "gif", ["", "", ""]),
        ("data", "aac", ["", "", ""]),
    ],
)
def test_what_becomes_of_a_stream_depends_on_what_the_container_holds(kind, codec, fates):
    mark = Disposition.attached_pic if kind == "cover" else Disposition(0)
    kind = kind.replace("cover", "video")
    stream = Stream(index=1, kind=kind, codec=codec, metadata={}, disposition=mark)
    assert [_fate(stream, muxer, _codecs_of(muxer)) for muxer in ("matroska", "mp4", "webm")] == fates


def test_no_cover_is_made_of_a_film_of_single_pictures_or_of_a_gif(tmp_path):
    film, gif, drawn = tmp_path / "in.mkv", tmp_path / "cover.gif", ("-f", "lavfi", "-i", "testsrc2=s=32x32:r=10:d=0.3")
    ffmpeg(*drawn, "-frames:v", 1, gif)
    ffmpeg(*drawn, "-c:v", "mjpeg", "-attach", gif, "-metadata:s:t", "mimetype=image/gif", film)
    contents = read_contents(film, "matroska")
    assert (contents.covers, contents.left_out) == ((), ("stream 1 (video, gif)",))


def test_titles_of_chapters_are_the_only_data_that_is_kept_and_the_encoder_is_no_more(tmp_path):
    plain, film = make_film(tmp_path / "in.mp4", seconds=0.2), tmp_path / "in.mov"
    ffmpeg("-i", plain, "-map", "0:v:0", "-c", "copy", "-timecode", "01:00:00:00", film)
    kinds = [kind for kind, _ in streams(film)]
    assert kinds == ["video", "data", "data"], "the chapters' and the time code"
    with av.open(str(film)) as container:
        assert "libx264" in container.streams.video[0].metadata["encoder"]
    contents = read_contents(film, "mov")
    assert contents.left_out == ("stream 2 (data)",)
    assert "encoder" not in contents.metadata


@pytest.mark.parametrize(
    ("suffix", "expected"),
    [
        (".mp4", [("audio", "aac"), ("subtitle", "mov_text"), ("video", "h264"), ("video", "png")]),
        (".mkv", [("audio", "aac"), ("subtitle", "subrip"), ("video", "h264"), ("video", "png")]),
    ],
)
def test_subtitles_and_cover_fit_the_container(suffix, expected, tmp_path):
    source = make_film(tmp_path / "in.mp4", seconds=0.5)
    out = tmp_path / f"out{suffix}"
    done = encode(source, out)
    assert done.returncode == 0, done.stderr
    assert "left out" not in done.stderr
    assert [stream for stream in streams(out) if stream[0] != "data"] == expected
    with av.open(str(source)) as a, av.open(str(out)) as b:
        covers = [next(bytes(p) for p in c.demux(c.streams.video[1])) for c in (a, b)]
        assert covers[0] == covers[1]
        assert b.streams.video[1].metadata.get("filename") == ("cover.png" if suffix == ".mkv" else None)


def test_sound_that_matroska_cannot_hold_becomes_flac(tmp_path):
    film = tmp_path / "disc.m2ts"
    sound, view = "sine=d=1:r=48000", "testsrc2=s=64x48:r=30:d=1"
    ffmpeg("-f", "lavfi", "-i", view, "-f", "lavfi", "-i", sound, "-c:a", "pcm_bluray", "-c:v", "libx264", film)
    out = tmp_path / "out.mkv"
    done = encode(film, out)
    assert "audio stream 1 becomes flac, because the container cannot hold pcm_bluray\n" in done.stderr
    assert [codec for kind, codec in streams(out) if kind == "audio"] == ["flac"]
    before, after = (samples(path) for path in (film, out))
    assert before.size > 40000
    assert np.array_equal(before, after)


def test_what_the_container_cannot_hold_is_named(mkv, tmp_path):
    done = encode(mkv, tmp_path / "out.mp4", "--json")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert {"event": "note", "text": "left out: stream 3 (attachment)"} in events
    assert events[-1]["left_out"] == ["stream 3 (attachment)"]


@pytest.mark.parametrize(
    ("ticks", "tag", "whole", "expected"),
    [
        (90, "00:00:09", 9_000_000, 3),
        (None, "01:02:03.500000000", 9_000_000, 3723.5),
        (None, "unknown", 9_000_000, 9),
        (None, "", None, 0),
    ],
)
def test_length_of_the_video_is_its_own_where_the_file_tells_it(ticks, tag, whole, expected):
    video = SimpleNamespace(duration=ticks, time_base=Fraction(1, 30), metadata={"DURATION": tag} if tag else {})
    assert _seconds(SimpleNamespace(duration=whole), video) == expected


@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
def test_film_that_ends_early_is_told_of(suffix, tmp_path):
    whole, cut, out = (tmp_path / f"{name}{suffix}" for name in ("whole", "cut", "out"))
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=64x48:r=10:d=8", "-pix_fmt", "yuv420p", "-movflags", "faststart", whole)
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size * 6 // 10])
    done = encode(cut, out, "--crf", 30)
    assert done.returncode == 0, done.stderr
    (note,) = [line for line in done.stderr.splitlines() if "complete" in line]
    said = re.fullmatch(
        r"the file's duration is 8\.0 s, but its last frame is at (.*) s: the file may be incomplete; if .*", note
    )
    assert float(said[1]) == pytest.approx((read(out).num_frames - 1) / 10, abs=0.06)
    assert "complete" not in encode(whole, tmp_path / f"all{suffix}", "--crf", 30).stderr


@needs_svtav1
def test_colour_that_the_encoder_cannot_take_is_told_of(tmp_path):
    script = tmp_path / "444.vpy"
    script.write_text(
        "import vapoursynth as vs\n"
        "vs.core.std.BlankClip(width=64, height=48, format=vs.YUV444P8, length=3).set_output()\n"
    )
    told = "the pixel format yuv444p, which libsvtav1 cannot encode; it becomes yuv420p"
    assert f"left out: {told}\n" in encode(script, tmp_path / "out.webm").stderr
    assert "left out" not in encode(script, tmp_path / "asked.webm", "--pix-fmt", "yuv420p").stderr
    assert "left out" not in encode(script, tmp_path / "out.mkv").stderr


def test_column_that_vapoursynth_cannot_hold_is_told_of(tmp_path):
    film = tmp_path / "odd.mkv"
    odd = "testsrc2=s=66x48:r=10:d=0.3,format=yuv444p,crop=65:48:0:0:exact=1,format=yuv420p"
    ffmpeg("-f", "lavfi", "-i", odd, "-c:v", "ffv1", film)
    done = encode(film, tmp_path / "out.mkv")
    assert "left out: the last column or row of 65x48, because VapourSynth has no YUV420P8 of odd size\n" in done.stderr
    assert read(tmp_path / "out.mkv").width == 128


@pytest.mark.parametrize("codec", ["", "libx264", pytest.param("libsvtav1", marks=needs_svtav1)])
def test_hdr10_stays_10_bit_with_its_mastering_data(tmp_path, codec):
    source = tmp_path / "hdr.mkv"
    labels = ["-colorspace", 9, "-color_primaries", 9, "-color_trc", 16, "-color_range", "tv"]
    params = "setparams=colorspace=bt2020nc:color_primaries=bt2020:color_trc=smpte2084:range=tv"
    ffmpeg(
        "-f", "lavfi", "-i", f"testsrc2=s=64x64:r=30:d=0.3,format=yuv420p10le,{params}", "-c:v", *HDR, *labels, source
    )
    out = tmp_path / "out.mkv"
    done = encode(source, out, *(["--codec", codec] if codec else []))
    assert done.returncode == 0, done.stderr
    assert streams(out) == [("video", {"": "hevc", "libx264": "h264", "libsvtav1": "av1"}[codec])]
    before, after = read(source).get_frame(0), read(out).get_frame(0)
    assert after.format.id == vs.YUV420P10
    assert [after.props[name] for name in COLOURS[:4]] == [9, 9, 16, 0]
    names = [name for name in before.props if name.startswith(("Mastering", "ContentLight"))]
    assert len(names) == 8
    for name in names:
        assert after.props[name] == pytest.approx(before.props[name], abs=3e-5), name


def test_transparency_of_a_script_is_told_of(tmp_path):
    (tmp_path / "own.vpy").write_text(
        "import vapoursynth as vs\n"
        "clip = vs.core.std.BlankClip(None, 32, 24, vs.YUV420P8, 2)\n"
        "clip.set_output(alpha=clip.std.ShufflePlanes(0, vs.GRAY))\n"
    )
    done = encode(tmp_path / "own.vpy", tmp_path / "out.mkv")
    assert done.returncode == 0, done.stderr
    assert "left out: transparency\n" in done.stderr


def test_part_has_the_mastering_data_that_only_key_frames_have(tmp_path):
    source, out = tmp_path / "hdr.mkv", tmp_path / "out.mkv"
    hdr = f"mastering-display={MASTERING}:cll=1000,400"
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=64x64:r=30:d=0.5,format=yuv420p10le", "-x264-params", hdr, source)
    assert "ContentLightLevelMax" not in read(source).get_frame(6).props
    done = encode(source, out, "--start", "0.2s", "--codec", "libx265")
    assert done.returncode == 0, done.stderr
    props = read(out).get_frame(0).props
    assert (props["ContentLightLevelMax"], props["ContentLightLevelAverage"]) == (1000, 400)
    assert props["MasteringDisplayMaxLuminance"] == pytest.approx(1000)
    assert props["MasteringDisplayPrimariesX"] == pytest.approx([0.68, 0.265, 0.15], abs=3e-5)
