"""Installed packages that are too old are reported before they fail."""

from importlib import metadata

import pytest

from vsparagon import BackendUnavailable, extras
from vsparagon.backends import RUNTIMES, choose_backend
from vsparagon.cli import main
from vsparagon.extras import NEEDS, check_needs, too_old, trouble_without


@pytest.fixture
def installed(monkeypatch):
    """Pretended versions of installed packages; the others keep their own."""
    versions, found = {}, metadata.version
    monkeypatch.setattr(metadata, "version", lambda package: versions.get(package) or found(package))
    return versions


def test_backend_that_is_too_old_names_what_it_wants(installed):
    installed["torch"] = "2.6.0+cu124"
    said = 'torch 2.6.0+cu124 is installed, but >=2.10 is needed; pip install "vsparagon[torch]"'
    assert RUNTIMES["torch"].missing() == said
    with pytest.raises(BackendUnavailable, match=r"backend 'torch' cannot be used: torch 2\.6\.0"):
        choose_backend("torch")


@pytest.mark.parametrize("package", ["onnxruntime", "onnxruntime-gpu"])
def test_either_build_of_onnxruntime_may_be_too_old(package, installed):
    installed[package] = "1.20.1"
    assert f"{package} 1.20.1 is installed, but >=1.23 is needed" in RUNTIMES["onnxruntime"].missing()


def test_command_whose_package_is_too_old_says_so(installed, capsys):
    installed["av"] = "14.2.0"
    with pytest.raises(BackendUnavailable, match=r'^av 14\.2\.0 is installed, but >=18\.1 is needed; .*\[encode\]"'):
        check_needs("encode")
    main(["doctor"])
    line = next(line for line in capsys.readouterr().out.splitlines() if "command encode " in line)
    assert line.startswith("!!")
    assert "av 14.2.0 is installed" in line


@pytest.mark.parametrize("version", ["2.10.0", "2.11.0+cu130", "3.0.0.dev20270101"])
def test_newer_ones_and_builds_of_their_own_will_do(version, installed):
    installed["torch"] = version
    assert trouble_without("torch", extra="torch") == ""


def test_all_that_commands_and_backends_need_has_an_oldest_version():
    modules = {"torch", "safetensors", "onnx", "onnxruntime", "onnxruntime-gpu", "tensorrt", "tensorrt-rtx", "filelock"}
    assert modules.union(*(needs.packages for needs in NEEDS.values())) <= set(extras._asked_for())


def test_nothing_is_too_old_for_a_copy_that_is_not_installed(installed, monkeypatch):
    def fail(package):
        raise metadata.PackageNotFoundError(package)

    installed["torch"] = "1.0"
    monkeypatch.setattr(metadata, "requires", fail)
    extras._asked_for.cache_clear()
    try:
        assert too_old("torch") == ""
    finally:
        extras._asked_for.cache_clear()
