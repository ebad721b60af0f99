"""ONNX Runtime's own module, which is to report to nobody."""

from __future__ import annotations

import os
from functools import cache
from typing import Any


@cache
def onnxruntime_module() -> Any:
    """Return the module `onnxruntime`, imported now if it was not.

    From 1.29 on its packages for Linux send what networks and devices they meet to Microsoft, and keep a number for the
    machine in the user's cache folder, unless a variable says otherwise before that; those for Windows have a function.
    Whoever wants that sets the variable himself.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    onnxruntime.disable_telemetry_events()
    return onnxruntime
