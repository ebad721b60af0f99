"""Files: written whole or not at all, and told apart by their names."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from vsparagon.errors import InvalidInput

# What Windows answers while a virus scanner or an indexer has a file open: access denied, sharing and lock violation.
BUSY: Final = (5, 32, 33)
PAUSES: Final = (0.05, 0.1, 0.2, 0.4, 0.8, 1.0)  # seconds between the attempts


def replace(draft: Path, path: Path, *, overwrite: bool = True) -> None:
    """Give a file another's name, in its place. On Windows, wait for whoever has one of them open, for a few seconds.

    Raises:
        FileExistsError: there is a file of that name, which is not to be overwritten.
        OSError: that cannot be done.
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
    """Give a file a name that is free."""
    if os.name == "nt":
        draft.rename(path)  # refuses by itself, where POSIX replaces
        return
    try:
        os.link(draft, path)
    except OSError as error:
        if os.path.lexists(path):
            raise FileExistsError(f"{path} exists.") from error
        draft.rename(path)  # on a file system without links
    else:
        draft.unlink()


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give the name of a draft to write, which takes the place of a file if the block ends well, and is removed if not.

    Args:
        path: of the file; where it is a link, what it leads to is replaced. The draft lies beside that, with the suffix
            of `path`.

    Raises:
        OSError: the file cannot be replaced.
    """
    target = Path(os.path.realpath(path))
    draft = target.with_name(f".part-{secrets.token_hex(8)}{path.suffix}")
    try:
        yield draft
        replace(draft, target)
    finally:
        with suppress(OSError):  # where nothing can be written, nothing can be removed either
            draft.unlink(missing_ok=True)


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file that is seen either whole or, if anything fails, as it was before.

    Raises:
        OSError: the folder is missing or not writable, or the disk is full.
    """
    with replacing(path) as draft, draft.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())  # else a power cut may leave the new name to an empty file


def distinct_names(paths: Iterable[Path]) -> dict[Path, str]:
    """Return what to call each file or folder: "Set5", or "mine/Set5" where another is called so as well.

    Files lose their suffix, if that leaves them distinct.

    Raises:
        InvalidInput: one is named twice.
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
