"""The runtimes that can run a network, and the choice among them."""

from __future__ import annotations

from vsparagon.backends.base import Backend, Precision
from vsparagon.backends.onnxruntime import OnnxRuntime
from vsparagon.backends.openvino import OpenVINO
from vsparagon.backends.torch import Torch
from vsparagon.errors import BackendUnavailable, InvalidInput

# In the order in which "auto" tries them.
BACKENDS: dict[str, Backend] = {backend.name: backend for backend in (OpenVINO(), OnnxRuntime(), Torch())}


def describe() -> list[str]:
    """Return one line for each backend: its name, and "available" or why not."""
    return [f"{name}: {backend.missing() or 'available'}" for name, backend in BACKENDS.items()]


def choose_backend(name: str) -> Backend:
    """Return the backend of that name, or for "auto" the first that can be used here.

    Raises:
        InvalidInput: unknown name.
        BackendUnavailable: it, or for "auto" every one, lacks something; the message says what to install.
    """
    if name == "auto":
        for backend in BACKENDS.values():
            if not backend.missing():
                return backend
        raise BackendUnavailable("no backend can be used: " + "; ".join(describe()) + ".")
    if name not in BACKENDS:
        raise InvalidInput(f"unknown backend {name!r}; the backends are auto, {', '.join(BACKENDS)}.")
    backend = BACKENDS[name]
    if missing := backend.missing():
        raise BackendUnavailable(f"backend {name!r} cannot be used: {missing}.")
    return backend


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
