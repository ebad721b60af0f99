"""What the figures were measured on."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from vsparagon.backends.cuda import driver_version, gpus

PACKAGES = (
    "vsparagon", "vapoursynth", "numpy", "openvino", "onnxruntime", "onnxruntime-gpu", "torch", "tensorrt",
    "tensorrt-rtx", "vapoursynth-mlrt-ov", "vapoursynth-mlrt-ort", "vapoursynth-znedi3",
)  # fmt: skip
# Of the processor, that decide how fast it multiplies.
FEATURES = ("avx2", "avx512f", "avx512_bf16", "amx_tile")


def describe(*, with_ffmpeg: bool) -> dict[str, str]:
    """Return hardware and versions, by what they are."""
    facts = {
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "memory": _memory(),
        "GPUs": ", ".join(gpu.name for gpu in gpus()),
        "driver": driver_version() if gpus() else "",
        "system": platform.platform(),
        "Python": platform.python_version(),
    }
    facts |= {name: version_of(name) for name in PACKAGES}
    if with_ffmpeg:
        from vsparagon.ffmpeg import ffmpeg_version, find_ffmpeg

        facts["ffmpeg"] = ffmpeg_version(find_ffmpeg())
    return {name: text for name, text in facts.items() if text}


def version_of(package: str) -> str:
    """Return the version of an installed package, or ""."""
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    told = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    flags = told.get("flags", "").split()
    has = " ".join(name if name in flags else f"no-{name}" for name in FEATURES) if flags else ""
    return " ".join(filter(None, [told.get("model name") or platform.processor() or platform.machine(), has]))


def _memory() -> str:
    if not hasattr(os, "sysconf"):
        return ""
    return f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB"
