"""The networks, as torch modules. torch is imported when the first of them is asked for; `variants` needs none."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vsparagon.checkpoint import load_generator as load_generator
    from vsparagon.models.generators import create_generator as create_generator
    from vsparagon.models.munet import MUNet as MUNet
    from vsparagon.models.paragonsr2 import ParagonSR2 as ParagonSR2
    from vsparagon.models.swift import Swift as Swift

_HOMES = {
    "MUNet": "vsparagon.models.munet",
    "ParagonSR2": "vsparagon.models.paragonsr2",
    "Swift": "vsparagon.models.swift",
    "create_generator": "vsparagon.models.generators",
    "load_generator": "vsparagon.checkpoint",
}
__all__ = ["MUNet", "ParagonSR2", "Swift", "create_generator", "load_generator"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
