"""Describe the machine on which the figures were measured."""

from __future__ import annotations

import os
import platform
from pathlib import Path

from vsparagon.device.gpus import driver_version, gpus
from vsparagon.extras import version_of
from vsparagon.system.machine import processor_name

PACKAGES = (
    "vsparagon", "vapoursynth", "numpy", "openvino", "onnxruntime", "onnxruntime-gpu", "torch", "tensorrt",
    "tensorrt-rtx", "vapoursynth-mlrt-ov", "vapoursynth-mlrt-ort", "vapoursynth-znedi3",
)  # fmt: skip
# Features of a processor that decide how fast it multiplies.
FEATURES = ("avx2", "avx512f", "avx512_bf16", "amx_tile")


def describe(*, with_ffmpeg: bool) -> dict[str, str]:
    """Return hardware and versions by their names, without those that are unknown or not installed.

    Args:
        with_ffmpeg: whether to include ffmpeg's version.

    Raises:
        ParagonError: ffmpeg is asked for, but missing.
    """
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


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    flags = next((line.partition(":")[2].split() for line in lines if line.startswith("flags")), [])
    has = " ".join(name if name in flags else f"no-{name}" for name in FEATURES) if flags else ""
    return f"{processor_name()} {has}".strip()


def _memory() -> str:
    if not hasattr(os, "sysconf"):
        return ""
    return f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB"
