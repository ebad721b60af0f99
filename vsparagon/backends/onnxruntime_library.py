"""ONNX Runtime's own module, which is to report to nobody."""

from __future__ import annotations

import os
from functools import cache
from typing import Any


@cache
def onnxruntime_module() -> Any:
    """Return the module `onnxruntime`, imported now if it was not.

    Its packages for Linux, as of 1.32, are made to report to Microsoft, and keep a number for the machine in the user's
    cache folder, unless a variable says otherwise before they are imported; those for Windows have a function for that.
    Whoever wants reports sets the variable himself.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    onnxruntime.disable_telemetry_events()
    return onnxruntime
