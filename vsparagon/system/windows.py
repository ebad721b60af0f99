"""Queries to Windows; call them only there.

Source: Microsoft's documentation of GlobalMemoryStatusEx, GetFileVersionInfo and VS_FIXEDFILEINFO.
"""

from __future__ import annotations

import ctypes
from typing import Any, Final

RUNTIME: Final = "msvcp140.dll"  # of Microsoft's C++ runtime
RUNTIME_WANTED: Final = (14, 50)  # version that VapourSynth R81 expects
RUNTIME_ADVICE: Final = "install Microsoft's C++ runtime: https://aka.ms/vc14/vc_redist.x64.exe"


class _MemoryStatus(ctypes.Structure):
    _fields_ = (
        ("length", ctypes.c_uint32),
        ("load", ctypes.c_uint32),
        ("total", ctypes.c_uint64),
        ("available", ctypes.c_uint64),
        ("rest", ctypes.c_uint64 * 5),
    )


def available_memory() -> int:
    """Return the available physical memory, in bytes."""
    status = _MemoryStatus(length=ctypes.sizeof(_MemoryStatus))
    _library("kernel32").GlobalMemoryStatusEx(ctypes.byref(status))
    return int(status.available)


def processor_name() -> str:
    """Return the processor's name from the registry, or ""."""
    import winreg

    registry: Any = winreg  # type checkers on other systems see an empty module
    path = r"HARDWARE\DESCRIPTION\System\CentralProcessor\0"
    try:
        with registry.OpenKey(registry.HKEY_LOCAL_MACHINE, path) as key:
            return str(registry.QueryValueEx(key, "ProcessorNameString")[0]).strip()
    except OSError:
        return ""


def library_version(name: str) -> tuple[int, int, int]:
    """Return the version of the library (.dll) of this name that this process loads.

    Raises:
        OSError: it cannot be loaded, or has no version.
    """
    ctypes.CDLL(name)  # it stays loaded
    kernel, path = _library("kernel32"), ctypes.create_unicode_buffer(1024)
    kernel.GetModuleHandleW.restype = ctypes.c_void_p
    kernel.GetModuleFileNameW(ctypes.c_void_p(kernel.GetModuleHandleW(name)), path, len(path))
    version = _library("version")
    content = ctypes.create_string_buffer(version.GetFileVersionInfoSizeW(path, None))
    found, length = ctypes.POINTER(ctypes.c_uint32)(), ctypes.c_uint32()
    if not version.GetFileVersionInfoW(path, 0, len(content), content) or not version.VerQueryValueW(
        content, "\\", ctypes.byref(found), ctypes.byref(length)
    ):
        raise OSError(f"{path.value} has no version")
    first, second = found[2], found[3]  # two 16-bit numbers each
    return first >> 16, first & 0xFFFF, second >> 16


def _library(name: str) -> Any:
    loader: Any = ctypes
    return loader.WinDLL(f"{name}.dll")
