"""What the machine has to give."""

from __future__ import annotations

import ctypes
import os
import platform
import sys
from pathlib import Path

MEBIBYTE = 1 << 20
RUNTIME_ADVICE = "install Microsoft's C++ runtime: https://aka.ms/vc14/vc_redist.x64.exe"


def available_memory() -> int:
    """Return the MiB that programs can have without anything being swapped out; a container's limit is heeded."""
    if sys.platform == "win32":
        return _windows_memory()
    found = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    found += [int(line.split()[1]) * 1024 for line in _lines("/proc/meminfo") if line.startswith("MemAvailable:")]
    limit, used = ("".join(_lines(f"/sys/fs/cgroup/memory.{what}")).strip() for what in ("max", "current"))
    if limit.isdigit() and used.isdigit():
        found.append(max(0, int(limit) - int(used)))
    return min(found) // MEBIBYTE


def python_executable() -> str:
    """Return the interpreter of this Python, which may be within another program, such as vspipe.

    Raises:
        OSError: there is none.
    """
    here = Path(sys.executable or "")
    candidates = [here] if here.stem.lower().startswith("python") else []
    prefix = Path(sys.prefix)
    candidates += [prefix / "bin" / "python3", prefix / "python.exe", prefix / "Scripts" / "python.exe"]
    for candidate in candidates:
        if candidate.is_file():
            return str(candidate)
    raise FileNotFoundError(f"there is no Python in {prefix}")


def processor_name() -> str:
    """Return the processor's name, or its architecture where the system tells no name."""
    names = (line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="utf-8").splitlines()
    except OSError:
        return []


def _windows_memory() -> int:
    class Status(ctypes.Structure):
        _fields_ = (
            ("length", ctypes.c_uint32),
            ("load", ctypes.c_uint32),
            ("total", ctypes.c_uint64),
            ("available", ctypes.c_uint64),
            ("rest", ctypes.c_uint64 * 5),
        )

    status = Status(length=ctypes.sizeof(Status))
    ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status))  # type: ignore[attr-defined,unused-ignore]
    return int(status.available) // MEBIBYTE
