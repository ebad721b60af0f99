"""TensorRT reads the exported graphs and builds engines of them, without a GPU (TensorRT-RTX)."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="the networks are torch modules")
pytest.importorskip("onnx", reason="ONNX files are written with onnx")

from vsparagon import engine  # noqa: E402
from vsparagon.engine import Profile, build_engine  # noqa: E402
from vsparagon.errors import BackendFailure, BackendUnavailable  # noqa: E402
from vsparagon.export import onnx_model  # noqa: E402
from vsparagon.models import create_generator  # noqa: E402
from vsparagon.models.inference import inference_form  # noqa: E402
from vsparagon.models.variants import VARIANTS  # noqa: E402

PROFILE = Profile(smallest=(64, 64), usual=(540, 960), largest=(1080, 1920))

needs_rtx = pytest.mark.skipif(
    find_spec("tensorrt_rtx") is None, reason="tensorrt_rtx is not installed; it builds engines without a GPU"
)


@pytest.fixture(autouse=True)
def _rtx(monkeypatch):
    """The one TensorRT that builds without a GPU."""
    monkeypatch.setattr(engine, "PACKAGES", ("tensorrt_rtx",))
    with torch.no_grad():
        yield


@needs_rtx
@pytest.mark.parametrize(
    ("variant", "precision"), [*((variant, "fp16") for variant in VARIANTS), ("nano", "fp32"), ("tiny", "fp32")]
)
def test_every_variant_builds(variant, precision):
    graph = onnx_model(create_generator(variant), precision=precision).SerializeToString()
    assert len(build_engine(graph, PROFILE)) > 10_000


@needs_rtx
@pytest.mark.parametrize("variant", ["nano", "micro", "tiny"])
def test_fast_form_builds(variant):
    graph = onnx_model(inference_form(create_generator(variant)), precision="fp16").SerializeToString()
    assert len(build_engine(graph, PROFILE)) > 10_000


@needs_rtx
def test_graph_of_fixed_size_builds():
    graph = onnx_model(create_generator("nano"), height=100, width=77).SerializeToString()
    assert build_engine(graph, Profile(smallest=(100, 77), usual=(100, 77), largest=(100, 77)))


@needs_rtx
def test_what_tensorrt_says_about_a_broken_graph_is_passed_on():
    with pytest.raises(BackendFailure, match=r"cannot read this model: .*parse"):
        build_engine(b"not a graph", PROFILE)
    graph = onnx_model(create_generator("nano"), height=100, width=77).SerializeToString()
    with pytest.raises(BackendFailure, match=r"cannot build this model: .+"):
        build_engine(graph, PROFILE)


def test_missing_tensorrt_is_named(monkeypatch):
    monkeypatch.setattr(engine, "PACKAGES", ())
    with pytest.raises(BackendUnavailable, match="pip install"):
        build_engine(b"", PROFILE)


@needs_rtx
def test_scripts_lead_from_weights_to_an_engine(tmp_path):
    scripts = Path(__file__).parents[1] / "scripts"
    graph, built = tmp_path / "nano.onnx", tmp_path / "nano.engine"
    # A process where tensorrt is installed too would want a GPU.
    rtx_only = (
        "import runpy, sys, vsparagon.engine; vsparagon.engine.PACKAGES = ('tensorrt_rtx',); "
        "runpy.run_path(sys.argv.pop(1), None, '__main__')"
    )
    for arguments in (
        [scripts / "export_onnx.py", "nano", graph, "--precision", "fp16"],
        ["-c", rtx_only, scripts / "build_engine.py", graph, built],
    ):
        subprocess.run([sys.executable, *map(str, arguments)], check=True, capture_output=True)
    assert built.stat().st_size > 10_000
