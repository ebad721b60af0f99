"""Failures of a device, as errors of this project."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from vsparagon.errors import (
    OUT_OF_MEMORY,
    BackendFailure,
    OutOfDeviceMemory,
    ParagonError,
    first_line_of,
    runtime_failure,
)


def lack_of_memory(error: BaseException) -> BaseException | None:
    """Return the out-of-memory error behind an error of torch, or None if there is none.

    Running out of memory during a capture makes the end of the capture fail, too, with an error of its own.
    """
    for behind in (error, error.__context__):
        # cuDNN, cuBLAS, Triton and the launch of a CUDA graph report it as errors of other types.
        if isinstance(behind, torch.OutOfMemoryError) or (
            isinstance(behind, RuntimeError) and OUT_OF_MEMORY.search(str(behind))
        ):
            return behind
    return None


@contextmanager
def device_errors(place: str) -> Iterator[None]:
    """Turn a RuntimeError of torch about a device into an error of this project.

    Args:
        place: the device, for people.

    Raises:
        OutOfDeviceMemory: the device has not enough memory.
        BackendFailure: any other RuntimeError.
    """
    try:
        yield
    except ParagonError:
        raise
    except RuntimeError as error:
        failure = runtime_failure(f"{place} failed: {first_line_of(lack_of_memory(error) or error)}")
        if isinstance(failure, OutOfDeviceMemory):
            raise failure from error
        # CUDA answers every later call of this process with the same error.
        raise BackendFailure(f"{failure}; restart the application (also necessary after driver updates).") from error
