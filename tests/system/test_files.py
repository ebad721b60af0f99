"""Files are written completely or not at all; files and folders get distinct names."""

import os
import stat
import sys
from pathlib import Path

import pytest

from vsparagon import InvalidInput
from vsparagon.system.files import distinct_names, replacing, write_atomically

posix = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX modes, links and long names")


@posix
@pytest.mark.parametrize("mask", [0o022, 0o077])
def test_file_has_the_mode_that_the_process_gives_its_files_now(tmp_path, mask):
    before = os.umask(mask)
    try:
        write_atomically(tmp_path / "file", b"content")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o666 & ~mask


@posix
def test_file_with_the_longest_name_that_there_is_can_be_written(tmp_path):
    path = tmp_path / ("n" * 250 + ".onnx")
    write_atomically(path, b"content")
    assert path.read_bytes() == b"content"


def test_content_is_on_the_disk_before_the_file_has_its_name(tmp_path, monkeypatch):
    path, synced = tmp_path / "file", []
    monkeypatch.setattr(os, "fsync", lambda file: synced.append((os.fstat(file).st_size, path.exists())))
    write_atomically(path, b"content")
    assert synced == [(len(b"content"), False)]


@posix
def test_link_still_leads_to_the_file_that_was_written(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "file").write_bytes(b"before")
    link = tmp_path / "link.png"
    link.symlink_to("elsewhere/file")
    with replacing(link) as draft:
        assert (draft.parent, draft.suffix) == (tmp_path / "elsewhere", ".png")
        draft.write_bytes(b"after")
    assert link.is_symlink()
    assert (tmp_path / "elsewhere" / "file").read_bytes() == b"after"


def test_file_is_as_before_where_its_replacement_fails(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"before")

    def fail():
        with replacing(path) as draft:
            draft.write_bytes(b"half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == b"before"


def names(*paths):
    return list(distinct_names(map(Path, paths)).values())


def test_names_are_as_short_as_they_can_be_in_any_order(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in ("a/Set5", "b/Set5", "DIV2K.valid"):
        Path(folder).mkdir(parents=True)
    assert names("a/Set5", "b/Set5", "DIV2K.valid") == ["a/Set5", "b/Set5", "DIV2K.valid"]
    assert names("b/Set5", "DIV2K.valid", "a/Set5") == ["b/Set5", "DIV2K.valid", "a/Set5"]
    assert names(".") == [tmp_path.name]


def test_files_lose_their_suffix_where_that_leaves_them_distinct(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("a").mkdir()
    for file in ("x.onnx", "x.safetensors", "y.onnx", "a/y.onnx"):
        Path(file).touch()
    assert names("x.onnx", "y.onnx") == ["x", "y"]
    assert names("x.onnx", "x.safetensors") == ["x.onnx", "x.safetensors"]
    assert names("a/y.onnx", "y.onnx") == ["a/y", f"{tmp_path.name}/y"]


def test_one_that_is_named_twice_is_told(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("a").mkdir()
    for other in ("a", "a/../a"):
        with pytest.raises(InvalidInput, match="a is given twice"):
            distinct_names([Path("a"), Path(other)])
