"""What the machine has to give."""

import sys
from pathlib import Path

import pytest

from vsparagon.machine import available_memory, python_executable


def test_available_memory_is_less_than_the_machine_has():
    assert 100 < available_memory() < 1 << 24


def test_program_that_embeds_python_finds_its_interpreter(monkeypatch):
    expected = Path(python_executable())
    monkeypatch.setattr(sys, "executable", str(Path(sys.prefix) / "bin" / "vspipe"))
    assert Path(python_executable()).samefile(expected)
    monkeypatch.setattr(sys, "prefix", str(Path(__file__).parent))
    with pytest.raises(FileNotFoundError, match="there is no Python in"):
        python_executable()
