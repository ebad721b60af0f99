"""`vsparagon doctor`: what it reports about a working installation, and its advice about problems."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from vsparagon import doctor
from vsparagon.cli import main
from vsparagon.extras import Needs


def lines_of(out):
    """Return mark and text by topic; the text includes the advice below it."""
    found, topic = {}, ""
    for line in out.splitlines():
        if line[:2] in ("ok", "--", "!!"):
            topic = line[4:24].strip()
            found[topic] = (line[:2], line[25:])
        elif line.strip().startswith("to do: "):
            found[topic] = (found[topic][0], f"{found[topic][1]} | {line.strip()}")
    return found


@pytest.fixture(autouse=True)
def brief(monkeypatch):
    monkeypatch.setattr(doctor, "TEST_SECONDS", 0.1)


def test_healthy_installation_passes_and_measures_its_speed(capsys):
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    found = lines_of(out)
    for topic in (
        "vsparagon",
        "Python",
        "VapourSynth",
        "plugin",
        "backend auto",
        "CPU",
        "models",
        "cache",
        "self-test",
    ):
        assert found[topic][0] == "ok", topic
    assert found["plugin"][1].startswith("core.paragon answers")
    assert float(found["self-test"][1].split(" at ")[1].split()[0]) > 0
    assert out.endswith("no problems found\n")


def test_what_is_missing_comes_with_advice(monkeypatch, capsys):
    monkeypatch.setattr(
        doctor, "NEEDS", {"encode": Needs(extra="encode", modules={"none": "no-such-package", "pip": "pip"})}
    )
    monkeypatch.setenv("PATH", "")
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    monkeypatch.setattr("vsparagon.preview.VIEWERS", ())
    assert main(["doctor"]) == 0
    found = lines_of(capsys.readouterr().out)
    assert found["players"] == (
        "--",
        'none | to do: install mpv, or pip install "vsparagon[preview]"; only `vsparagon preview` needs it',
    )
    assert found["command encode"] == ("--", 'no-such-package missing | to do: pip install "vsparagon[encode]"')
    assert found["ffmpeg"][0] == "--"
    assert "pip install imageio-ffmpeg" in found["ffmpeg"][1]


@pytest.mark.skipif(sys.platform == "win32", reason="the ffmpeg is a shell script")
@pytest.mark.parametrize(("gpus", "encoders"), [((), "libx264"), (("H200",), "libx264, hevc_nvenc")])
def test_encoders_of_nvidia_are_listed_where_there_is_a_gpu(gpus, encoders, tmp_path, monkeypatch):
    program = tmp_path / "ffmpeg"
    program.write_text("#!/bin/sh\necho 'ffmpeg version 8'\necho ' V..... libx264 x'\necho ' V..... hevc_nvenc x'\n")
    program.chmod(0o755)
    monkeypatch.setattr("vsparagon.ffmpeg.find_ffmpegs", lambda: [str(program)])
    monkeypatch.setattr("vsparagon.device.gpus.gpus", lambda: gpus)
    assert [found.text for found in doctor._ffmpeg() if found.topic == "encoders"] == [encoders]


@pytest.mark.parametrize(
    ("name", "value", "topic", "said"),
    [
        ("vsparagon.ffmpeg.find_ffmpegs", lambda: 1 / 0, "ffmpeg", "ZeroDivisionError"),
        ("vsparagon.doctor.SMALLEST_LIKENESS", 1000.0, "self-test", "the result is wrong"),
    ],
)
def test_problem_fails_and_does_not_stop_the_rest(name, value, topic, said, monkeypatch, capsys):
    monkeypatch.setattr(name, value)
    assert main(["doctor"]) == 1
    captured = capsys.readouterr()
    found = lines_of(captured.out)
    assert found[topic][0] == "!!"
    assert said in found[topic][1]
    assert "to do: " in found[topic][1]
    assert "self-test" in found
    assert captured.err == "vsparagon: 1 problem, marked !! above.\n"


@pytest.mark.skipif(sys.platform == "win32", reason="on Windows, the variable does not change the cache folder")
def test_cache_that_cannot_be_made_stops_nothing(tmp_path):
    (tmp_path / "file").write_text("")
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path / "file")}
    command = [sys.executable, "-m", "vsparagon", "doctor"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0
    state, said = lines_of(done.stdout)["cache"]
    assert state == "--"
    assert "compiled networks are not cached" in said
    assert "choose another with cache=" in said
