"""Names that other programs import or run, wherever in the package their code lies."""

import importlib
import inspect
import subprocess
import sys

import pytest
import vapoursynth as vs
from places import ROOT

import vsparagon
from vsparagon.cli import main

PACKAGES = ["vsparagon", "vsparagon.models"]

# Arguments may be given by position, so new ones come after these.
ARGUMENTS = (
    "clip variant scale profile model backend device_id precision width height format matrix tilesize overlap "
    "memory_mb num_streams cache"
)


@pytest.mark.parametrize("name", PACKAGES)
def test_every_listed_name_is_there_and_no_other(name):
    pytest.importorskip("torch", reason="the networks are torch modules")
    package = importlib.import_module(name)
    assert {*package.__all__} <= {*dir(package)}
    assert all(getattr(package, listed) is not None for listed in package.__all__)
    with pytest.raises(AttributeError, match=f"module '{name}' has no attribute 'nothing'"):
        _ = package.nothing


def test_arguments_of_the_filter_keep_their_places():
    names = [argument.partition(":")[0] for argument in vs.core.paragon.Upscale.signature.split(";") if argument]
    assert " ".join(names).startswith(ARGUMENTS)
    assert names == [*inspect.signature(vsparagon.upscale).parameters]


def test_networks_are_imported_from_models():
    pytest.importorskip("torch", reason="the networks are torch modules")
    from vsparagon.models import MUNet, ParagonSR2, create_generator, load_generator

    assert isinstance(load_generator("nano", scale=2), ParagonSR2)
    assert create_generator("s", scale=2, use_attention=False).options.num_feat == 48
    assert ParagonSR2(scale=2, num_feat=48).options.scale == 2
    assert MUNet(num_in_ch=3, num_feat=16).in_conv.out_channels == 16


def test_importing_the_packages_imports_no_library():
    heavy = "{'torch', 'onnx', 'openvino', 'onnxruntime', 'numpy', 'vapoursynth'}"
    code = f"import sys, {', '.join(PACKAGES)}; print(*sorted({heavy} & {{*sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100, cwd=ROOT)
    assert (done.stdout.strip(), done.stderr) == ("", "")


def test_export_script_is_the_command(tmp_path):
    pytest.importorskip("onnx", reason="ONNX files are written with onnx")
    pytest.importorskip("torch", reason="the networks are torch modules")
    by_script, by_command = tmp_path / "script.onnx", tmp_path / "command.onnx"
    words = [sys.executable, "scripts/export_onnx.py", "nano", by_script]
    done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert main(["export", "nano", str(by_command)]) == 0
    assert by_script.read_bytes() == by_command.read_bytes()
