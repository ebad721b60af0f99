"""The cache folder for compiled networks and video indexes, and which of the files in it are vsparagon's."""

from __future__ import annotations

import atexit
import logging
import os
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from vsparagon.errors import InvalidInput
from vsparagon.system.files import expanded, remove

log = logging.getLogger(__name__)

ENGINE: Final = ".engine"
KERNELS: Final = ".kernels"
CRASH: Final = ".crash"
# Kind -> (glob pattern within the cache folder, description of a file of this kind).
KINDS: Final = {
    "engines": (f"engines/*{ENGINE}", "engine of"),
    "kernels": (f"engines/*{KERNELS}", "kernels for"),
    "crashes": (f"crashes/*{CRASH}", "record of a crash of our kernels on a GPU:"),
    "graphs": ("graphs/*.onnx", "ONNX graph of a checkpoint"),
    "stages": ("graphs/*.stages/*", "stages of a checkpoint, for tiles"),
    "openvino": ("openvino-*/*/*.blob", "network compiled for this processor by OpenVINO"),
    "sources": ("sources/*.bsindex", "index of a video for preview"),
}


def cache_folder(chosen: str) -> Path:
    """Return the absolute path of the cache folder, creating it if necessary.

    Args:
        chosen: a folder, which may begin with "~"; "" for the user's cache folder on this system (platformdirs).

    Raises:
        InvalidInput: the folder cannot be created or written to.
    """
    from platformdirs import user_cache_path

    # Absolute, because other processes that use it may have another working directory.
    folder = expanded(chosen).absolute() if chosen else user_cache_path("vsparagon", appauthor=False)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InvalidInput(
            f"the cache folder {folder} cannot be created ({reason}); choose another with cache=."
        ) from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InvalidInput(f"the cache folder {folder} is not writable; choose another with cache=.")
    return folder


def usable_cache_folder(chosen: str) -> Path:
    """Return the cache folder; if the default one is unusable, log a warning and return a temporary one.

    The temporary folder is removed when the process ends.

    Args:
        chosen: as in `cache_folder`.

    Raises:
        InvalidInput: the chosen folder cannot be created or written to.
    """
    try:
        return cache_folder(chosen)
    except InvalidInput as error:
        if chosen:
            raise
        return _temporary_folder(str(error))


@cache
def _temporary_folder(why: str) -> Path:
    folder = tempfile.TemporaryDirectory(prefix="vsparagon-", ignore_cleanup_errors=True)
    atexit.register(folder.cleanup)  # unlike shutil.rmtree, it removes read-only files on Windows, too
    log.warning("%s Until then, each process compiles its networks again.", why)
    return Path(folder.name)


def keep_latest(folder: Path, pattern: str, count: int) -> None:
    """Remove files that match a pattern in a folder, except this number of those that were read or made last.

    Where the file system does not note when files are read, those that were made last are kept.
    """
    with suppress(OSError):  # another process may be doing the same; on Windows, files in use stay
        paths = sorted(folder.glob(pattern), key=lambda path: path.stat().st_atime, reverse=True)
        for path in paths[count:]:
            remove(path)


@dataclass(frozen=True, kw_only=True)
class Kept:
    """A file in the cache.

    Attributes:
        kind: a key of `KINDS`.
        path: of the file.
        size: in bytes.
        made: time of the last modification, in seconds since 1970.
    """

    kind: str
    path: Path
    size: int
    made: float


def kept_files(folder: Path, kind: str | None = None) -> list[Kept]:
    """Return the files that vsparagon keeps in a cache folder, and no others.

    Args:
        folder: a cache folder.
        kind: a key of `KINDS`; None for all kinds.
    """
    found = []
    for name, (pattern, _) in KINDS.items():
        if kind not in (None, name):
            continue
        for path in sorted(folder.glob(pattern), reverse=True):  # plan.json before the stages that it lists
            with suppress(FileNotFoundError):  # another process may be clearing the cache, too
                state = path.stat()
                found.append(Kept(kind=name, path=path, size=state.st_size, made=state.st_mtime))
    return found
