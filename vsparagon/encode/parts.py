"""The folder next to the output in which the output is made.

It has a subfolder for each job that writes this output, named by a hash of everything that decides the result. The
subfolder holds a manifest, which describes the job, and the finished segments: for each a video file and a JSON file
about it. So running the command with other options by mistake destroys nothing.
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
from vsparagon.system.files import replace
from vsparagon.system.locks import take

MANIFEST: Final = "manifest.json"
FORMAT: Final = 4  # version of the layout of a job's subfolder
LOCK: Final = "lock"
# The names of everything that we put into the folder and into its subfolders.
FILES: Final = re.compile(rf"{LOCK}|part-[0-9a-f]{{8}}-.+|source-[0-9a-f]+-[0-9a-f]+\..+")
JOBS: Final = re.compile("[0-9a-f]{12}")
FILES_OF_JOBS: Final = re.compile(rf"{re.escape(MANIFEST)}|\d{{6,}}\.(mkv|json)")


@dataclass(frozen=True, kw_only=True)
class Segment:
    """A finished segment.

    Attributes:
        frames: number of frames.
        bytes: size of its file.
        durations: run-length coded, in display order: numerator and denominator of a duration in seconds (0/1 if
            unknown), and the number of consecutive frames that have it.
        times: absolute times of its frames in seconds; frames without one are skipped.
        unlike: number of frames whose colours or pixels are not as the film is labelled.
    """

    frames: int
    bytes: int
    durations: tuple[tuple[int, int, int], ...]
    times: tuple[float, ...]
    unlike: int = 0


class PartsFolder:
    """The folder of one output, used as a context manager: entering it creates and locks the folder.

    Leaving it removes the folder if nothing in it is worth resuming.

    Args:
        output: absolute path of the file to make; its folder is called `<output>.parts`.

    Attributes:
        output: as above.
        folder: path of the folder.
        segments: the finished segments of the current job, by their numbers.

    Raises:
        EncodeFailure: the folder cannot be written (when entered).
        InvalidInput: another process is writing the same output, or the folder holds only foreign files (when entered).
    """

    def __init__(self, output: Path) -> None:
        self.output = output
        self.folder = output.with_name(f"{output.name}.parts")
        self.segments: dict[int, Segment] = {}
        self._manifest: dict[str, Any] = {}
        self._own = self.folder
        self._described = False  # whether this run has written the manifest
        self._lock = FileLock(self.folder / LOCK)

    @property
    def index(self) -> Path:
        """Path prefix for BestSource's index of the input."""
        return self.folder / "source"

    def path(self, number: int) -> Path:
        """Return the path of a segment's video file. `resume` must have been called."""
        return self._own / f"{number:06}.mkv"

    @property
    def frames(self) -> int:
        """Total number of frames in the finished segments."""
        return sum(segment.frames for segment in self.segments.values())

    @property
    def bytes(self) -> int:
        """Total size of the finished segments in bytes."""
        return sum(segment.bytes for segment in self.segments.values())

    def draft(self, name: str) -> Path:
        """Return a unique path in the folder for a file that is being made.

        Args:
            name: how the file's name ends.
        """
        return self.folder / f"part-{secrets.token_hex(4)}-{name}"

    def is_foreign(self) -> bool:
        """Return whether the folder exists already and holds something, but nothing of ours."""
        there = list(self.folder.iterdir()) if self.folder.is_dir() else []
        return bool(there) and not any(map(_is_ours, there))

    def __enter__(self) -> PartsFolder:
        with self.failing_clearly():
            if self.is_foreign():
                raise InvalidInput(
                    f"an encode to this output uses the folder {self.folder}, but that has other files in it; rename "
                    "it, or give the output another name."
                )
            self.folder.mkdir(exist_ok=True)
            try:
                take(self._lock, otherwise="start no other encode to this output")
            except Timeout:
                raise InvalidInput(f"another process is already writing {self.output}.") from None
            self._remove_drafts()  # of a run that was killed; on Windows not while its ffmpeg still has them open
        return self

    def __exit__(self, *_: object) -> None:
        if self._manifests():
            with contextlib.suppress(OSError):
                self._remove_drafts()  # the disk may be full
            if self._own != self.folder and not (self._own / MANIFEST).exists():
                _remove(self._own)
            self._lock.release()
            return
        # Nothing to resume from, so remove everything. Do it before releasing the lock: afterwards another process may
        # use the folder, and only the folder itself may be removed, if it is empty.
        with contextlib.suppress(OSError):
            for path in list(self.folder.iterdir()):
                if path.name != LOCK and _is_ours(path):
                    _remove(path)
        _remove(self.folder / LOCK)  # Windows refuses this, but removes the file when the lock is released
        self._lock.release()
        with contextlib.suppress(OSError):
            self.folder.rmdir()

    def _remove_drafts(self) -> None:
        for draft in self.folder.glob("part-*"):
            if _is_ours(draft):
                _remove(draft)

    @contextlib.contextmanager
    def failing_clearly(self) -> Iterator[None]:
        """Turn an OSError raised in the block into an EncodeFailure of one line."""
        try:
            yield
        except OSError as error:
            raise EncodeFailure(f"cannot write in {self.folder}: {error.strerror or error}.") from error

    def resume(self, identity: Mapping[str, Any]) -> list[str]:
        """Take over the finished segments of an earlier run of the same job, and leave those of other jobs alone.

        Args:
            identity: everything that decides the result; must be serialisable as JSON.

        Returns:
            What differs from the last job for this output, a few words each; empty if this job was begun earlier or
            no other was.

        Raises:
            EncodeFailure: the folder cannot be written.
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
        for path in self._own.glob("[0-9]*.json"):
            segment, film = _read_segment(path), path.with_suffix(".mkv")
            if segment and path.stem.isdecimal() and film.is_file() and film.stat().st_size == segment.bytes:
                self.segments[int(path.stem)] = segment

    def _manifests(self) -> list[Path]:
        """Return the manifests of all jobs, the latest last."""
        found = [path for path in self.folder.glob(f"*/{MANIFEST}") if JOBS.fullmatch(path.parent.name)]
        return sorted(found, key=lambda path: path.stat().st_mtime_ns)

    def keep(self, number: int, draft: Path, segment: Segment) -> None:
        """Keep a finished segment: move it to its final name and write its description.

        Args:
            number: of the segment.
            draft: the finished video file, under a name that `draft` returned.
            segment: its description.

        Raises:
            EncodeFailure: the folder cannot be written.
        """
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
        """Move the finished file to the output's name, and remove the manifests: there is nothing left to resume.

        Args:
            draft: the finished file.
            overwrite: whether an existing output may be replaced.

        Raises:
            EncodeFailure: the output exists and may not be replaced, or it or the folder cannot be written. The
                segments are kept.
        """
        with self.failing_clearly():
            self._describe(delivered=_file_identity(draft))  # if we are killed after the move, `sweep` recognises it
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
        """Remove the manifests if the output was delivered from here by a run that was killed right afterwards.

        Raises:
            OSError: the output does not exist, or a manifest cannot be removed.
        """
        if any(_read(path).get("delivered") == _file_identity(self.output) for path in self._manifests()):
            self._forget()

    def _forget(self) -> None:
        for path in self._manifests():
            path.unlink()


def _read(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file; empty if it cannot be read."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}


def _read_segment(path: Path) -> Segment | None:
    """Return the description of a segment, or None if it cannot be read."""
    values = _read(path)
    try:
        return Segment(
            frames=values["frames"],
            bytes=values["bytes"],
            durations=tuple((numerator, denominator, count) for numerator, denominator, count in values["durations"]),
            times=tuple(values["times"]),
            unlike=values["unlike"],
        )
    except (KeyError, TypeError, ValueError):
        return None


def _changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Return what differs between two manifests, a few words each; empty if the first is empty."""
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
    """Return whether we put something into the folder, judging by its name and, for a subfolder, the names in it."""
    if not path.is_dir():
        return bool(FILES.fullmatch(path.name))
    if not JOBS.fullmatch(path.name):
        return False
    files = list(path.iterdir())
    return not files or any(FILES_OF_JOBS.fullmatch(file.name) for file in files)


def _remove(path: Path) -> None:
    """Remove a file, or a job's subfolder with our files in it; skip silently what cannot be removed."""
    with contextlib.suppress(OSError):
        if not path.is_dir():
            path.unlink()
            return
        for file in list(path.iterdir()):
            if FILES_OF_JOBS.fullmatch(file.name):
                _remove(file)
        path.rmdir()


def _file_identity(path: Path) -> list[int]:
    """Return what identifies a file even after it is renamed: its size and modification time (ns)."""
    state = path.stat()
    return [state.st_size, state.st_mtime_ns]


def _settle(draft: Path, path: Path, *, overwrite: bool = True) -> None:
    """Flush a file to the disk, then rename it.

    Raises:
        FileExistsError: `path` exists and `overwrite` is false.
        OSError: the file cannot be flushed or renamed.
    """
    with draft.open("rb+") as file:
        os.fsync(file.fileno())
    replace(draft, path, overwrite=overwrite)


def _short(value: object) -> str:
    text = "none" if value in ("", None, []) else str(value)
    return text if len(text) <= 40 else f"{text[:12]}…"
