"""The runtimes that can run a network, and the choice among them.

base.py                the contract: `PictureBackend` for the CPU, `FrameBackend` for a device
either.py              base class of runtimes that offer both
openvino               OpenVINO, on the CPU
onnxruntime.py         ONNX Runtime, on the CPU
onnxruntime_cuda.py    ONNX Runtime, on a GPU
onnxruntime_library.py imports ONNX Runtime with its telemetry off
torch.py               torch, on the CPU
torch_cuda.py          torch, on a GPU
tensorrt.py            TensorRT and TensorRT-RTX, on a GPU
tensorrt_executor.py   runs their engines
cuda.py                lists the GPUs
device.py              moves frames through a device: its lanes, their memory and their order
executor.py            the contract between a lane and what runs the network on it
recorded.py            CUDA graphs
trial.py               chooses between our own kernels (`vsparagon.fused`) and torch's
crashes.py             remembers where our kernels crashed
"""

from __future__ import annotations

import logging

from vsparagon.backends.base import Backend, FrameBackend, PictureBackend, Precision
from vsparagon.backends.cuda import gpus
from vsparagon.backends.onnxruntime import OnnxRuntime
from vsparagon.backends.openvino import OpenVINO
from vsparagon.backends.tensorrt import TensorRT
from vsparagon.backends.torch import Torch
from vsparagon.engines.build import LIBRARIES
from vsparagon.errors import BackendUnavailable, InvalidInput
from vsparagon.models.model import Model

log = logging.getLogger(__name__)

BACKENDS: dict[str, Backend] = {
    backend.name: backend
    for backend in (OpenVINO(), OnnxRuntime(), Torch(), *(TensorRT(library) for library in LIBRARIES))
}
# In the order in which "auto" tries them: fastest first.
ON_GPU = ("tensorrt", "tensorrt_rtx", "torch", "onnxruntime")
ON_CPU = ("openvino", "onnxruntime", "torch")


def describe() -> list[str]:
    """Return one line per backend: its name, then where it runs or why it cannot.

    A last line says what "auto" chooses, where it finds a backend.
    """
    states = {name: available_on(backend) for name, backend in BACKENDS.items()}
    lines = [f"{name}: {state or why}" for name, (state, why) in states.items()]
    try:
        chosen = choose_backend("auto")
    except BackendUnavailable:
        return lines
    return [*lines, f"auto: {chosen.name} on {chosen.place}"]


def available_on(backend: Backend) -> tuple[str, str]:
    """Return ("available on PLACE", "") for a backend that works on device 0, else ("", reason)."""
    if missing := backend.missing():
        return "", missing
    try:
        return f"available on {backend.on(0).place}", ""
    except BackendUnavailable as error:
        return "", str(error)


def choose_backend(name: str, device_id: int = 0, *, model: Model | None = None) -> Backend:
    """Return the backend of this name on a device; for "auto", the first one that works here.

    A named backend that has a CPU form falls back to it where the GPU cannot run `model`, and logs that.

    Args:
        name: a name in `BACKENDS`, or "auto", which tries GPUs first.
        device_id: number of the GPU; where only the CPU is used, it must be 0.
        model: what is to be run; None for any of this project's networks.

    Raises:
        InvalidInput: unknown name, or no such device.
        BackendUnavailable: the backend (for "auto": every one) lacks something or cannot run `model`; the message
            says what to do.
    """
    if name == "auto":
        return (_first_on_gpu(device_id, model) if gpus() else None) or _first_on_cpu(device_id)
    if name not in BACKENDS:
        raise InvalidInput(f"unknown backend {name!r}; the backends are auto, {', '.join(BACKENDS)}.")
    backend = BACKENDS[name]
    if missing := backend.missing():
        raise BackendUnavailable(f"backend {name!r} cannot be used: {missing}.")
    try:
        found = backend.on(device_id)
    except BackendUnavailable as error:
        raise BackendUnavailable(f"backend {name!r} cannot be used: {error}") from error
    if not (why := _refusal(found, model)):
        return found
    if isinstance(backend, PictureBackend):
        log.info("backend %s runs on the CPU instead of the GPU: %s", name, why)
        return backend.on_cpu(device_id)
    raise BackendUnavailable(f'backend {name!r} cannot be used: {why}; backend="openvino" runs it on the CPU.')


def _refusal(backend: Backend, model: Model | None) -> str:
    return backend.refusal(model) if model and isinstance(backend, FrameBackend) else ""


def _first_on_gpu(device_id: int, model: Model | None) -> Backend | None:
    """Return the first of `ON_GPU` that works on this device and log why those before it do not; None if none works.

    Raises:
        BackendUnavailable: none works, and the device is not 0.
    """
    passed: list[str] = []
    for name in ON_GPU:
        why = BACKENDS[name].missing()
        if not why:
            try:
                backend = BACKENDS[name].on(device_id)
            except BackendUnavailable as error:
                why = str(error)
            else:
                why = _refusal(backend, model)
                if isinstance(backend, FrameBackend) and not why:
                    log.info("backend auto chose %s on %s; not usable: %s", name, backend.place, _told(passed))
                    return backend
                why = why or f"only on {backend.place}"
        passed.append(f"{name} ({why})")
    if device_id:
        raise BackendUnavailable(f"device_id is {device_id}, but no backend can use that GPU: {_told(passed)}.")
    log.warning("no backend can use the GPU: %s", _told(passed))
    return None


def _first_on_cpu(device_id: int) -> Backend:
    for name in ON_CPU:
        if not BACKENDS[name].missing():
            return BACKENDS[name].on_cpu(device_id)
    lacks = "; ".join(f"{name}: {BACKENDS[name].missing()}" for name in ON_CPU)
    raise BackendUnavailable(f"no backend can be used: {lacks}.")


def _told(passed: list[str]) -> str:
    return "; ".join(passed) or "none"


def choose_precision(backend: Backend, name: str, model: Model | None = None) -> Precision:
    """Return the precision of this name; for "auto", the first that the backend lists.

    On a GPU, an ONNX file is computed in the type it is written in, and in no other.

    Args:
        backend: what computes.
        name: a precision, or "auto".
        model: what is to be run; None if any model will do.

    Raises:
        InvalidInput: unknown name, or a precision that the backend or the model does not support.
    """
    if model and model.checkpoint is None and isinstance(backend, FrameBackend):
        written: Precision = "fp16" if model.is_half else "fp32"
        if name in ("auto", written):
            return written
        raise InvalidInput(
            f"precision is {name!r}, but {model.name} is in {written}, which a GPU cannot change; "
            "leave precision= out, or export the file in another precision."
        )
    for precision in backend.precisions:
        if name in ("auto", precision):
            if precision == "int8" and model and model.rounded is None:
                raise InvalidInput(
                    f"precision is {name!r}, but {model.name} has no int8 weights; leave precision= out, or use swift, "
                    "swift_lite or swift_plus."
                )
            return precision
    elsewhere = [other for other in ON_CPU if name in BACKENDS[other].precisions]
    advice = f"; choose one of these, or backend={elsewhere[0]!r}, on the CPU" if elsewhere else ""
    raise InvalidInput(
        f"precision is {name!r}; the backend {backend.name!r} supports auto, {', '.join(backend.precisions)}{advice}."
    )
