"""The runtimes that can run a network, and the choice among them.

base.py            the contract: a `Runtime` may be installed; a `Backend` is a runtime on one device
options.py         what a backend is told besides the model
session.py         open models on the CPU
frame_session.py   open models on a device (`vsparagon.device`)

A package for each library: `openvino`, `onnxruntime`, `torch` and `tensorrt`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator

from vsparagon.backends.base import Backend, CpuRuntime, EitherRuntime, FrameBackend, PictureBackend, Runtime
from vsparagon.backends.onnxruntime import OnnxRuntime
from vsparagon.backends.openvino import OpenVINO
from vsparagon.backends.options import Precision
from vsparagon.backends.tensorrt import TensorRT
from vsparagon.backends.torch import Torch
from vsparagon.device.gpus import gpus
from vsparagon.engines.build import LIBRARIES
from vsparagon.errors import BackendUnavailable, InvalidInput
from vsparagon.models.model import Model

log = logging.getLogger(__name__)

RUNTIMES: dict[str, Runtime] = {
    runtime.name: runtime
    for runtime in (OpenVINO(), OnnxRuntime(), Torch(), *(TensorRT(library) for library in LIBRARIES))
}
# In the order in which "auto" tries them. On the CPU, the fastest is first; on a GPU, TensorRT is expected to be.
ON_GPU = ("tensorrt", "tensorrt_rtx", "torch", "onnxruntime")
ON_CPU = ("openvino", "onnxruntime", "torch")


def describe() -> list[str]:
    """Return one line per runtime: its name, then where it runs or why it cannot.

    A last line says what "auto" chooses, where it finds a backend.
    """
    states = {name: available_on(runtime) for name, runtime in RUNTIMES.items()}
    lines = [f"{name}: {state or why}" for name, (state, why) in states.items()]
    try:
        chosen = choose_backend("auto")
    except BackendUnavailable:
        return lines
    return [*lines, f"auto: {chosen.name} on {chosen.place}"]


def available_on(runtime: Runtime) -> tuple[str, str]:
    """Return ("available on PLACE", "") for a runtime that works on device 0, else ("", reason)."""
    try:
        return f"available on {_bound(runtime, 0, None).place}", ""
    except BackendUnavailable as error:
        return "", str(error)


def choose_backend(name: str, device_id: int = 0, *, model: Model | None = None) -> Backend:
    """Return the runtime of this name on a device; for "auto", the first one that works here.

    A named runtime that has a CPU form falls back to it, with a warning, if it cannot use the GPU or run `model` on it.

    Args:
        name: a name in `RUNTIMES`, or "auto", which tries GPUs first.
        device_id: number of the GPU; where only the CPU is used, it must be 0.
        model: what is to be run; None for any of this project's networks.

    Raises:
        InvalidInput: unknown name, or no such device.
        BackendUnavailable: the backend (for "auto": every one) lacks something or cannot run `model`; the message
            says what to do.
    """
    if name == "auto":
        return (_first_on_gpu(device_id, model) if gpus() else None) or _first_on_cpu(device_id)
    if name not in RUNTIMES:
        raise InvalidInput(f"unknown backend {name!r}; the backends are auto, {', '.join(RUNTIMES)}.")
    try:
        found = _bound(RUNTIMES[name], device_id, model)
    except BackendUnavailable as error:
        raise BackendUnavailable(f"backend {name!r} cannot be used: {str(error).rstrip('.')}.") from error
    if gpus() and isinstance(RUNTIMES[name], EitherRuntime) and isinstance(found, PictureBackend):
        log.warning("backend %s is on the %s", name, found.place)
    return found


def _bound(runtime: Runtime, device_id: int, model: Model | None) -> Backend:
    """Return a runtime on a device; on the CPU, if it works there and the GPU is no place for the model.

    Raises:
        InvalidInput: no such device.
        BackendUnavailable: it lacks something or cannot run the model there.
    """
    if missing := runtime.missing():
        raise BackendUnavailable(missing)
    backend = runtime.on(device_id)
    if model is None or not isinstance(backend, FrameBackend) or not (refusal := backend.refusal(model)):
        return backend
    if isinstance(runtime, CpuRuntime) and device_id == 0:
        return runtime.cpu(f"because {refusal}")
    raise BackendUnavailable(f'{refusal}; backend="openvino" runs it on the CPU')


def _first_on_gpu(device_id: int, model: Model | None) -> Backend | None:
    """Return the first of `ON_GPU` that works on this device and log why those before it do not; None if none works.

    Raises:
        BackendUnavailable: none works, and the device is not 0.
    """
    passed: list[str] = []
    for name in ON_GPU:
        try:
            backend = _bound(RUNTIMES[name], device_id, model)
        except BackendUnavailable as error:
            passed.append(f"{name} ({error})")
            continue
        if isinstance(backend, FrameBackend):
            log.info("backend auto chose %s on %s; not usable: %s", name, backend.place, "; ".join(passed) or "none")
            return backend
        passed.append(f"{name} (only on {backend.place})")
    if device_id:
        raise BackendUnavailable(f"device_id is {device_id}, but no backend can use that GPU: {'; '.join(passed)}.")
    log.warning("no backend can use the GPU: %s", "; ".join(passed))
    return None


def _first_on_cpu(device_id: int) -> Backend:
    for runtime in _cpu_runtimes():
        if not runtime.missing():
            return runtime.on_cpu(device_id)
    lacks = "; ".join(f"{runtime.name}: {runtime.missing()}" for runtime in _cpu_runtimes())
    raise BackendUnavailable(f"no backend can be used: {lacks}.")


def _cpu_runtimes() -> Iterator[CpuRuntime]:
    for runtime in (RUNTIMES[name] for name in ON_CPU):
        assert isinstance(runtime, CpuRuntime)
        yield runtime


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
            if precision == "int8" and model and model.quantised is None:
                raise InvalidInput(
                    f"precision is {name!r}, but {model.name} has no int8 weights; leave precision= out, or use swift, "
                    "swift_lite or swift_plus."
                )
            if backend.lacks(precision):
                raise InvalidInput(
                    f"precision is {name!r}, but this processor does not compute in {precision}; leave precision= out."
                )
            return precision
    others = (other for other in _cpu_runtimes() if not other.missing() and name in other.cpu().precisions)
    other = next(others, None)
    advice = f"; choose one of these, or backend={other.name!r}, on the CPU" if other else ""
    raise InvalidInput(
        f"precision is {name!r}; the backend {backend.name!r} supports auto, {', '.join(backend.precisions)}{advice}."
    )
