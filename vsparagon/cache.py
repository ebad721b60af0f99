"""Where compiled networks are kept."""

from __future__ import annotations

import os
from pathlib import Path

from vsparagon.errors import InvalidInput


def cache_folder(chosen: str) -> Path:
    """Return the folder for compiled networks, made if it is missing.

    Args:
        chosen: a folder, or "" for the user's cache folder on this system (platformdirs).

    Raises:
        InvalidInput: the folder cannot be made or written to.
    """
    from platformdirs import user_cache_path

    folder = Path(chosen).expanduser() if chosen else user_cache_path("vsparagon", appauthor=False)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InvalidInput(f"the cache folder {folder} cannot be made ({reason}); name another with cache=.") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InvalidInput(f"the cache folder {folder} cannot be written to; name another with cache=.")
    return folder
