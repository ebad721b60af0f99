"""The NVIDIA GPUs of this machine, asked of their driver: no other library is loaded for that."""

from __future__ import annotations

import ctypes
import sys
from dataclasses import dataclass
from functools import cache

DRIVER = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
MAJOR, MINOR = 75, 76  # of the driver's numbers for what it can be asked about a device


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """A GPU as CUDA numbers them.

    Attributes:
        name: as its maker calls it.
        capability: CUDA's version of what it can compute: major, minor.
    """

    name: str
    capability: tuple[int, int]


@cache
def gpus() -> tuple[Gpu, ...]:
    """Return the GPUs that this process may use; none where there is no driver."""
    try:
        driver = ctypes.CDLL(DRIVER)
    except OSError:
        return ()
    count = ctypes.c_int()
    if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)):
        return ()
    return tuple(_gpu(driver, ordinal) for ordinal in range(count.value))


def _gpu(driver: ctypes.CDLL, ordinal: int) -> Gpu:
    device, name = ctypes.c_int(), ctypes.create_string_buffer(256)
    driver.cuDeviceGet(ctypes.byref(device), ordinal)
    driver.cuDeviceGetName(name, len(name), device)
    capability = []
    for attribute in (MAJOR, MINOR):
        value = ctypes.c_int()
        driver.cuDeviceGetAttribute(ctypes.byref(value), attribute, device)
        capability.append(value.value)
    return Gpu(name=name.value.decode(errors="replace"), capability=(capability[0], capability[1]))
