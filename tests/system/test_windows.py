"""What is different on Windows, simulated where the tests run on another system."""

import errno
import sys
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import pytest

from vsparagon import cli, doctor
from vsparagon.encode.parts import PartsFolder, Segment
from vsparagon.encode.progress import Json
from vsparagon.errors import EncodeFailure
from vsparagon.preview.player import find_player
from vsparagon.system import files, windows
from vsparagon.system.machine import processor_name


def windows_error(number):
    error = PermissionError(errno.EACCES, "Access is denied")
    error.winerror = number
    return error


@pytest.fixture
def refusals(monkeypatch):
    """The error numbers with which the next renames fail; there are no pauses in between."""
    pending, replace = [], Path.replace

    def refuse(self, target):
        if pending:
            raise windows_error(pending.pop(0))
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", refuse)
    monkeypatch.setattr(files.time, "sleep", lambda pause: None)
    return pending


def test_file_that_a_scanner_has_open_is_replaced_a_little_later(tmp_path, refusals):
    path = tmp_path / "file"
    refusals += [5, 32, 33]
    files.write_atomically(path, b"content")
    assert path.read_bytes() == b"content"


@pytest.mark.parametrize("errors", [[32] * 20, [112]])
def test_file_that_cannot_be_replaced_is_an_error_and_leaves_nothing(tmp_path, refusals, errors):
    refusals += errors
    with pytest.raises(PermissionError):
        files.write_atomically(tmp_path / "file", b"content")
    assert len(refusals) == max(0, len(errors) - len(files.PAUSES) - 1)
    assert list(tmp_path.iterdir()) == []


def test_output_that_a_player_has_open_is_named(tmp_path, monkeypatch, refusals):
    with PartsFolder(tmp_path / "out.mkv") as parts:
        parts.resume({})
        draft = parts.draft("output.mkv")
        draft.write_bytes(b"film")
        monkeypatch.setattr(parts, "_describe", lambda **more: None)  # it would replace the manifest
        refusals += [32] * 20
        with pytest.raises(EncodeFailure, match=r"out\.mkv cannot be replaced: .*close the program that has it open"):
            parts.deliver(draft, overwrite=True)


def test_file_that_the_ffmpeg_of_a_killed_run_has_open_stays_until_later(tmp_path, monkeypatch):
    out, unlink = tmp_path / "out.mkv", Path.unlink
    with PartsFolder(out) as parts:
        parts.resume({})
        draft, kept = parts.draft("segment.mkv"), parts.draft("segment.mkv")
        draft.write_bytes(b"film")
        parts.keep(0, draft, Segment(frames=1, bytes=4, durations=(), times=()))
        kept.touch()

    def refuse(self, missing_ok=False):
        if self == kept:
            raise windows_error(32)
        unlink(self, missing_ok=missing_ok)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", refuse)
        with PartsFolder(out) as parts:
            parts.resume({})
            assert list(parts.segments) == [0]
    with PartsFolder(out):
        assert not kept.exists()


def test_player_is_run_itself_and_not_its_wrapper_for_the_console(tmp_path, monkeypatch):
    for name in ("mpv.com", "mpv.exe"):
        (tmp_path / name).touch()
    monkeypatch.setattr("shutil.which", lambda name: str(tmp_path / "mpv.com"))
    assert find_player("mpv") == str(tmp_path / "mpv.exe")
    (tmp_path / "mpv.exe").unlink()
    assert find_player("mpv") == str(tmp_path / "mpv.com")


def test_missing_runtime_of_visual_c_is_advised(monkeypatch, capsys):
    monkeypatch.setattr(doctor, "os", SimpleNamespace(name="nt"))
    monkeypatch.setattr(doctor, "library_version", Mock(side_effect=OSError("Could not find module 'msvcp140.dll'")))
    (finding,) = doctor._runtime()
    assert (finding.topic, finding.state) == ("C++ runtime", "problem")
    assert "vc_redist" in finding.advice

    def fail(args):
        raise ImportError("DLL load failed while importing vapoursynth: The specified module could not be found.")

    monkeypatch.setattr("vsparagon.cli.models._models", fail)
    assert cli.main(["models"]) == 1
    assert capsys.readouterr().err.endswith("install Microsoft's C++ runtime: https://aka.ms/vc14/vc_redist.x64.exe\n")


@pytest.mark.parametrize(
    ("version", "state", "said"),
    [
        ((14, 38, 33130), "optional", "msvcp140.dll 14.38.33130, but 14.50 or later is recommended"),
        ((14, 50, 35719), "ok", "msvcp140.dll 14.50.35719"),
    ],
)
def test_runtime_of_visual_c_that_is_too_old_is_advised(version, state, said, monkeypatch):
    monkeypatch.setattr(doctor, "os", SimpleNamespace(name="nt"))
    monkeypatch.setattr(doctor, "library_version", Mock(return_value=version))
    (finding,) = doctor._runtime()
    assert (finding.state, finding.text) == (state, said)
    assert ("vc_redist" in finding.advice) == (state == "optional")


@pytest.mark.skipif(sys.platform != "win32", reason="needs Windows")
def test_what_windows_answers_is_understood():
    assert 1 << 20 < windows.available_memory() < 1 << 44
    assert windows.processor_name() == processor_name() != ""
    assert windows.library_version("kernel32.dll") > (6, 0)
    with pytest.raises(OSError, match="none"):
        windows.library_version("none.dll")


def test_interruption_without_a_word_is_told(monkeypatch, capsys):
    def interrupt(args):
        raise KeyboardInterrupt

    monkeypatch.setattr("vsparagon.cli.models._models", interrupt)
    assert cli.main(["models"]) == 130
    assert capsys.readouterr().err == "vsparagon: stopped\n"


def test_output_that_nobody_reads_any_more_is_no_failure_of_python(monkeypatch):
    class Closed:
        def write(self, text):
            raise OSError(errno.EINVAL, "Invalid argument")

        def fileno(self):
            return 99

    closed = []
    monkeypatch.setattr(sys, "stdout", Closed())
    monkeypatch.setattr("os.dup2", lambda handle, number: closed.append(number))
    assert cli.main(["models"]) == 1
    with pytest.raises(BrokenPipeError):
        Json(sys.stdout).note("counting")
    assert closed == [99]
