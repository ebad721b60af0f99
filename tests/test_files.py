"""Files and folders are told apart by their names."""

from pathlib import Path

import pytest

from vsparagon import InvalidInput
from vsparagon.files import distinct_names


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
        with pytest.raises(InvalidInput, match="a is named twice"):
            distinct_names([Path("a"), Path(other)])
