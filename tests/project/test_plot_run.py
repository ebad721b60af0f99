"""scripts/plot_run.py: curves of a run as a picture."""

import pytest

pytest.importorskip("torch")
pytest.importorskip("tensorboard")

from PIL import Image
from training_runs import load_script

from vsparagon.errors import InvalidInput
from vsparagon.training.monitor import Monitor


@pytest.fixture
def run(tmp_path):
    monitor = Monitor(tmp_path / "run" / "tensorboard", begin=0, total=3)
    for done in (1, 2, 3):
        monitor.scalars(done, {"loss/pixel": 1 / done, "gan/margin": float(done), "rate": 0.1})
    monitor.close()
    return tmp_path / "run"


def test_a_panel_for_each_scalar(run, tmp_path):
    draw = load_script("plot_run").draw
    heights = []
    for names in (["gan/margin"], []):
        draw(run, names, tmp_path / "curves.png")
        with Image.open(tmp_path / "curves.png") as picture:
            heights.append(picture.height)
            assert len(picture.convert("RGB").getcolors(1 << 20)) > 10
    assert heights == [240, 480]


def test_unknown_scalar_is_an_error_that_names_the_known(run, tmp_path):
    with pytest.raises(InvalidInput, match=r"no scalar 'gan/ratio'; it has .*gan/margin"):
        load_script("plot_run").draw(run, ["gan/ratio"], tmp_path / "curves.png")
    assert not (tmp_path / "curves.png").exists()


def test_what_cannot_be_drawn_is_one_line(run, tmp_path):
    draw = load_script("plot_run").draw
    with pytest.raises(InvalidInput, match=r"it must end in \.png or \.svg"):
        draw(run, [], tmp_path / "curves.txt")
    with pytest.raises(InvalidInput, match="is not the folder of a run"):
        draw(tmp_path, [], tmp_path / "curves.png")
    Monitor(tmp_path / "new" / "tensorboard", begin=0, total=3).close()
    with pytest.raises(InvalidInput, match="has no scalars yet"):
        draw(tmp_path / "new", [], tmp_path / "curves.png")
