"""What "auto" chooses, in which order, and how it explains its choice, whatever is installed here."""

from __future__ import annotations

import ctypes
import logging
from dataclasses import replace
from pathlib import Path

import pytest
import vapoursynth as vs

from vsparagon import backends
from vsparagon.backends import ON_CPU, ON_GPU, choose_backend, choose_precision, describe
from vsparagon.backends.base import EitherRuntime, FrameBackend, PictureBackend
from vsparagon.device import gpus
from vsparagon.device.gpus import Gpu
from vsparagon.errors import BackendUnavailable, InvalidInput
from vsparagon.geometry.extension import Sizes
from vsparagon.models.model import Model

CARD = Gpu(name="Some Card", capability=(8, 9))


class OnGpu(FrameBackend):
    precisions = ("fp16",)

    def __init__(self, name):
        self.name, self.place, self.device = name, "cuda:0 (Some Card)", "cuda:0"
        self.runs_graphs = name != "torch"


class OnCpu(PictureBackend):
    precisions = ("fp32",)

    def __init__(self, name, why):
        super().__init__(why)
        self.name = name


class Pretended(EitherRuntime):
    """A runtime that works on the GPU or only on the CPU, or that is broken or not installed."""

    def __init__(self, name, state):
        self.name, self.extra, self._state = name, name, state

    def missing(self):
        return f"{self.name} not installed; pip install it" if self._state == "missing" else ""

    def cpu(self, why=""):
        return OnCpu(self.name, why)

    def on(self, device_id):
        if self._state == "broken":
            raise BackendUnavailable("too old a card")
        return OnGpu(self.name) if self._state == "gpu" else self.cpu()


for pretence in (OnGpu, OnCpu, Pretended):
    pretence.__abstractmethods__ = frozenset()  # none of them is called


@pytest.fixture
def machine(monkeypatch):
    """Pretend that the given backends have these states and the others are missing, on a machine with one GPU."""

    def pretend(**states):
        names = dict.fromkeys((*ON_CPU, *ON_GPU))
        pretended = {name: Pretended(name, states.get(name, "missing")) for name in names}
        monkeypatch.setattr(backends, "RUNTIMES", pretended)
        monkeypatch.setattr(backends, "gpus", lambda: (CARD,))

    return pretend


@pytest.mark.parametrize("first", range(len(ON_GPU)))
def test_first_that_works_on_the_gpu_is_taken_and_the_log_says_why(first, machine, caplog):
    machine(openvino="cpu", **dict.fromkeys(ON_GPU[first:], "gpu"))
    with caplog.at_level("INFO"):
        chosen = choose_backend("auto")
    assert (chosen.name, chosen.place) == (ON_GPU[first], "cuda:0 (Some Card)")
    passed = "; ".join(f"{name} ({name} not installed; pip install it)" for name in ON_GPU[:first]) or "none"
    assert caplog.messages == [f"backend auto chose {ON_GPU[first]} on cuda:0 (Some Card); not usable: {passed}"]


def test_order_is_that_of_speed():
    assert ON_GPU == ("tensorrt", "tensorrt_rtx", "torch", "onnxruntime")
    assert ON_CPU == ("openvino", "onnxruntime", "torch")
    assert set(backends.RUNTIMES) == {*ON_GPU, *ON_CPU}


def test_what_is_installed_but_does_not_work_is_passed_by(machine, caplog):
    machine(tensorrt="broken", torch="cpu", onnxruntime="gpu", openvino="cpu")
    with caplog.at_level("INFO"):
        assert choose_backend("auto").name == "onnxruntime"
    assert "tensorrt (too old a card); tensorrt_rtx (tensorrt_rtx not installed; pip install it); torch (only on CPU)" \
        in caplog.text  # fmt: skip
    with pytest.raises(BackendUnavailable, match="backend 'tensorrt' cannot be used: too old a card"):
        choose_backend("tensorrt")


def test_gpu_that_nothing_can_use_leaves_the_cpu_with_a_warning(machine, caplog):
    machine(torch="broken", onnxruntime="cpu")
    assert choose_backend("auto").name == "onnxruntime"
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "no backend can use the GPU: " in caplog.text
    assert "torch (too old a card)" in caplog.text


def test_gpu_that_is_asked_for_is_not_silently_the_cpu(machine):
    machine(torch="broken", openvino="cpu")
    with pytest.raises(BackendUnavailable, match=r"device_id is 1, but no backend can use that GPU: .*too old a card"):
        choose_backend("auto", 1)


GRAPH = Model(name="net.onnx", scale=2, graph=Path("net.onnx"), checkpoint=None, sizes=Sizes(), shift=0)
FIXED = replace(GRAPH, sizes=Sizes(fixed=(64, 64)))


def test_graphs_of_others_go_where_they_can_be_run_and_the_log_says_why(machine, caplog):
    machine(torch="gpu", onnxruntime="gpu", openvino="cpu")
    with caplog.at_level(logging.INFO):
        found = choose_backend("auto", model=GRAPH)
    assert (found.name, isinstance(found, FrameBackend)) == ("onnxruntime", True)
    assert "torch (only on CPU, because it runs checkpoints, and net.onnx is an ONNX file)" in caplog.text
    assert choose_backend("auto", model=replace(GRAPH, checkpoint=Path("net.pth"))).name == "torch"
    found = choose_backend("auto", model=FIXED)
    assert (found.name, isinstance(found, PictureBackend)) == ("openvino", True)
    assert "no backend can use the GPU: " in caplog.text
    assert "onnxruntime (only on CPU, because net.onnx takes pictures of one size only)" in caplog.text
    caplog.set_level(logging.INFO)
    for name, model in (("torch", GRAPH), ("onnxruntime", FIXED)):
        assert isinstance(choose_backend(name, model=model), PictureBackend)
        assert f"backend {name} is on the CPU, because " in caplog.text
    with pytest.raises(
        BackendUnavailable, match=r"'onnxruntime' cannot be used: net\.onnx takes pictures of one size only"
    ):
        choose_backend("onnxruntime", 1, model=FIXED)


def test_graphs_are_computed_on_a_gpu_in_the_type_they_are_written_in():
    backend = OnGpu("onnxruntime")
    assert choose_precision(backend, "auto", GRAPH) == "fp32"
    assert choose_precision(backend, "auto", replace(GRAPH, is_half=True)) == "fp16"
    with pytest.raises(InvalidInput, match=r"precision is 'fp16', but net\.onnx is in fp32, which a GPU"):
        choose_precision(backend, "fp16", GRAPH)


def test_backends_explains(machine):
    machine(tensorrt="broken", torch="gpu", openvino="cpu")
    assert set(describe()) == {
        "tensorrt: too old a card",
        "tensorrt_rtx: tensorrt_rtx not installed; pip install it",
        "torch: available on cuda:0 (Some Card)",
        "onnxruntime: onnxruntime not installed; pip install it",
        "openvino: available on CPU",
        "auto: torch on cuda:0 (Some Card)",
    }
    machine()
    assert len(vs.core.paragon.Backends()) == 5
    assert not any("available" in str(line) for line in vs.core.paragon.Backends())


class DriverLibrary:
    """A stand-in for a library of the driver, with its functions by name."""

    def __init__(self, **functions):
        self.__dict__.update(functions)


def version_into(buffer, size):
    buffer.value = b"580.65.06"
    return 0


def number_into(reference):
    reference._obj.value = 13020
    return 0


@pytest.mark.parametrize(
    ("management", "expected"),
    [
        (DriverLibrary(nvmlInit_v2=lambda: 0, nvmlSystemGetDriverVersion=version_into), "580.65.06"),
        (DriverLibrary(nvmlInit_v2=lambda: 9), "CUDA 13.2"),
        (None, "CUDA 13.2"),
    ],
    ids=["management", "failing management", "no management"],
)
def test_driver_tells_its_version(management, expected, monkeypatch):
    def load(name):
        if name == gpus.DRIVER:
            return DriverLibrary(cuDriverGetVersion=number_into)
        if management is None:
            raise OSError(name)
        return management

    monkeypatch.setattr(ctypes, "CDLL", load)
    assert gpus.driver_version.__wrapped__() == expected
