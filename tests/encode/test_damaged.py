"""Films that are damaged: what can be read of them is kept."""

import io
import re

import pytest
import vapoursynth as vs

pytest.importorskip("ffmpeg", reason="command lines of ffmpeg are built with ffmpeg-python")

from films import encode, ffmpeg, make_film, stamps

from vsparagon.cli import main
from vsparagon.encode import run
from vsparagon.encode.progress import Lines
from vsparagon.encode.segment import render
from vsparagon.errors import DecodingFailure
from vsparagon.input.job import Job


@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
def test_sound_of_a_damaged_broadcast_is_kept(suffix, tmp_path):
    film, out = tmp_path / "film.ts", tmp_path / f"out{suffix}"
    sources = ("-f", "lavfi", "-i", "testsrc2=s=64x48:r=25:d=3", "-f", "lavfi", "-i", "sine=d=3")
    ffmpeg(*sources, "-c:v", "mpeg2video", "-c:a", "aac", film)
    data = bytearray(film.read_bytes())
    headers = [found.start() for found in re.finditer(rb"\xff\xf1[\x40-\x60]", data)]
    for place in headers[60::20]:
        data[place + 1] = 0
    film.write_bytes(data)
    done = encode(film, out)
    assert done.returncode == 0, done.stderr
    assert 60 < len(stamps(out, "audio")) < len(headers)
    assert stamps(out, "audio")[-1] == pytest.approx(stamps(film, "audio")[-1], abs=2e-3)


@pytest.mark.parametrize("command", ["encode", "compare"])
def test_video_of_an_unknown_codec_is_one_line(command, tmp_path, capsys):
    film, output = tmp_path / "film.mkv", [str(tmp_path / "out.mkv")]
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=64x48:r=10:d=0.2", "-c:v", "ffv1", film)
    film.write_bytes(film.read_bytes().replace(b"V_FFV1", b"V_ABCD"))
    assert main([command, str(film), *(output if command == "encode" else ())]) == 1
    assert capsys.readouterr().err == f"vsparagon: {film}: the codec of the video is unknown.\n"


def test_frame_that_cannot_be_decoded_is_told_apart_without_advice_that_cannot_be_followed(tmp_path):
    film = tmp_path / "film.avi"
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=320x240:r=10:d=1", "-c:v", "rawvideo", film)
    index = {"cachemode": 4, "cachepath": str(tmp_path / "index"), "showprogress": False}
    vs.core.bs.VideoSource(str(film), **index)
    size = film.stat().st_size
    with film.open("rb+") as file:  # BestSource uses the index, because the size is unchanged
        file.seek(size // 2)
        file.write(bytes(size - size // 2))
    frames = render(vs.core.bs.VideoSource(str(film), **index), 0, 10)
    message = r"^frame \d cannot be made: VideoSource: No frame returned for frame number \d\.$"
    with pytest.raises(DecodingFailure, match=message):
        list(frames)


def test_damaged_film_is_decoded_by_a_single_thread_in_the_second_attempt(monkeypatch, tmp_path):
    film, attempts = make_film(tmp_path / "film.mkv", seconds=0.5), []
    make, open_source = run._make, run.open_source

    def fail_at_first(*arguments):
        if attempts == [0]:
            raise DecodingFailure("frame 3 cannot be made: VideoSource: No frame.")
        make(*arguments)

    def note_threads(job, *arguments):
        attempts.append(job.decoder_threads)
        return open_source(job, *arguments)

    monkeypatch.setattr(run, "_make", fail_at_first)
    monkeypatch.setattr(run, "open_source", note_threads)
    said = io.StringIO()
    result = run.encode(Job(input=film), tmp_path / "out.mkv", overwrite=False, progress=Lines(said))
    assert (result.frames, attempts) == (15, [0, 1])
    assert "frame 3 cannot be made: VideoSource: No frame. Going on with a single thread" in said.getvalue()
    assert not list(tmp_path.glob("*.parts"))
