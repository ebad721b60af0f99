"""The timestamps of an encode's video and audio."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import vapoursynth as vs

pytest.importorskip("ffmpeg", reason="command lines of ffmpeg are built with ffmpeg-python")

from films import encode, ffmpeg, make_film, needs_svtav1, read, samples, stamps, times

import vsparagon
from vsparagon.encode.join import MICROSECOND, join, timing_of_durations, timing_of_file
from vsparagon.encode.parts import PartsFolder, Segment
from vsparagon.encode.run import _timing
from vsparagon.errors import EncodeFailure
from vsparagon.ffmpeg import find_ffmpegs
from vsparagon.input.job import Job
from vsparagon.input.source import Source, open_source


def found_first(program: str, folder: Path) -> dict[str, str]:
    """Return an environment in which this ffmpeg is found before any other."""
    folder.mkdir()
    if sys.platform == "win32":
        shutil.copy(program, folder / "ffmpeg.exe")
    else:
        (folder / "ffmpeg").symlink_to(program)
    return os.environ | {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}


@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
@pytest.mark.parametrize("codec", ["libx264", "libx265", pytest.param("libsvtav1", marks=needs_svtav1)])
def test_uneven_frame_times_and_sync_are_kept_to_the_millisecond(mkv, tmp_path, codec, suffix):
    """Encoders with and without reordered frames, containers with coarse and fine clocks."""
    out = tmp_path / f"out{suffix}"
    done = encode(mkv, out, "--segment-frames", 24, "--codec", codec)  # the last one has a single frame
    assert done.returncode == 0, done.stderr
    before, after = times(mkv), times(out)
    assert before["video"][0] == pytest.approx(0.3 + 0.023, abs=1e-3)  # AAC begins with 1024 samples of silence
    for kind in ("video", "audio"):
        assert after[kind] == pytest.approx(before[kind], abs=1e-3)
    if suffix == ".mp4":
        data = out.read_bytes()
        assert data.index(b"moov") < data.index(b"mdat"), "it must be playable while it is loading"
    with av.open(str(out)) as container:
        tag = container.streams.video[0].codec_context.codec_tag
        shown = [frame.pts for frame in container.decode(video=0)]
    assert shown == sorted(shown), "decoders return frames in the order in which they are shown"
    assert (tag == "hvc1") == (suffix == ".mp4" and codec == "libx265"), "Apple's players know no other tag"


def test_transport_stream_that_begins_late_keeps_its_sync(mkv, tmp_path):
    source = tmp_path / "in.ts"
    ffmpeg("-i", mkv, "-map", "0:v", "-map", "0:a", "-c:v", "mpeg2video", "-r", 25, "-c:a", "mp2", source)
    with av.open(str(source)) as container:
        assert container.start_time > 1_000_000
    done = encode(source, tmp_path / "out.mkv")
    assert done.returncode == 0, done.stderr
    before, after = times(source), times(tmp_path / "out.mkv")
    assert after["video"] == pytest.approx(before["video"], abs=1e-3)
    assert after["audio"] == pytest.approx(before["audio"], abs=1e-3)


@pytest.mark.parametrize("program", find_ffmpegs(), ids=["first", "second"][: len(find_ffmpegs())])
@pytest.mark.parametrize("suffix", [".ts", ".mpg"])
def test_broadcast_whose_sound_begins_late_keeps_its_sync(suffix, program, tmp_path):
    source, out = tmp_path / f"in{suffix}", tmp_path / "out.mkv"
    inputs = ("-f", "lavfi", "-i", "testsrc2=s=64x48:r=25:d=2", "-itsoffset", 0.7, "-f", "lavfi", "-i", "sine=d=2")
    ffmpeg(*inputs, "-c:v", "mpeg2video", "-c:a", "mp2", *(("-f", "vob") if suffix == ".mpg" else ()), source)
    environment = found_first(program, tmp_path / "bin")
    done = encode(source, out, env=environment)
    assert done.returncode == 0, done.stderr
    before, after = times(source)["video"], times(out)["video"]
    assert before[0] < -0.4
    assert after == pytest.approx([before[0] + 0.04 * n for n in range(50)], abs=1.5e-3)


@pytest.mark.parametrize("suffix", [".ts", ".vob"])
def test_joined_recordings_are_refused_until_they_are_written_anew_as_advised(suffix, tmp_path):
    pieces, film, out = [], tmp_path / f"the film{suffix}", tmp_path / "out.mkv"
    for seconds in (2, 4, 3):
        pieces.append(tmp_path / f"{seconds}{suffix}")
        drawn = (f"testsrc2=s=64x48:r=25:d={seconds}", f"sine=d={seconds}")
        inputs = [word for source in drawn for word in ("-f", "lavfi", "-i", source)]
        ffmpeg(*inputs, "-c:v", "mpeg2video", "-bf", 2, "-c:a", "mp2", pieces[-1])
    film.write_bytes(b"".join(piece.read_bytes() for piece in pieces))
    done = encode(film, out)
    assert done.returncode == 1
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("vsparagon: ")]
    assert re.match(r"vsparagon: the timestamps of .* begin anew at frame 5\d, ", line)
    *advice, new = shlex.split(line.partition("encode that: ")[2])
    assert advice[0] == "ffmpeg"
    ffmpeg(*advice[1:], tmp_path / new)

    done = encode(tmp_path / new, out)
    assert done.returncode == 0, done.stderr
    found = times(out)
    assert len(found["video"]) == 225
    assert found["video"][-1] == pytest.approx(9, abs=0.15)
    assert found["audio"][-1] == pytest.approx(9, abs=0.15)
    assert max(np.diff(found["audio"])) < 0.1


def test_sound_that_was_cut_off_an_mp4_stays_so(tmp_path):
    whole, film = tmp_path / "whole.mp4", tmp_path / "film.mp4"
    inputs = ("-f", "lavfi", "-i", "testsrc2=s=64x48:r=25:d=4", "-f", "lavfi", "-i", "sine=d=4")
    ffmpeg(*inputs, "-c:v", "libx264", "-pix_fmt", "yuv420p", "-g", 50, "-c:a", "aac", whole)
    ffmpeg("-ss", 1.3, "-i", whole, "-c", "copy", film)
    with av.open(str(film)) as container:
        assert next(container.demux(audio=0)).pts < 0, "it is stored from the key frame before on"
    for suffix in (".mkv", ".mp4"):
        done = encode(film, tmp_path / f"out{suffix}")
        assert done.returncode == 0, done.stderr
        shown = stamps(tmp_path / f"out{suffix}", "video")
        assert (shown[0], shown[-1]) == pytest.approx((0.02, 2.66), abs=0.03)
        heard = [time for time in stamps(tmp_path / f"out{suffix}", "audio") if time >= 0]
        assert (heard[0], heard[-1]) == pytest.approx((0, 2.69), abs=0.03)
    assert stamps(tmp_path / "out.mkv", "audio")[0] >= 0


def test_times_that_the_film_has_twice_move_nothing_else(mkv, tmp_path):
    film, out = tmp_path / "in.mkv", tmp_path / "out.mkv"
    twice = "setts=pts='if(eq(mod(N,10),5),PREV_OUTPTS,PTS)':dts='if(eq(mod(N,10),5),PREV_OUTPTS,PTS)'"
    plain = tmp_path / "plain.mkv"
    ffmpeg("-i", mkv, "-map", "0:v", "-map", "0:a", "-c:a", "copy", "-bf", 0, "-fps_mode", "passthrough", plain)
    ffmpeg("-i", plain, "-c", "copy", "-bsf:v", twice, film)
    done = encode(film, out)
    assert done.returncode == 0, done.stderr
    assert re.search(r"\ntimestamps missing or wrong in the file, interpolated: \d frames?\n", done.stderr)
    right, found = times(plain)["video"], times(out)["video"]
    assert len(found) == len(right)
    assert max(abs(a - b) for a, b in zip(found, right, strict=True)) < 0.2
    assert found[-1] == pytest.approx(right[-1], abs=2e-3)


def test_frames_whose_times_the_file_does_not_tell_follow_at_its_rate(tmp_path):
    film, out = tmp_path / "raw.h264", tmp_path / "out.mkv"
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=64x48:r=10:d=0.5", "-pix_fmt", "yuv420p", film)
    done = encode(film, out)
    assert done.returncode == 0, done.stderr
    assert times(out)["video"] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4], abs=1e-3)
    script = tmp_path / "flip.vpy"
    script.write_text("clip.std.FlipVertical().set_output()\n")
    job = Job(input=film, filter_script=script)
    assert open_source(job, tmp_path / "index").clip.num_frames == 5
    with pytest.raises(vsparagon.InvalidInput, match=r"raw\.h264 has no timestamps; trim it with"):
        open_source(replace(job, start=0.2), tmp_path / "index")


@pytest.mark.parametrize("program", find_ffmpegs(), ids=["first", "second"][: len(find_ffmpegs())])
@pytest.mark.parametrize("suffix", [".mkv", ".ts"])
def test_part_of_a_film_is_as_in_the_whole(suffix, program, mkv, tmp_path):
    film, out = mkv, tmp_path / "part.mkv"
    if suffix == ".ts":  # its timestamps begin at 1.4 s, where players begin
        film = tmp_path / "in.ts"
        ffmpeg("-i", mkv, "-map", "0:v", "-map", "0:a", "-c:v", "mpeg2video", "-r", 25, "-c:a", "mp2", film)
    environment = found_first(program, tmp_path / "bin")
    done = encode(film, out, "--start", "0.7", "--end", "0:01.6", "--crf", 0, env=environment)
    assert done.returncode == 0, done.stderr
    shown = {kind: stamps(film, kind) for kind in ("video", "audio")}
    wanted = {kind: [time - 0.7 for time in every if 0.7 <= time < 1.6] for kind, every in shown.items()}
    found = {kind: stamps(out, kind) for kind in shown}
    late = found["video"][0] - wanted["video"][0]  # muxers shift all streams together
    assert abs(late) < 0.05
    assert [time - late for time in found["video"]] == pytest.approx(wanted["video"], abs=1.5e-3)
    assert len(wanted["audio"]) - 1 <= len(found["audio"]) <= len(wanted["audio"])
    assert all(min(abs(time - late - one) for one in wanted["audio"]) < 1.5e-3 for time in found["audio"])
    first = next(n for n, time in enumerate(shown["video"]) if time >= 0.7)
    with vsparagon.upscale(read(film)).get_frame(first) as expected, read(out).get_frame(0) as got:
        assert np.abs(np.asarray(expected[0]).astype(int) - np.asarray(got[0])).max() <= 1
    with av.open(str(out)) as container:
        titles = {c["metadata"]["title"]: round(c["start"] * float(c["time_base"]), 2) for c in container.chapters()}
    assert titles == ({"One": 0, "Two": 0.3} if suffix == ".mkv" else {})


@pytest.mark.parametrize("program", find_ffmpegs(), ids=["first", "second"][: len(find_ffmpegs())])
@pytest.mark.parametrize(("before", "after"), [(".mkv", ".mkv"), (".mkv", ".mp4"), (".mp4", ".mkv")])
def test_part_of_a_film_has_its_subtitles_where_they_become_another_kind(before, after, program, tmp_path):
    film, out, texts = tmp_path / f"in{before}", tmp_path / f"out{after}", tmp_path / "texts.srt"
    spans = {"first": (0.1, 0.3), "second": (0.4, 1.2), "third": (1.1, 1.3), "fourth": (1.6, 1.8)}
    texts.write_text(
        "".join(
            f"{number}\n00:00:0{begin:.3f} --> 00:00:0{end:.3f}\n{text}\n\n".replace(".", ",")
            for number, (text, (begin, end)) in enumerate(spans.items(), start=1)
        )
    )
    kind = "mov_text" if before == ".mp4" else "srt"
    sources = ("-f", "lavfi", "-i", "testsrc2=s=64x48:r=25:d=2", "-f", "lavfi", "-i", "sine=d=2", "-i", texts)
    ffmpeg(*sources, "-map", 2, "-map", 0, "-map", 1, "-c:s", kind, "-pix_fmt", "yuv420p", "-g", 10, film)
    done = encode(film, out, "--start", 0.6, "--end", 1.5, env=found_first(program, tmp_path / "bin"))
    assert done.returncode == 0, done.stderr
    late = stamps(out, "video")[0]
    with av.open(str(out)) as container:
        packets = [packet for packet in container.demux(subtitles=0) if packet.size > 2]  # mov_text has empty ones
        begin = container.start_time / av.time_base
        shown = [(bytes(packet).split()[-1], float(packet.pts * packet.time_base) - begin) for packet in packets]
    assert [text.strip(b"\0\x05") for text, _ in shown] == [b"third"]
    assert shown[0][1] - late == pytest.approx(1.1 - 0.6, abs=0.05)


@pytest.mark.parametrize("program", find_ffmpegs(), ids=["first", "second"][: len(find_ffmpegs())])
def test_part_of_a_film_has_its_sound_where_that_becomes_flac(program, tmp_path):
    film, out = tmp_path / "disc.m2ts", tmp_path / "part.mkv"
    sound, view = "anoisesrc=d=2:r=48000:seed=1", "testsrc2=s=64x48:r=30:d=2"
    ffmpeg("-f", "lavfi", "-i", view, "-f", "lavfi", "-i", sound, "-c:a", "pcm_bluray", "-c:v", "libx264", film)
    environment = found_first(program, tmp_path / "bin")
    done = encode(film, out, "--start", "0.5", "--end", "1.5", env=environment)
    assert done.returncode == 0, done.stderr
    whole, part = samples(film)[0], samples(out)[0]
    assert part.size == pytest.approx(48000, abs=500)
    late = stamps(film, "audio")[0], stamps(out, "audio")[0] - stamps(out, "video")[0]
    first = next(time for time in stamps(film, "video") if time >= 0.5)
    expected = round((first + late[1] - late[0]) * 48000)
    near = [
        place for place in range(expected - 100, expected + 100) if (whole[place : place + 999] == part[:999]).all()
    ]
    assert len(near) == 1


def test_filter_script_that_drops_frames_keeps_the_sync(mkv, tmp_path):
    script = tmp_path / "half.vpy"
    script.write_text("clip.std.SelectEvery(2, [0]).set_output()\n")
    done = encode(mkv, tmp_path / "out.mkv", "--filter-script", script, "--segment-frames", 10)
    assert done.returncode == 0, done.stderr
    before, after = times(mkv), times(tmp_path / "out.mkv")
    assert len(after["video"]) == 25
    assert after["video"] == pytest.approx(before["video"][::2], abs=1e-3)
    assert after["audio"] == pytest.approx(before["audio"], abs=1e-3)


def test_frame_rate_that_a_script_sets_is_not_used_and_this_is_told(mkv, tmp_path):
    script = tmp_path / "slow.vpy"
    script.write_text("clip.std.AssumeFPS(fpsnum=20).set_output()")
    done = encode(mkv, tmp_path / "out.mkv", "--filter-script", script)
    assert done.returncode == 0, done.stderr
    assert "\nthe script's frame rate, 20, is not used: frames keep their times in the file\n" in done.stderr
    assert times(tmp_path / "out.mkv")["video"] == pytest.approx(times(mkv)["video"], abs=1e-3)


def test_filter_script_that_doubles_frames_keeps_the_sync(tmp_path):
    source = make_film(tmp_path / "in.mkv", video="setpts=PTS+0.3/TB")
    script = tmp_path / "double.vpy"
    script.write_text("import vapoursynth as vs\nvs.core.std.Interleave([clip, clip]).set_output()\n")
    done = encode(source, tmp_path / "out.mkv", "--filter-script", script)
    assert done.returncode == 0, done.stderr
    after = times(tmp_path / "out.mkv")
    begin = times(source)["video"][0]
    assert begin > 0.3
    assert after["video"] == pytest.approx([begin + n / 60 for n in range(120)], abs=2e-3)  # the input counts in ms
    assert after["audio"] == pytest.approx(times(source)["audio"], abs=1e-3)


@pytest.mark.parametrize("rate", [700, 1000, 5000])
def test_high_speed_video_keeps_order_and_times(rate, tmp_path):
    """Segments have timestamps in milliseconds, which 5,000 frames per second do not leave time for."""
    script = tmp_path / "fast.vpy"
    script.write_text(
        "import vapoursynth as vs\n"
        f"blank = vs.core.std.BlankClip(width=64, height=48, format=vs.GRAY8, length=12, fpsnum={rate}, fpsden=1)\n"
        "blank.std.FrameEval(lambda n: blank.std.BlankClip(color=18 * n + 16, length=12)).set_output()\n"
    )
    out = tmp_path / "out.mp4"
    done = encode(script, out, "--codec", "libx264", "--segment-frames", 8)
    assert done.returncode == 0, done.stderr
    with av.open(str(out)) as container:
        shown = [(float(f.pts * f.time_base), np.asarray(f.planes[0]).mean()) for f in container.decode(video=0)]
    assert [time for time, _ in shown] == pytest.approx([n / rate for n in range(12)], abs=2e-5)
    assert [level for _, level in shown] == pytest.approx([18 * n + 16 for n in range(12)], abs=6)


def test_frames_of_one_time_are_not_put_into_any_order(tmp_path):
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=64x48:r=5000:d=0.002", "-c:v", "libx264", tmp_path / "segment.mkv")
    timing = timing_of_file(range(10), Fraction(1, 5000))
    with pytest.raises(EncodeFailure, match=r"segment.mkv has several frames at one time; remove it"):
        join([find_ffmpegs()[0], "-i", "-", "-f", "null", "-"], [tmp_path / "segment.mkv"], timing, {})


def test_times_before_zero_are_moved():
    timing = timing_of_file([-20, 0, 30], Fraction(1, 1000))
    assert (timing.ticks, timing.shift) == ([0, 20, 50], Fraction(1, 50))
    late = timing_of_file([7, 9], Fraction(1, 1000))
    assert (late.ticks, late.shift) == ([7, 9], 0)


@pytest.mark.parametrize(
    ("durations", "start", "expected", "time_base"),
    [
        ([(1001, 30000, 2), (1, 25, 2)], Fraction(1, 10), [3000, 4001, 5002, 6202], Fraction(1, 30000)),
        ([(0, 1, 3)], Fraction(0), [0, 1, 2], Fraction(1, 24)),  # unknown: the clip's rate
        ([(1, 24, 3)], Fraction(-1, 2), [0, 1, 2], Fraction(1, 24)),
        ([(1, 40009, 1), (1, 30013, 3)], Fraction(0), [0, 25, 58, 92], MICROSECOND),  # no time base fits both
    ],
)
def test_durations_become_times(durations, start, expected, time_base):
    segments = [Segment(frames=run[2], bytes=1, durations=(run,), times=()) for run in durations]
    timing = timing_of_durations(segments, Fraction(24), start)
    assert (timing.ticks, timing.time_base) == (expected, time_base)
    assert timing.shift == max(0, -start)


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ((), [0, 0.04, 0.08, 0.12, 0.14, 0.16]),
        ((5.0, 5.1, 5.3), [2, 2.1, 2.3, 5, 5.1, 5.3]),
        ((5.3, 5.1, 5.0), [0, 0.04, 0.08, 0.12, 0.14, 0.16]),  # played backwards
    ],
    ids=["durations", "times", "falling times"],
)
def test_segments_that_were_made_in_another_order_are_shown_in_theirs(times, expected, tmp_path):
    clip, parts = vs.core.core.std.BlankClip(length=6), PartsFolder(tmp_path / "out.mkv")
    earlier = tuple(time - 3 for time in times)
    parts.segments[1] = Segment(frames=3, bytes=1, durations=((1, 50, 3),), times=times)
    parts.segments[0] = Segment(frames=3, bytes=1, durations=((1, 25, 3),), times=earlier)
    timing = _timing(Source(clip=clip, upscaled=True), clip, parts, Fraction(0))
    assert [float(tick * timing.time_base) for tick in timing.ticks] == pytest.approx(expected)
