"""The job of an encode: its codec, format and options, and by what it is recognised when it resumes."""

from __future__ import annotations

import os
import sys
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import vapoursynth as vs

pytest.importorskip("ffmpeg", reason="command lines of ffmpeg are built with ffmpeg-python")

from films import encode, needs_svtav1, streams

import vsparagon
from vsparagon.backends.options import RunOptions
from vsparagon.choice import Choice, noted_choices
from vsparagon.encode.codec import check_device, encoder_options, ffmpeg_with, loses_hdr
from vsparagon.encode.fingerprint import computed_by
from vsparagon.input.job import Encoding, Job, Network
from vsparagon.input.pixel_formats import pixel_format_candidates


def test_options_of_the_encoder_stand_behind_the_metadata():
    props = {"ContentLightLevelMax": 1000, "ContentLightLevelAverage": 400}
    given = (("x265-params", "a=1"), ("tune", "grain"))
    encoding = Encoding(codec="libx265", crf=20, preset="medium", pix_fmt="yuv420p10", options=given)
    options = encoder_options(encoding, props)
    assert (options["x265-params"], options["tune"]) == ("log-level=error:max-cll=1000,400:a=1", "grain")


@pytest.mark.parametrize(
    "props",
    [
        {"ContentLightLevelMax": 1000},
        {"ContentLightLevelAverage": 400},
        {"MasteringDisplayMaxLuminance": 1000.0, "MasteringDisplayMinLuminance": 0.01},
    ],
    ids=", ".join,
)
def test_metadata_that_is_not_all_there_is_left_out(props):
    encoding = Encoding(codec="libx265", crf=20, preset="medium", pix_fmt="yuv420p10")
    assert encoder_options(encoding, props)["x265-params"] == "log-level=error"


@pytest.mark.parametrize("there", [[], ["NVIDIA H200"]], ids=["none", "one"])
def test_encoders_of_nvidia_need_a_gpu_and_no_other_does(there, monkeypatch):
    monkeypatch.setattr("vsparagon.encode.codec.gpus", lambda: there)
    check_device("libx265")
    with nullcontext() if there else pytest.raises(vsparagon.InvalidInput, match="hevc_nvenc needs an NVIDIA GPU"):
        check_device("hevc_nvenc")


def test_encoders_of_nvidia_get_a_format_of_their_own_and_no_metadata():
    props = {"ContentLightLevelMax": 1000, "ContentLightLevelAverage": 400}
    encoding = Encoding(codec="hevc_nvenc", crf=21, preset="p6", pix_fmt="yuv420p10")
    expected = {"c:v": "hevc_nvenc", "cq": "21", "preset": "p6", "pix_fmt": "p010le", "rc": "vbr", "b:v": "0"}
    assert encoder_options(encoding, props) == expected
    assert loses_hdr(encoding, props)
    assert loses_hdr(encoding, {"MasteringDisplayPrimariesX": [0.68, 0.265, 0.15]})
    assert not loses_hdr(encoding, {})
    assert not loses_hdr(replace(encoding, codec="libx265"), props)


@pytest.mark.parametrize(
    ("family", "bits", "subsampling", "expected"),
    [
        (vs.YUV, 8, (1, 1), ["yuv420p"]),
        (vs.YUV, 8, (1, 0), ["yuv422p", "yuv420p"]),
        (vs.YUV, 8, (0, 1), ["yuv444p", "yuv420p"]),
        (vs.YUV, 8, (2, 0), ["yuv420p"]),
        (vs.YUV, 9, (1, 1), ["yuv420p10", "yuv420p"]),
        (vs.YUV, 16, (0, 0), ["yuv444p10", "yuv420p10", "yuv444p", "yuv420p"]),
        (vs.RGB, 8, (0, 0), ["yuv444p", "yuv420p"]),
        (vs.GRAY, 10, (0, 0), ["yuv420p10", "yuv420p"]),
    ],
)
def test_format_that_leaves_keeps_what_it_can_of_the_clips(family, bits, subsampling, expected):
    source = vs.core.core.query_video_format(family, vs.INTEGER, bits, *subsampling)
    assert pixel_format_candidates(source) == expected


@pytest.mark.parametrize(
    ("name", "options", "codec"),
    [
        pytest.param("out.WEBM", [], "av1", marks=needs_svtav1),
        ("out.mkv", ["--pix-fmt", "yuv420p12"], "hevc"),
    ],
)
def test_default_codec_fits_the_file_and_the_pixel_format(name, options, codec, tmp_path):
    script = tmp_path / "plain.vpy"
    script.write_text(
        "import vapoursynth as vs\n"
        "vs.core.std.BlankClip(width=64, height=48, format=vs.YUV420P8, length=3).set_output()\n"
    )
    done = encode(script, tmp_path / name, *options)
    assert done.returncode == 0, done.stderr
    assert streams(tmp_path / name) == [("video", codec)]


def test_encoder_that_no_ffmpeg_has_is_told_with_what_brings_it(monkeypatch):
    monkeypatch.setattr("vsparagon.encode.codec.find_ffmpegs", lambda: ["/no/ffmpeg"])
    brings = "winget install Gyan.FFmpeg" if sys.platform == "win32" else "pip install imageio-ffmpeg"
    with pytest.raises(vsparagon.InvalidInput) as raised:
        ffmpeg_with("libsvtav1")
    assert str(raised.value) == (
        "there is no encoder libsvtav1 in /no/ffmpeg; choose another --codec, or install an ffmpeg that has it "
        f"({brings} installs one with libx264, libx265 and libsvtav1)."
    )


def test_network_named_in_full_is_the_same_job(tmp_path):
    film = tmp_path / "film.mkv"
    film.touch()
    plain, named = (Job(input=film, network=network) for network in (None, Network(variant="nano", scale=2)))
    assert plain.identity() == named.identity()
    assert Job(input=film, network=Network(variant="micro")).identity() != plain.identity()


def test_whatever_decides_the_result_makes_another_job(tmp_path):
    film, script, model = (tmp_path / name for name in ("in.mkv", "filter.vpy", "net.pth"))
    for path in (film, script, model):
        path.write_bytes(b"one")
    job = Job(input=film, filter_script=script, network=Network(model=str(model)))
    own = Job(input=script)
    before = job.identity(), own.identity()
    for path in (script, model):
        path.write_bytes(b"two")
        assert job.identity() != before[0], path
        path.write_bytes(b"one")
    stamp = film.stat().st_mtime_ns
    os.utime(film, ns=(stamp + 1000, stamp + 1000))  # a multiple of the 100 ns that Windows counts in
    assert job.identity() != before[0]
    os.utime(film, ns=(stamp, stamp))
    script.write_bytes(b"2.0")
    os.utime(script, ns=(own.input.stat().st_atime_ns, before[1]["modification of the input"]))
    assert own.identity() != before[1]
    script.write_bytes(b"one")
    for change in ({"start": 1}, {"end": 2}, {"segment_frames": 7}, {"encoding": Encoding(crf=3)}):
        assert replace(job, **change).identity() != before[0], change
    assert replace(job, device_id=1, num_streams=2, cache="elsewhere").identity() == before[0]


def test_choices_for_clips_that_came_about_are_noted_by_all_who_note():
    clip = vs.core.std.BlankClip(None, 32, 32, vs.YUV420P8, 1)
    with noted_choices() as outer:
        with noted_choices() as inner:
            vsparagon.upscale(clip)
            with pytest.raises(vsparagon.InvalidInput):
                vsparagon.upscale(clip, tilesize=1000, overlap=1000)
        vsparagon.upscale(clip, variant="micro")
    assert computed_by(inner).startswith("nano x2 clean on ")
    assert outer[:-1] == inner
    assert outer[-1].model.name == "micro x2 clean"


def test_what_computes_is_told_and_not_where_or_how_many_frames_at_once():
    def chosen(place, streams):
        backend = SimpleNamespace(name="torch", place=place)
        options = RunOptions(streams=streams, threads=2, cache=Path())
        return Choice(model=SimpleNamespace(name="a, b.pth"), backend=backend, precision="fp16", options=options)

    assert computed_by([chosen("cuda:0 (H200)", 2)]) == computed_by([chosen("CPU", 3)]) == "a, b.pth on torch, fp16"
    assert computed_by([chosen("CPU", 2)] * 2) == "a, b.pth on torch, fp16; a, b.pth on torch, fp16"
    assert computed_by([]) == ""
