"""ONNX Runtime's own module, which is to report to nobody."""

from __future__ import annotations

import os
from functools import cache
from typing import Any

from vsparagon.errors import BackendUnavailable, reason_of


@cache
def onnxruntime_module() -> Any:
    """Return the module `onnxruntime`, imported now if it was not.

    Its packages for Linux, as of 1.32, are made to report to Microsoft, and keep a number for the machine in the user's
    cache folder, unless a variable says otherwise before they are imported; those for Windows have a function for that.
    Whoever wants reports sets the variable himself.

    Raises:
        BackendUnavailable: it cannot be imported. Its packages for GPUs, from 1.27 on, look for CUDA 13 already then,
            and find that of torch, if torch was imported before.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        import onnxruntime
    except ImportError as error:
        raise BackendUnavailable(
            f"onnxruntime is installed but cannot be imported ({reason_of(error)}); install the onnxruntime-gpu for "
            "the CUDA version of your torch, or onnxruntime for the CPU only"
        ) from error

    onnxruntime.disable_telemetry_events()
    return onnxruntime
