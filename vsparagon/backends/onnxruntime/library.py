"""Imports ONNX Runtime's own module, with telemetry off."""

from __future__ import annotations

import os
from functools import cache
from typing import Any

from vsparagon.errors import BackendUnavailable, reason_of


@cache
def onnxruntime_module() -> Any:
    """Import the module `onnxruntime`, with its telemetry switched off.

    As of 1.32 its Linux packages report to Microsoft and keep a machine number in the user's cache folder, unless the
    environment variable ORT_DISABLE_TELEMETRY is set before the import. It is set here, unless the user has set it.
    The Windows packages have a function for the same purpose.

    Raises:
        BackendUnavailable: it cannot be imported. From 1.27 on, the GPU packages need CUDA 13 at import; they find
            torch's copy if torch was imported first.
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
