"""Which GPUs are found and whether they can be used, with stand-ins for the driver and for torch with CUDA."""

import ctypes
from pathlib import Path

import pytest
import vapoursynth as vs

torch = pytest.importorskip("torch", reason="devices are reached through torch")

from vsparagon import backends  # noqa: E402
from vsparagon.backends import base  # noqa: E402
from vsparagon.backends.base import FrameBackend, PictureBackend  # noqa: E402
from vsparagon.backends.torch import Torch  # noqa: E402
from vsparagon.device import gpus as device_gpus  # noqa: E402
from vsparagon.device.gpus import Gpu  # noqa: E402
from vsparagon.errors import BackendUnavailable, InvalidInput  # noqa: E402
from vsparagon.geometry.extension import Sizes  # noqa: E402
from vsparagon.models.model import Model  # noqa: E402

core = vs.core


class Driver:
    """A stand-in for libcuda with two GPUs."""

    def __init__(self, answer=0):
        self.answer = answer

    def cuInit(self, flags):  # noqa: N802
        return self.answer

    def cuDeviceGetCount(self, count):  # noqa: N802
        count._obj.value = 2
        return 0

    def cuDeviceGet(self, device, ordinal):  # noqa: N802
        device._obj.value = 40 + ordinal
        return 0

    def cuDeviceGetName(self, name, length, device):  # noqa: N802
        name.value = {40: b"Fast", 41: b"Slow"}[device.value]
        return 0

    def cuDeviceGetAttribute(self, value, attribute, device):  # noqa: N802
        value._obj.value = {(75, 40): 9, (76, 40): 0, (75, 41): 3, (76, 41): 7}[attribute, device.value]
        return 0


@pytest.fixture
def driver(monkeypatch):
    monkeypatch.setattr(ctypes, "CDLL", lambda name: Driver())
    device_gpus.gpus.cache_clear()
    yield
    device_gpus.gpus.cache_clear()


def test_the_driver_is_asked_for_gpus(driver):
    assert device_gpus.gpus() == (Gpu(name="Fast", capability=(9, 0)), Gpu(name="Slow", capability=(3, 7)))


def test_lack_of_memory_is_not_remembered_of_a_gpu():
    answers = iter(["CUDA out of memory", "it is too old", "asked again"])

    @device_gpus.cached_unless_out_of_memory
    def trouble(device_id):
        return next(answers)

    assert [trouble(0), trouble(0), trouble(0)] == ["CUDA out of memory", "it is too old", "it is too old"]
    assert trouble(1) == "asked again"


@pytest.mark.parametrize("answer", [100, None])
def test_no_driver_or_no_device_is_no_gpu(answer, monkeypatch):
    def load(name):
        if answer is None:
            raise OSError(name)
        return Driver(answer)

    monkeypatch.setattr(ctypes, "CDLL", load)
    device_gpus.gpus.cache_clear()
    assert device_gpus.gpus() == ()
    device_gpus.gpus.cache_clear()


@pytest.fixture
def torch_with_cuda(driver, monkeypatch):
    monkeypatch.setattr(torch.version, "cuda", "13.2")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: ["sm_75", "sm_90", "sm_90a", "sm_120"])
    ones = torch.ones
    monkeypatch.setattr(torch, "ones", lambda *sizes, device: ones(*sizes))


def test_a_gpu_that_torch_can_use_is_used(torch_with_cuda):
    backend = Torch().on(0)
    assert isinstance(backend, FrameBackend)
    assert (backend.device, backend.place, backend.precisions) == ("cuda:0", "cuda:0 (Fast)", ("fp16", "fp32"))


@pytest.mark.parametrize("device_id", [2, -1])
def test_a_device_that_is_not_there(device_id, torch_with_cuda):
    with pytest.raises(InvalidInput, match=rf"device_id is {device_id}; .* are 0: Fast, 1: Slow"):
        Torch().on(device_id)


def test_a_gpu_too_old_for_torch(torch_with_cuda):
    with pytest.raises(
        BackendUnavailable, match=r"device_id is 1, .*Slow has compute capability 3\.7, and this torch is for 7\.5"
    ):
        Torch().on(1)


def test_a_gpu_that_does_not_answer_leaves_the_cpu_and_says_why(torch_with_cuda, monkeypatch):
    def lost(*sizes, device):
        raise RuntimeError("CUDA error: device busy\nmore")

    monkeypatch.setattr(torch, "ones", lost)
    backend = Torch().on(0)
    assert isinstance(backend, PictureBackend)
    assert "CPU, because torch cannot use the GPU: Fast does not respond: CUDA error: device busy" in backend.place


@pytest.mark.parametrize(
    ("attribute", "value", "reason"),
    [
        ("torch.version.cuda", None, "this torch was built for the CPU only"),
        ("torch.cuda.is_available", lambda: False, "which the driver does not support; update the driver"),
    ],
)
def test_a_torch_without_cuda_or_a_driver_too_old(attribute, value, reason, torch_with_cuda, monkeypatch):
    monkeypatch.setattr(attribute, value)
    assert reason in device_gpus.torch_trouble(0)


def test_without_a_gpu_torch_is_on_the_cpu_and_says_so(monkeypatch, caplog):
    for module in (base, device_gpus):
        monkeypatch.setattr(module, "gpus", tuple)
    with caplog.at_level("INFO"):
        core.paragon.Upscale(core.std.BlankClip(width=64, height=48, length=1), backend="torch")
    assert "on torch, fp32, CPU, because there is no NVIDIA GPU, " in caplog.text
    with pytest.raises(vs.Error, match="device_id is 1; the NVIDIA GPUs of this machine are none"):
        core.paragon.Upscale(core.std.BlankClip(width=64, height=48, length=1), backend="torch", device_id=1)


def test_named_backend_that_cannot_use_the_gpu_warns(driver, monkeypatch, caplog):
    monkeypatch.setattr("torch.version.cuda", None)
    assert isinstance(backends.choose_backend("torch"), PictureBackend)
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert record.getMessage().startswith(
        "backend torch is on the CPU, because torch cannot use the GPU: this torch was"
    )


def test_auto_takes_a_gpu_that_works(torch_with_cuda, monkeypatch):
    monkeypatch.setattr(backends, "gpus", device_gpus.gpus)
    monkeypatch.setattr(backends, "ON_GPU", ("torch",))
    assert backends.choose_backend("auto").place == "cuda:0 (Fast)"
    graph = Model(name="net.onnx", scale=2, graph=Path("net.onnx"), checkpoint=None, sizes=Sizes(), shift=0)
    assert isinstance(backends.choose_backend("auto", model=graph), PictureBackend)
