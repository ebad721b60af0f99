"""Save and load, in one file, everything that a run needs to resume as if it had never stopped."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vsparagon.errors import ModelError
from vsparagon.system.files import write_atomically


def save_state(path: Path, state: Mapping[str, Any]) -> None:
    """Write tensors, numbers and strings in nested dictionaries and lists to a file, atomically.

    Raises:
        OSError: the file cannot be written.
    """
    buffer = io.BytesIO()
    torch.save(dict(state), buffer)
    write_atomically(path, buffer.getvalue())


def load_state(path: Path) -> dict[str, Any]:
    """Return what `save_state` wrote, with tensors on the CPU. No code in the file is executed.

    Raises:
        ModelError: the file is missing, damaged, or not written by `save_state`.
    """
    state = None
    try:
        with path.open("rb") as file:
            if zipfile.is_zipfile(file):
                file.seek(0)
                state = torch.load(file, map_location="cpu", weights_only=True)
    except OSError as error:
        raise ModelError(f"cannot resume from {path}: {error.strerror or error}.") from error
    except Exception as error:  # anything, for a damaged file; torch's own message advises to execute the code in it
        raise _no_state(path) from error
    if not isinstance(state, dict):
        raise _no_state(path)
    return state


def _no_state(path: Path) -> ModelError:
    return ModelError(f"cannot resume from {path}: it is damaged, or not the saved state of a run (last.state).")


def is_finite(state: object) -> bool:
    """Return whether no tensor in nested dictionaries and lists holds NaN or infinity."""
    if isinstance(state, Tensor):
        return bool(state.isfinite().all())
    if isinstance(state, Mapping):
        return all(is_finite(value) for value in state.values())
    if isinstance(state, list | tuple):
        return all(is_finite(value) for value in state)
    return True
