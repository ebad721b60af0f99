"""List or clear cached files: compiled networks, indexes of videos, records of crashes.

vsparagon cache list
vsparagon cache clear [KIND]
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from vsparagon.cache import CRASH, ENGINE, KERNELS, KINDS, Kept, cache_folder, kept_files
from vsparagon.engines.cache import Unusable, title_of
from vsparagon.errors import InvalidInput, ParagonError
from vsparagon.system.files import expanded, remove
from vsparagon.system.machine import MEBIBYTE
from vsparagon.wording import counted

AGES = (("day", 86_400), ("hour", 3_600), ("minute", 60))


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `cache`."""
    cache = commands.add_parser(
        "cache",
        help="list or clear cached files",
        description="List or clear what is cached: networks compiled for this machine, so that each is compiled only "
        "once, and indexes of videos for preview. Both can be deleted at any time and are made again when needed. "
        "Records of GPU crashes are deleted only by `cache clear crashes`.",
    )
    actions = cache.add_subparsers(required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="list the cached files: kind, size, age of the newest, description")
    listing.set_defaults(run=_list)
    clear = actions.add_parser("clear", help="delete them")
    clear.add_argument("kind", nargs="?", choices=KINDS, metavar="KIND", help=f"only this kind: {', '.join(KINDS)}")
    clear.set_defaults(run=_clear)
    for action in (listing, clear):
        action.add_argument(
            "--folder", default="", help="the folder used as cache= or --cache (default: the user's cache folder)"
        )


def _list(args: argparse.Namespace) -> str:
    folder = _folder(args.folder)
    files = kept_files(folder)
    alike: dict[tuple[str, str], list[Kept]] = {}
    for file in files:
        alike.setdefault((file.kind, about(file)), []).append(file)
    lines = [f"{_size(_sum(files))} in {folder}"]
    for (kind, text), same in alike.items():
        times = f"{len(same):,} x " if len(same) > 1 else ""
        age = _age(time.time() - max(file.made for file in same))
        lines.append(f"{kind:9} {_size(_sum(same)):>11}  {age:>11}  {times}{text}")
    return "\n".join([*lines, ""])


def _clear(args: argparse.Namespace) -> str:
    folder = _folder(args.folder)
    removed, left = [], []
    for file in (file for file in kept_files(folder, args.kind) if args.kind or file.kind != "crashes"):
        try:
            remove(file.path)
            removed.append(file)
        except OSError as error:  # such as a file in use on Windows
            left.append(f"{file.path} ({error.strerror})")
    if left:
        raise ParagonError(f"freed {_size(_sum(removed))}, but these cannot be removed: {', '.join(left)}.")
    return f"removed {counted(len(removed), 'file')}, {_size(_sum(removed))}, from {folder}\n"


def about(file: Kept) -> str:
    """Return a description of a cached file, for people."""
    text = KINDS[file.kind][1]
    try:
        if file.path.suffix == CRASH:
            return f"{text} {file.path.read_text(encoding='utf-8', errors='replace').strip()}"
        if file.path.suffix in (ENGINE, KERNELS):
            return f"{text} {title_of(file.path)}"
    except (OSError, Unusable) as error:
        return f"damaged: {error}"
    return text


def _folder(chosen: str) -> Path:
    if chosen and not expanded(chosen).is_dir():  # listing must not create the folder
        raise InvalidInput(f"--folder is {chosen}, which is not a folder; give one that was used as cache= or --cache.")
    return cache_folder(chosen)


def _sum(files: list[Kept]) -> int:
    return sum(file.size for file in files)


def _size(count: int) -> str:
    return f"{count / MEBIBYTE:,.1f} MiB" if count >= MEBIBYTE else f"{count / 1024:,.1f} KiB"


def _age(seconds: float) -> str:
    for name, length in AGES:
        if seconds >= length:
            return counted(int(seconds // length), name)
    return "just now"
