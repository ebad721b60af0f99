"""ffmpeg: which one is found, and the options that label its output."""

import subprocess
import sys

import numpy as np
import pytest
from films import read

from vsparagon.encode.codec import encoder_formats
from vsparagon.errors import ParagonError
from vsparagon.ffmpeg import answer_of, aspect_arguments, colour_arguments, ffmpeg_version, find_ffmpeg

UNCOMMON = {"_Matrix": 9, "_Primaries": 9, "_Transfer": 16, "_ChromaLocation": 2}  # BT.2020, PQ, top left


@pytest.mark.parametrize("full", [0, 1], ids=["limited", "full"])
def test_labels_arrive_and_values_stay_when_given_twice(tmp_path, full):
    """A y4m pipe to lossless H.264 and back: a conversion by ffmpeg would change the noise."""
    noise = np.random.default_rng(0).integers(0, 256, (3, 48 * 64 * 3 // 2), dtype=np.uint8)
    y4m = b"YUV4MPEG2 C420 W64 H48 F25:1 Ip A0:0\n" + b"".join(b"FRAME\n" + frame.tobytes() for frame in noise)
    props = UNCOMMON | {"_Range": full, "_SARNum": 4, "_SARDen": 3}
    labels, path = colour_arguments(props), tmp_path / "out.mkv"
    output = [*labels, *aspect_arguments(props), "-c:v", "libx264", "-qp", "0", path]
    subprocess.run([find_ffmpeg(), "-loglevel", "error", *labels, "-i", "-", *output], input=y4m, check=True)
    video = read(path)
    found = video.get_frame(0).props
    assert {name: found[name] for name in props} == props
    for frame, values in zip(video.frames(), noise, strict=True):
        np.testing.assert_array_equal(np.concatenate([np.asarray(plane).ravel() for plane in frame]), values)


def test_labels_are_left_out_when_unspecified():
    assert colour_arguments({"_Matrix": 2, "_Primaries": 2, "_Transfer": 2}) == []
    assert colour_arguments({"_Range": 1, "_PictType": "I"}) == ["-color_range", "2"]


@pytest.mark.parametrize("props", [{}, {"_SARNum": 0, "_SARDen": 1}])
def test_aspect_is_left_out_when_it_is_unknown(props):
    assert aspect_arguments(props) == []


def test_find_ffmpeg_says_what_to_install_when_there_is_none(monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    with pytest.raises(ParagonError, match="pip install imageio-ffmpeg"):
        find_ffmpeg()


def test_ffmpeg_that_does_not_end_is_told(monkeypatch):
    monkeypatch.setattr("vsparagon.ffmpeg.PATIENCE", 0.2)
    with pytest.raises(ParagonError, match=r"does not run .*timed out.*; install another ffmpeg"):
        answer_of(sys.executable, "-c", "import time; time.sleep(60)")


def test_ffmpeg_that_says_nothing_is_told(monkeypatch):
    monkeypatch.setattr("vsparagon.ffmpeg.answer_of", lambda program, question: "")
    with pytest.raises(ParagonError, match="silent does not report its version; install another ffmpeg"):
        ffmpeg_version("silent")


def test_ffmpeg_that_is_no_program_has_no_encoder(tmp_path):
    for name in ("missing", "text"):
        program = tmp_path / name
        if name == "text":
            program.write_text("no program", encoding="utf-8")
            program.chmod(0o755)
        assert encoder_formats.__wrapped__(str(program), "libx264") == frozenset()
