"""How much memory a container or service may still use, according to Linux control groups (versions 1 and 2).

Source: the kernel's documentation, admin-guide/cgroup-v2 and admin-guide/cgroup-v1/memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath


@dataclass(frozen=True, kw_only=True)
class _Version:
    """Where a version of control groups keeps its figures, all in bytes.

    Attributes:
        folder: of the root group, below /sys/fs/cgroup.
        limit, used: names of the files in a group's folder.
        spare: entry of "memory.stat" for the inactive page cache: it counts as used, but can be reclaimed.
    """

    folder: str
    limit: str
    used: str
    spare: str


_FIRST = _Version(
    folder="memory", limit="memory.limit_in_bytes", used="memory.usage_in_bytes", spare="total_inactive_file"
)
_SECOND = _Version(folder="", limit="memory.max", used="memory.current", spare="inactive_file")


def memory_left(root: Path = Path("/")) -> int | None:
    """Return how many bytes this process may still allocate before one of its groups reaches its limit.

    None if no group has a limit, or the system has no control groups.

    Args:
        root: of the file system; tests pass another.
    """
    return min(_rooms(root), default=None)


def _rooms(root: Path) -> Iterator[int]:
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, own = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        version = _FIRST if controllers else _SECOND
        top = root / "sys/fs/cgroup" / version.folder
        group = PurePosixPath(own.lstrip("/"))
        # Groups are nested, and the outer ones have limits, too. A container may see its own group as the root.
        for path in {top / group, *(top / outer for outer in group.parents)}:
            limit, used = (_text(path / name).strip() for name in (version.limit, version.used))
            if limit.isdigit() and used.isdigit():
                statistics = dict(entry.split(maxsplit=1) for entry in _text(path / "memory.stat").splitlines())
                yield max(0, int(limit) - int(used) + int(statistics.get(version.spare, 0)))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""
