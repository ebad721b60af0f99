"""Ctrl-C ends each of the scripts with one line."""

import runpy
from argparse import ArgumentParser
from unittest.mock import Mock

import pytest
from places import ROOT

pytest.importorskip("torch", reason="most scripts need it")
pytest.importorskip("matplotlib", reason="some scripts draw")


@pytest.mark.parametrize("name", ["benchmark", "build_engine", "claims", "evaluate", "hard_pictures", "plot_run"])
def test_interrupted_script_ends_with_one_line(name, monkeypatch, capsys):
    monkeypatch.setattr(ArgumentParser, "parse_args", Mock(side_effect=KeyboardInterrupt))
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(ROOT / "scripts" / f"{name}.py"), run_name="__main__")
    assert ended.value.code == 130
    assert capsys.readouterr() == ("", f"{name}: stopped\n")
