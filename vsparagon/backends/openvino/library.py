"""Imports OpenVINO's own module, once and without its converter, and starts its core."""

from __future__ import annotations

import os
import sys
import threading
from functools import cache
from importlib import import_module
from typing import Any

import numpy as np

from vsparagon.errors import reason_of
from vsparagon.system.forks import check_process

_starting = threading.RLock()  # reentrant, because making the core imports OpenVINO
_process = 0  # the one that made the core


def openvino_core() -> Any:
    """Return this process's only OpenVINO core. Thread-safe.

    OpenVINO's CPU plugin gives the thread that loads it a signal stack, and frees that stack with its core. Where cores
    are not freed in the order of their creation, the thread is left with a stack that is gone, and the next signal,
    such as Ctrl-C's, ends the process (2026.4).

    Raises:
        BackendFailure: this process is a fork of the one that made the core.
    """
    with _starting:
        core = _core()
        check_process(_process)
        return core


@cache
def _core() -> Any:
    global _process
    openvino = import_openvino()
    # OpenVINO prepares the conversion to numpy's types when it is first used, and meanwhile lets other Python threads
    # run: the next one to use it would hold Python's lock, which the first one needs to go on (2026.4).
    openvino.Tensor(np.zeros(1, np.float32)).data  # noqa: B018
    _process = os.getpid()
    return openvino.Core()


def has_avx512() -> bool:
    """Return whether OpenVINO uses AVX-512 on this processor, with which it can also compute by Winograd's method."""
    return "WINOGRAD" in openvino_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def computes_bfloat16() -> bool:
    """Return whether OpenVINO computes in bfloat16 on this processor; if not, it uses float32 without a word.

    With AVX-512 it does, even where no instruction multiplies bfloat16.
    """
    return has_avx512() or "BF16" in openvino_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def is_left_behind() -> bool:
    """Return whether this process is a fork of one that made its core, whose threads it lacks."""
    return _process not in (0, os.getpid())


def import_trouble() -> str:
    """Return why OpenVINO cannot be used in this process, or "" if it can."""
    return "openvino was started before this process was forked" if is_left_behind() else _import_trouble()


@cache
def _import_trouble() -> str:
    try:
        import_openvino()
    except ImportError as error:
        return f"openvino cannot be imported ({reason_of(error)})"
    return ""


def import_openvino() -> Any:
    """Import OpenVINO without its converter. Thread-safe.

    The converter takes as long to import as the rest, and forks this process to send telemetry.

    Raises:
        ImportError: it cannot be imported.
    """
    name = "openvino.tools.ovc"
    with _starting:
        if "openvino" in sys.modules or name in sys.modules:
            return import_module("openvino")
        sys.modules[name] = None  # type: ignore[assignment]  # makes the import fail; OpenVINO then does without
        try:
            openvino: Any = import_module("openvino")
        finally:
            del sys.modules[name]
        openvino.__getattr__ = _wanted_later
        return openvino


def _wanted_later(name: str) -> Any:
    """Import what `import_openvino` left out, when other code in this process asks for it."""
    if name == "convert_model":
        return import_module("openvino.tools.ovc").convert_model
    raise AttributeError(f"module 'openvino' has no attribute {name!r}")
