"""The folder beside the output in which it is made.

Each job for that output has a folder of its own in it, named by what decides the result: the manifest, which describes
the job, and finished segments, each a film and what is known of it. So a command that is given with other options by
mistake destroys nothing.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from filelock import FileLock, Timeout

from vsparagon.errors import EncodeFailure, InvalidInput
from vsparagon.files import replace

MANIFEST: Final = "manifest.json"
FORMAT: Final = 3  # of a job's folder
LOCK: Final = "lock"
# How everything is called that is put into the folder, and into those of jobs.
FILES: Final = re.compile(rf"{LOCK}|part-[0-9a-f]{{8}}-.+|source-[0-9a-f]+-[0-9a-f]+\..+")
JOBS: Final = re.compile("[0-9a-f]{12}")
FILES_OF_JOBS: Final = re.compile(rf"{re.escape(MANIFEST)}|\d{{6,}}\.(mkv|json)")


@dataclass(frozen=True, kw_only=True)
class Segment:
    """A finished segment.

    Attributes:
        frames: how many it holds.
        bytes: size of its file.
        durations: of its frames in order, as numerator and denominator in seconds, and how many frames have it.
        times: of its frames in seconds, as far as they carry any.
    """

    frames: int
    bytes: int
    durations: tuple[tuple[int, int, int], ...]
    times: tuple[float, ...]


class PartsFolder:
    """The folder of one output. A context: it is locked while it is open.

    Args:
        output: the file to be made.

    Raises:
        EncodeFailure: the folder cannot be written.
        InvalidInput: another process works for the same output, or the folder is somebody else's.
    """

    def __init__(self, output: Path) -> None:
        self.output = output
        self.folder = output.with_name(f"{output.name}.parts")
        self.segments: dict[int, Segment] = {}
        self._manifest: dict[str, Any] = {}
        self._own = self.folder
        self._described = False  # by this run, in a manifest
        self._lock = FileLock(self.folder / LOCK)

    @property
    def index(self) -> Path:
        """Where BestSource keeps its index, as the beginning of a path."""
        return self.folder / "source"

    def path(self, number: int) -> Path:
        """Return the film of a finished segment."""
        return self._own / f"{number:06}.mkv"

    @property
    def frames(self) -> int:
        """How many frames the finished segments hold."""
        return sum(segment.frames for segment in self.segments.values())

    @property
    def bytes(self) -> int:
        """Size of the finished segments."""
        return sum(segment.bytes for segment in self.segments.values())

    def draft(self, name: str) -> Path:
        """Return a name nobody else writes to, for a file that is being made."""
        return self.folder / f"part-{secrets.token_hex(4)}-{name}"

    def is_foreign(self) -> bool:
        """Return whether there is such a folder already, with nothing of ours in it, but something else."""
        there = list(self.folder.iterdir()) if self.folder.is_dir() else []
        return bool(there) and not any(map(_is_ours, there))

    def __enter__(self) -> PartsFolder:
        with self.failing_clearly():
            if self.is_foreign():
                raise InvalidInput(
                    f"the work needs the folder {self.folder}, but that is there with something else in it; rename "
                    "it, or give the output another name."
                )
            self.folder.mkdir(exist_ok=True)
            try:
                self._lock.acquire(timeout=0)
            except Timeout:
                raise InvalidInput(f"another process is already writing {self.output}.") from None
            for abandoned in self.folder.glob("part-*"):
                if _is_ours(abandoned):
                    abandoned.unlink()
        return self

    def __exit__(self, *_: object) -> None:
        if self._manifests():
            if self._own != self.folder and not (self._own / MANIFEST).exists():
                _remove(self._own)
            self._lock.release()
            return
        # Nothing to go on from. Once the lock is released, the folder may be another process's: all that is removed
        # then is the folder itself, if it is empty.
        with contextlib.suppress(OSError):
            for path in list(self.folder.iterdir()):
                if path.name != LOCK and _is_ours(path):
                    _remove(path)
        _remove(self.folder / LOCK)  # Windows refuses, and removes the file when the lock is released
        self._lock.release()
        with contextlib.suppress(OSError):
            self.folder.rmdir()

    @contextlib.contextmanager
    def failing_clearly(self) -> Iterator[None]:
        """Turn an error of the file system into one line."""
        try:
            yield
        except OSError as error:
            raise EncodeFailure(f"cannot write in {self.folder}: {error.strerror or error}.") from error

    def resume(self, identity: Mapping[str, Any]) -> list[str]:
        """Take over the finished segments of an earlier run of the same job; those of other jobs stay where they are.

        Args:
            identity: what decides the result, as JSON can hold it.

        Returns:
            What has changed since the last run, a few words each; empty if the work goes on or there was none.
        """
        text = json.dumps({"format": FORMAT, "job": identity}, sort_keys=True)
        self._manifest = json.loads(text)
        self._own = self.folder / hashlib.sha256(text.encode()).hexdigest()[:12]
        jobs = self._manifests()
        with self.failing_clearly():
            self._own.mkdir(exist_ok=True)
        if _read(self._own / MANIFEST):
            self._take_over()
            return []
        return _changes(_read(jobs[-1]), self._manifest) if jobs else []

    def _take_over(self) -> None:
        for path in sorted(self._own.glob("[0-9]*.json")):
            segment, film = _read_segment(path), path.with_suffix(".mkv")
            if segment and path.stem.isdecimal() and film.is_file() and film.stat().st_size == segment.bytes:
                self.segments[int(path.stem)] = segment

    def _manifests(self) -> list[Path]:
        """Return those of all jobs, the latest last."""
        found = [path for path in self.folder.glob(f"*/{MANIFEST}") if JOBS.fullmatch(path.parent.name)]
        return sorted(found, key=lambda path: path.stat().st_mtime_ns)

    def keep(self, number: int, draft: Path, segment: Segment) -> None:
        """Give a finished film its name and write down what is known of it."""
        with self.failing_clearly():
            _settle(draft, self.path(number))
            self._write(self.path(number).with_suffix(".json"), asdict(segment))
            if not self._described:
                self._describe()
            self.segments[number] = segment

    def _describe(self, **more: object) -> None:
        self._write(self._own / MANIFEST, self._manifest | more)
        self._described = True

    def _write(self, path: Path, values: Mapping[str, Any]) -> None:
        draft = self.draft(path.name)
        draft.write_text(json.dumps(values, separators=(",", ":")), encoding="utf-8")
        _settle(draft, path)

    def deliver(self, draft: Path, *, overwrite: bool) -> None:
        """Give the finished file the output's name, and leave nothing to go on from.

        Args:
            draft: the finished file.
            overwrite: whether a file of that name may be replaced.

        Raises:
            EncodeFailure: there is such a file, it is open elsewhere, or the folder cannot be written.
        """
        with self.failing_clearly():
            self._describe(delivered=_fingerprint(draft))  # tells, if we are killed right after, what became of this
        try:
            _settle(draft, self.output, overwrite=overwrite)
        except FileExistsError as error:
            raise EncodeFailure(
                f"{self.output} appeared during the encode; run the command again with -y to replace it. Nothing is "
                "lost."
            ) from error
        except OSError as error:
            raise EncodeFailure(
                f"{self.output} cannot be replaced: {error.strerror or error}; close the program that has it open and "
                "run the command again. Nothing is lost."
            ) from error
        with self.failing_clearly():
            self._forget()
        self.segments.clear()

    def sweep(self) -> None:
        """Leave nothing to go on from if the output has been delivered from here: only its removal is missing."""
        if any(_read(path).get("delivered") == _fingerprint(self.output) for path in self._manifests()):
            self._forget()

    def _forget(self) -> None:
        for path in self._manifests():
            path.unlink()


def _read(path: Path) -> dict[str, Any]:
    """Return what a file says, nothing if it cannot be read."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}


def _read_segment(path: Path) -> Segment | None:
    """Return what is known of a segment, None if that cannot be read."""
    values = _read(path)
    try:
        return Segment(
            frames=values["frames"],
            bytes=values["bytes"],
            durations=tuple((numerator, denominator, count) for numerator, denominator, count in values["durations"]),
            times=tuple(values["times"]),
        )
    except (KeyError, TypeError, ValueError):
        return None


def _changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Return what differs between two manifests, a few words each; nothing if the first could not be read."""
    if not before:
        return []
    was, now = (
        {"format of the segments": manifest.get("format"), **manifest.get("job", {})} for manifest in (before, after)
    )
    return [
        f"{name}: {_short(was.get(name))}, now {_short(now.get(name))}"
        for name in sorted(was.keys() | now.keys())
        if was.get(name) != now.get(name)
    ]


def _is_ours(path: Path) -> bool:
    """Return whether something in the folder was put there by us, by its name and, of a folder, those in it."""
    if not path.is_dir():
        return bool(FILES.fullmatch(path.name))
    if not JOBS.fullmatch(path.name):
        return False
    files = list(path.iterdir())
    return not files or any(FILES_OF_JOBS.fullmatch(file.name) for file in files)


def _remove(path: Path) -> None:
    """Remove a file, or the folder of a job with what is ours in it, as far as that can be done."""
    with contextlib.suppress(OSError):
        if not path.is_dir():
            path.unlink()
            return
        for file in list(path.iterdir()):
            if FILES_OF_JOBS.fullmatch(file.name):
                _remove(file)
        path.rmdir()


def _fingerprint(path: Path) -> list[int]:
    """Return what a renamed file keeps."""
    state = path.stat()
    return [state.st_size, state.st_mtime_ns]


def _settle(draft: Path, path: Path, *, overwrite: bool = True) -> None:
    """Rename a file once its content is on the disk."""
    with draft.open("rb+") as file:
        os.fsync(file.fileno())
    replace(draft, path, overwrite=overwrite)


def _short(value: object) -> str:
    text = "none" if value in ("", None, []) else str(value)
    return text if len(text) <= 40 else f"{text[:12]}…"
