"""The NVIDIA GPUs of this machine, found through the driver's own libraries alone, and whether torch can use them."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, wraps

from vsparagon.errors import OUT_OF_MEMORY, InvalidInput, first_line_of

DRIVER = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
MANAGEMENT = "nvml.dll" if sys.platform == "win32" else "libnvidia-ml.so.1"
MAJOR, MINOR = 75, 76  # the driver's attribute numbers for compute capability


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """A GPU.

    Attributes:
        name: its product name.
        capability: its CUDA compute capability: major, minor.
    """

    name: str
    capability: tuple[int, int]


@cache
def gpus() -> tuple[Gpu, ...]:
    """Return the GPUs that this process may use, by device_id in CUDA's order; () where there is no driver."""
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


@cache
def driver_version() -> str:
    """Return the driver's version or, where its management library (NVML) is missing, the CUDA version it supports.

    Raises:
        OSError: there is no driver.
    """
    text = ctypes.create_string_buffer(80)
    try:
        management = ctypes.CDLL(MANAGEMENT)
    except OSError:
        management = None
    if management and not (management.nvmlInit_v2() or management.nvmlSystemGetDriverVersion(text, len(text))):
        return text.value.decode()
    number = ctypes.c_int()
    ctypes.CDLL(DRIVER).cuDriverGetVersion(ctypes.byref(number))
    return f"CUDA {number.value // 1000}.{number.value % 1000 // 10}"


def cached_unless_out_of_memory[**Arguments](trouble: Callable[Arguments, str]) -> Callable[Arguments, str]:
    """Cache the answers of a check, except "out of memory", which may pass.

    Args:
        trouble: returns why a GPU cannot be used, or "" if it can.
    """
    known: dict[str, str] = {}

    @wraps(trouble)
    def remembering(*args: Arguments.args, **kwargs: Arguments.kwargs) -> str:
        question = repr((args, kwargs))
        if question in known:
            return known[question]
        answer = trouble(*args, **kwargs)
        if not OUT_OF_MEMORY.search(answer):
            known[question] = answer
        return answer

    return remembering


def torch_trouble(device_id: int) -> str:
    """Return why torch cannot compute on a GPU, or "" if it can.

    Raises:
        InvalidInput: there is no GPU of that number.
    """
    found = gpus()
    if not 0 <= device_id < len(found):
        names = ", ".join(f"{number}: {gpu.name}" for number, gpu in enumerate(found)) or "none"
        raise InvalidInput(f"device_id is {device_id}; the NVIDIA GPUs of this machine are {names}.")
    import torch

    if torch.version.cuda is None:
        return "this torch was built for the CPU only; install one for CUDA (https://pytorch.org/get-started)"
    if not torch.cuda.is_available():
        return f"torch was built for CUDA {torch.version.cuda}, which the driver does not support; update the driver"
    gpu = found[device_id]
    built = [int(arch.rpartition("_")[2].rstrip("af")) for arch in torch.cuda.get_arch_list()]
    oldest = min(built, default=0)
    if gpu.capability < divmod(oldest, 10):
        major, minor = gpu.capability
        return (
            f"{gpu.name} has compute capability {major}.{minor}, and this torch is for {oldest / 10} and later; "
            "install one that was built for it"
        )
    try:
        torch.ones(1, device=f"cuda:{device_id}").item()
    except RuntimeError as error:
        return f"{gpu.name} does not respond: {first_line_of(error)}"
    return ""
