"""Where compiled networks and indexes of videos are kept, and which of the files there are ours."""

from __future__ import annotations

import atexit
import logging
import os
import shutil
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from vsparagon.errors import InvalidInput

log = logging.getLogger(__name__)

ENGINE: Final = ".engine"
KERNELS: Final = ".kernels"
CRASH: Final = ".crash"
# Where each kind lies within the folder, and what such a file is.
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
    """Return the folder for compiled networks, made if it is missing.

    Args:
        chosen: a folder, or "" for the user's cache folder on this system (platformdirs).

    Raises:
        InvalidInput: the folder cannot be made or written to.
    """
    from platformdirs import user_cache_path

    # Absolute, as there may be processes in other folders.
    folder = Path(chosen).expanduser().absolute() if chosen else user_cache_path("vsparagon", appauthor=False)
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
    """Return that folder; where the user's cannot be used, one for this process alone, which the log then tells.

    Raises:
        InvalidInput: the chosen folder cannot be made or written to.
    """
    try:
        return cache_folder(chosen)
    except InvalidInput as error:
        if chosen:
            raise
        return _temporary_folder(str(error))


@cache
def _temporary_folder(why: str) -> Path:
    folder = Path(tempfile.mkdtemp(prefix="vsparagon-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    log.warning("%s Until then, each process compiles its networks again.", why)
    return folder


@dataclass(frozen=True, kw_only=True)
class Kept:
    """A file in the cache.

    Attributes:
        kind: a key of `KINDS`.
        path: of the file.
        size: in bytes.
        made: when, in seconds since 1970.
    """

    kind: str
    path: Path
    size: int
    made: float


def kept_files(folder: Path, kind: str | None = None) -> list[Kept]:
    """Return what vsparagon keeps in a folder, of one kind or of all; nothing that anybody else put there."""
    found = []
    for name, (pattern, _) in KINDS.items():
        if kind not in (None, name):
            continue
        for path in sorted(folder.glob(pattern), reverse=True):  # plan.json before the stages that it promises
            with suppress(FileNotFoundError):  # another process may clear it as well
                state = path.stat()
                found.append(Kept(kind=name, path=path, size=state.st_size, made=state.st_mtime))
    return found
