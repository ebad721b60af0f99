"""Where compiled networks are kept."""

from __future__ import annotations

from pathlib import Path

from vsparagon.errors import InvalidInput


def cache_folder(chosen: str) -> Path:
    """Return the folder for compiled networks, made if it is missing.

    Args:
        chosen: a folder, or "" for the user's cache folder on this system (platformdirs).

    Raises:
        InvalidInput: the folder cannot be made.
    """
    from platformdirs import user_cache_path

    folder = Path(chosen).expanduser() if chosen else user_cache_path("vsparagon", appauthor=False)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidInput(
            f"the cache folder {folder} cannot be made ({error.strerror}); name another with cache=."
        ) from error
    return folder
