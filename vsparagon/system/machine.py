"""What the machine offers: memory, threads, the Python interpreter, the processor's name."""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path

from vsparagon.system import windows
from vsparagon.system.cgroups import memory_left

MEBIBYTE = 1 << 20


def available_memory() -> int:
    """Return the memory available without swapping, in MiB, within the limit of a container if there is one.

    On systems that report neither of these, such as macOS, all physical memory.
    """
    if sys.platform == "win32":
        return windows.available_memory() // MEBIBYTE
    found = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    found += [int(line.split()[1]) * 1024 for line in _lines("/proc/meminfo") if line.startswith("MemAvailable:")]
    if (left := memory_left()) is not None:
        found.append(left)
    return min(found) // MEBIBYTE


def usable_threads() -> int:
    """Return how many hardware threads this process may use, at least 1; its CPU affinity is respected."""
    if hasattr(os, "process_cpu_count"):  # since Python 3.13
        return os.process_cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def python_executable() -> str:
    """Return the path of this Python's interpreter, even if Python is embedded in another program, such as vspipe.

    Raises:
        OSError: it is not found.
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
    """Return the processor's name, or its architecture if the system reports no name."""
    names = [line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    if sys.platform == "win32":
        names.append(windows.processor_name())
    return next(filter(None, names), platform.processor() or platform.machine())


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
