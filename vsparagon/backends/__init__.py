"""The runtimes that can run a network, and the choice among them."""

from __future__ import annotations

from vsparagon.backends.base import Backend, FrameBackend, Precision
from vsparagon.backends.cuda import gpus
from vsparagon.backends.onnxruntime import OnnxRuntime
from vsparagon.backends.openvino import OpenVINO
from vsparagon.backends.torch import Torch
from vsparagon.errors import BackendUnavailable, InvalidInput

BACKENDS: dict[str, Backend] = {backend.name: backend for backend in (OpenVINO(), OnnxRuntime(), Torch())}
ON_GPU = ("torch",)  # in the order in which "auto" tries them, the fastest first


def describe() -> list[str]:
    """Return one line for each backend: its name, and "available" or why not."""
    return [f"{name}: {backend.missing() or 'available'}" for name, backend in BACKENDS.items()]


def choose_backend(name: str, device_id: int = 0, *, frames: bool = True) -> Backend:
    """Return the backend of that name on a device, or for "auto" the first that can be used here.

    Args:
        name: a name in `BACKENDS`, or "auto": GPUs come first.
        device_id: of a GPU.
        frames: whether what is to be run can be run by a `FrameBackend`.

    Raises:
        InvalidInput: unknown name, or no such device.
        BackendUnavailable: it, or for "auto" every one, lacks something; the message says what to install.
    """
    if name == "auto":
        return (frames and gpus() and _first_on_gpu(device_id)) or _first_on_cpu(device_id)
    if name not in BACKENDS:
        raise InvalidInput(f"unknown backend {name!r}; the backends are auto, {', '.join(BACKENDS)}.")
    backend = BACKENDS[name]
    if missing := backend.missing():
        raise BackendUnavailable(f"backend {name!r} cannot be used: {missing}.")
    return backend.on(device_id)


def _first_on_gpu(device_id: int) -> Backend | None:
    for name in ON_GPU:
        if not BACKENDS[name].missing():
            backend = BACKENDS[name].on(device_id)
            if isinstance(backend, FrameBackend):
                return backend
    return None


def _first_on_cpu(device_id: int) -> Backend:
    for backend in BACKENDS.values():
        if not backend.missing():
            return backend.on(device_id)
    raise BackendUnavailable("no backend can be used: " + "; ".join(describe()) + ".")


def choose_precision(backend: Backend, name: str) -> Precision:
    """Return the precision of that name, or for "auto" the backend's own choice.

    Raises:
        InvalidInput: unknown name, or one that the backend cannot compute in.
    """
    for precision in backend.precisions:
        if name in ("auto", precision):
            return precision
    raise InvalidInput(
        f"precision is {name!r}; the backend {backend.name!r} has auto, {', '.join(backend.precisions)}."
    )
