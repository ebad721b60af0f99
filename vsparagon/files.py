"""Files: written whole or not at all, and told apart by their names."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from vsparagon.errors import InvalidInput

# What Windows answers while a virus scanner or an indexer has a file open: access denied, sharing and lock violation.
BUSY: Final = (5, 32, 33)
PAUSES: Final = (0.05, 0.1, 0.2, 0.4, 0.8, 1.0)  # seconds between the attempts


def _usual_mode() -> int:
    """Return the mode of a new file. Asking changes the process's mask for a moment: done once, at import."""
    mask = os.umask(0o022)
    os.umask(mask)
    return 0o666 & ~mask


MODE = _usual_mode()


def replace(draft: Path, path: Path) -> None:
    """Give a file another's name, in its place. On Windows, wait for whoever has one of them open, for a few seconds.

    Raises:
        OSError: that cannot be done.
    """
    for pause in PAUSES:
        try:
            draft.replace(path)
        except OSError as error:
            if getattr(error, "winerror", None) not in BUSY:
                raise
            time.sleep(pause)
        else:
            return
    draft.replace(path)


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
        replace(Path(temporary), path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def distinct_names(paths: Iterable[Path]) -> dict[Path, str]:
    """Return what to call each file or folder: "Set5", or "mine/Set5" where another is called so as well.

    Files lose their suffix, if that leaves them distinct.

    Raises:
        InvalidInput: one is named twice.
    """
    given = [(path, path.resolve().parts) for path in paths]
    if twice := [path for path, own in given if [other for _, other in given].count(own) > 1]:
        raise InvalidInput(f"{twice[0]} is named twice.")
    parts = dict(given)
    short = {path: (*own[:-1], path.resolve().stem) if path.is_file() else own for path, own in parts.items()}
    if len(set(short.values())) == len(short):
        parts = short

    def ending(path: Path) -> str:
        endings = (parts[path][-length:] for length in range(1, len(parts[path]) + 1))
        return "/".join(next(e for e in endings if sum(own[-len(e) :] == e for own in parts.values()) == 1))

    return {path: ending(path) for path in parts}
