"""`vsparagon cache`: what it lists, what it removes, and what it leaves alone."""

from __future__ import annotations

import os
import stat
import sys
import time
from pathlib import Path

import pytest
from engines import KEY
from platformdirs import user_cache_path

from vsparagon.cache import KINDS, kept_files
from vsparagon.cli import main
from vsparagon.engines.cache import EngineCache


@pytest.fixture
def folder(tmp_path):
    """A cache with files of every kind, and with files that are not vsparagon's."""
    EngineCache(tmp_path / "engines").get(KEY, "nano x2", lambda: bytes(3 * 2**20))
    for name in (
        "engines/0123.engine",
        "engines/0123.kernels",
        "crashes/77.crash",
        "graphs/4567.onnx",
        "graphs/4567.stages/0.onnx",
        "graphs/4567.stages/plan.json",
        "openvino-2026.1/0a/89.blob",
        "openvino-2026.1/0b/90.blob",
        "sources/ab.2.bsindex",
        "holiday.jpg",
        "graphs/notes.txt",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(1024))
    os.utime(tmp_path / "graphs" / "4567.onnx", (time.time() - 3 * 86_400,) * 2)
    return tmp_path


def test_list_tells_what_is_kept(folder, capsys):
    assert main(["cache", "list", "--folder", str(folder)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"3.0 MiB in {folder}"
    assert list(dict.fromkeys(line.split()[0] for line in lines[1:])) == list(KINDS)
    engine = next(line for line in lines if "nano x2" in line)
    assert engine.split()[:5] == ["engines", "3.0", "MiB", "just", "now"]
    assert engine.endswith("engine of nano x2, fp16, by tensorrt 10.8.0 on NVIDIA Card")
    assert any(line.endswith("damaged: it is not an engine file of vsparagon") for line in lines)
    assert any("3 days" in line and "ONNX graph" in line for line in lines)
    assert any("2.0 KiB" in line and " 2 x network compiled" in line for line in lines)
    assert "holiday" not in "".join(lines)
    assert "notes" not in "".join(lines)


def test_clear_removes_what_is_ours_and_says_so(folder, capsys):
    assert main(["cache", "clear", "--folder", str(folder)]) == 0
    assert capsys.readouterr().out == f"removed 9 files, 3.0 MiB, from {folder}\n"
    left = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert left - {"engines/building.lock"} == {"holiday.jpg", "graphs/notes.txt", "crashes/77.crash"}
    assert main(["cache", "clear", "crashes", "--folder", str(folder)]) == 0
    assert capsys.readouterr().out == f"removed 1 file, 1.0 KiB, from {folder}\n"
    assert main(["cache", "list", "--folder", str(folder)]) == 0
    assert capsys.readouterr().out == f"0.0 KiB in {folder}\n"


@pytest.mark.parametrize("kind", KINDS)
def test_clear_of_one_kind_leaves_the_others(kind, folder, capsys):
    assert main(["cache", "clear", kind, "--folder", str(folder)]) == 0
    assert main(["cache", "list", "--folder", str(folder)]) == 0
    out = capsys.readouterr().out
    assert all((f"\n{name} " in out) == (name != kind) for name in KINDS)


def test_what_cannot_be_removed_is_an_error(folder, capsys, monkeypatch):
    unlink = Path.unlink

    def in_use(self, missing_ok=False):
        if self.suffix == ".blob":
            raise PermissionError(13, "in use")
        unlink(self, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", in_use)
    assert main(["cache", "clear", "--folder", str(folder)]) == 1
    err = capsys.readouterr().err
    assert "freed 3.0 MiB" in err
    assert "89.blob (in use)" in err


def test_clear_removes_read_only_files_on_windows(folder, capsys, monkeypatch):
    """OpenVINO writes its files read-only, and Windows does not remove such files."""
    unlink = Path.unlink
    kept = folder / "openvino-2026.1" / "0a" / "89.blob"
    kept.chmod(0o444)

    def as_windows_does(self, missing_ok=False):
        if self.exists() and not self.stat().st_mode & stat.S_IWRITE:
            raise PermissionError(13, "Access is denied")
        unlink(self, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", as_windows_does)
    assert main(["cache", "clear", "openvino", "--folder", str(folder)]) == 0
    assert capsys.readouterr().out == f"removed 2 files, 2.0 KiB, from {folder}\n"
    assert not kept.exists()


def test_interrupted_clear_leaves_no_plan_without_its_stages(folder):
    assert [file.path.name for file in kept_files(folder, "stages")] == ["plan.json", "0.onnx"]


@pytest.mark.parametrize("action", ["list", "clear"])
def test_looking_makes_no_folder(action, tmp_path, capsys):
    assert main(["cache", action, "--folder", str(tmp_path / "none")]) == 1
    assert "none, which is not a folder; give one that was used as cache= or --cache." in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


def test_user_folder_is_the_default(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert main(["cache", "list"]) == 0
    # On Windows, the variable does not change the folder.
    expected = user_cache_path("vsparagon", appauthor=False) if sys.platform == "win32" else tmp_path / "vsparagon"
    assert f"in {expected}" in capsys.readouterr().out


def test_kept_graphs_and_openvino_networks_are_known_by_their_places(tmp_path, capsys):
    """All files that the filter keeps are listed, so the table of kinds is correct."""
    pytest.importorskip("torch", reason="a checkpoint is read with it")
    import numpy as np

    from vsparagon import Upscaler
    from vsparagon.lookup import find_model
    from vsparagon.onnx.graph_cache import plan_stages

    checkpoint = find_model().checkpoint
    Upscaler(model=str(checkpoint), backend="openvino", cache=str(tmp_path))(np.zeros((32, 32, 3), np.uint8))
    plan_stages(checkpoint, tmp_path)
    assert main(["cache", "list", "--folder", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "\ngraphs " in out
    assert "\nstages " in out
    assert "\nopenvino " in out
    assert len(kept_files(tmp_path)) == sum(path.is_file() for path in tmp_path.rglob("*")), out
