"""Write files completely or not at all, and name them."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from vsparagon.errors import InvalidInput

# Windows error codes while a virus scanner or an indexer has a file open: access denied, sharing and lock violation.
BUSY: Final = (5, 32, 33)
PAUSES: Final = (0.05, 0.1, 0.2, 0.4, 0.8, 1.0)  # seconds between attempts


def replace(draft: Path, path: Path, *, overwrite: bool = True) -> None:
    """Rename a file, replacing the file that has that name. On Windows, retry for a few seconds while either is open.

    Args:
        draft: the file to rename.
        path: its new name, on the same file system.
        overwrite: whether an existing file may be replaced.

    Raises:
        FileExistsError: `path` exists, and `overwrite` is false.
        OSError: the file cannot be renamed.
    """
    rename = Path.replace if overwrite else _rename
    for pause in PAUSES:
        try:
            rename(draft, path)
        except OSError as error:
            if getattr(error, "winerror", None) not in BUSY:
                raise
            time.sleep(pause)
        else:
            return
    rename(draft, path)


def _rename(draft: Path, path: Path) -> None:
    """Rename a file to a name that is not taken.

    Raises:
        FileExistsError: it is taken.
    """
    if os.name == "nt":
        draft.rename(path)  # raises if the name is taken; on POSIX it would replace the file
        return
    try:
        os.link(draft, path)
    except OSError as error:
        if os.path.lexists(path):
            raise FileExistsError(f"{path} exists.") from error
        draft.rename(path)  # the file system has no hard links
    else:
        draft.unlink()


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield the path of a draft to write; it replaces `path` when the block succeeds, and is removed if it fails.

    Args:
        path: file to write or replace; if it is a symbolic link, the file it points to is replaced. The draft is in the
            folder of that file and has the suffix of `path`.

    Raises:
        OSError: the file cannot be replaced.
    """
    target = Path(os.path.realpath(path))
    draft = target.with_name(f".part-{secrets.token_hex(8)}{path.suffix}")
    try:
        yield draft
        replace(draft, target)
    finally:
        with suppress(OSError):  # it has its name, or the folder is not writable
            draft.unlink()


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file completely or, if anything fails, leave it as it was. The data is synced to disk first.

    Raises:
        OSError: the folder is missing or not writable, or the disk is full.
    """
    with replacing(path) as draft, draft.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())  # otherwise a power failure could leave an empty file under the new name


def remove(path: Path) -> None:
    """Remove a file if it exists, even a read-only one, which Windows would keep.

    Raises:
        OSError: the file cannot be removed.
    """
    try:
        path.unlink(missing_ok=True)
    except PermissionError:
        path.chmod(0o600)
        path.unlink(missing_ok=True)


def expanded(path: str) -> Path:
    """Return a path with a leading "~" or "~user" replaced by that user's home, if the user is known."""
    return Path(os.path.expanduser(path))  # noqa: PTH111  (Path.expanduser raises for an unknown user)


def distinct_names(paths: Iterable[Path]) -> dict[Path, str]:
    """Return the shortest distinct name of each file or folder: "Set5", or "mine/Set5" if several are named "Set5".

    Files lose their suffix if the names remain distinct without it.

    Raises:
        InvalidInput: a file or folder is given twice.
    """
    given = [(path, path.resolve().parts) for path in paths]
    if twice := [path for path, own in given if [other for _, other in given].count(own) > 1]:
        raise InvalidInput(f"{twice[0]} is given twice.")
    parts = dict(given)
    short = {path: (*own[:-1], path.resolve().stem) if path.is_file() else own for path, own in parts.items()}
    if len(set(short.values())) == len(short):
        parts = short

    def ending(path: Path) -> str:
        endings = (parts[path][-length:] for length in range(1, len(parts[path]) + 1))
        return "/".join(next(e for e in endings if sum(own[-len(e) :] == e for own in parts.values()) == 1))

    return {path: ending(path) for path in parts}
