"""What Windows does otherwise, acted out wherever the tests run."""

import errno
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from vsparagon import cli, doctor, files
from vsparagon.encode.parts import PartsFolder
from vsparagon.errors import EncodeFailure
from vsparagon.preview.player import find_player


def windows_error(number):
    error = PermissionError(errno.EACCES, "Access is denied")
    error.winerror = number
    return error


@pytest.fixture
def refusals(monkeypatch):
    """Numbers of the errors that the next renamings fail with; what is slept meanwhile is left out."""
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
        monkeypatch.setattr(parts, "_write", lambda **more: None)  # which replaces the manifest
        refusals += [32] * 20
        with pytest.raises(EncodeFailure, match=r"out\.mkv cannot be replaced: .*close what has it open"):
            parts.deliver(draft)


def test_player_is_run_itself_and_not_its_wrapper_for_the_console(tmp_path, monkeypatch):
    for name in ("mpv.com", "mpv.exe"):
        (tmp_path / name).touch()
    monkeypatch.setattr("shutil.which", lambda name: str(tmp_path / "mpv.com"))
    assert find_player("mpv") == str(tmp_path / "mpv.exe")
    (tmp_path / "mpv.exe").unlink()
    assert find_player("mpv") == str(tmp_path / "mpv.com")


def test_missing_runtime_of_visual_c_is_advised(monkeypatch, capsys):
    monkeypatch.setattr(doctor, "os", SimpleNamespace(name="nt"))
    (finding,) = doctor._runtime()  # there is no such library here
    assert (finding.topic, finding.state) == ("C++ runtime", "problem")
    assert "vc_redist" in finding.advice

    def fail(args):
        raise ImportError("DLL load failed while importing vapoursynth: The specified module could not be found.")

    monkeypatch.setattr("vsparagon.cli.models._models", fail)
    assert cli.main(["models"]) == 1
    assert capsys.readouterr().err.endswith("install Microsoft's C++ runtime: https://aka.ms/vc14/vc_redist.x64.exe\n")


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
    assert cli._told("text") == 1
    assert closed == [99]
