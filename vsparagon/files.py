"""Files that are written whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def _usual_mode() -> int:
    """Return the mode of a new file. Asking changes the process's mask for a moment: done once, at import."""
    mask = os.umask(0o022)
    os.umask(mask)
    return 0o666 & ~mask


MODE = _usual_mode()


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file that is seen either whole or, if anything fails, as it was before.

    Raises:
        OSError: the folder is missing or not writable, or the disk is full.
    """
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        Path(temporary).chmod(MODE)  # mkstemp makes files for their owner only
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
