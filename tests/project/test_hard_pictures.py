"""scripts/hard_pictures.py: pictures for training in addition to photographs."""

import runpy
import sys

import numpy as np
import pytest

pytest.importorskip("skimage", reason="the photographs come from scikit-image")
pytest.importorskip("torch", reason="training needs it")

from clips import photograph
from PIL import Image
from places import ROOT


def made(folder, photos, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["x", str(photos), str(folder), "--drawings", "3", "--noisy", "2"])
    runpy.run_path(str(ROOT / "scripts" / "hard_pictures.py"), run_name="__main__")
    return {path.name: np.asarray(Image.open(path)) for path in sorted(folder.iterdir())}


def test_pictures_are_saturated_or_noisy_and_always_the_same(tmp_path, monkeypatch):
    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(3):
        Image.fromarray(photograph(64, 80 + number)).save(photos / f"{number}.png")
    first, second = (made(tmp_path / name, photos, monkeypatch) for name in ("first", "second"))
    assert list(first) == ["drawing000.png", "drawing001.png", "drawing002.png", "noisy000.png", "noisy001.png"]
    assert all(np.array_equal(first[name], second[name]) for name in first)
    drawings = np.stack([picture for name, picture in first.items() if name.startswith("drawing")])
    assert drawings.shape == (3, 512, 512, 3)
    assert np.isin(drawings, (0, 255)).mean() > 0.2
    for name, picture in first.items():
        if name.startswith("noisy"):
            assert 1 < (picture - photograph(*picture.shape[:2]).astype(float)).std() < 30


def test_photograph_that_cannot_be_read_is_named_and_left_out(tmp_path, monkeypatch, capsys):
    photos = tmp_path / "photos"
    photos.mkdir()
    Image.fromarray(photograph(64, 80)).save(photos / "good.png")
    (photos / "bad.png").write_text("no picture")
    noisy = [name for name in made(tmp_path / "out", photos, monkeypatch) if name.startswith("noisy")]
    assert len(noisy) == 1
    assert "left out" in (said := capsys.readouterr().err)
    assert "bad.png" in said


def test_what_cannot_be_written_is_one_line(tmp_path, monkeypatch):
    Image.fromarray(photograph(64, 80)).save(tmp_path / "good.png")
    with pytest.raises(SystemExit, match=r"hard_pictures: .*good\.png"):
        made(tmp_path / "good.png", tmp_path, monkeypatch)
