"""The folder beside the output in which it is made.

Each job for that output has a folder of its own in it, named by what decides the result: finished segments, and the
manifest that lists them. So a command that is given with other options by mistake destroys nothing.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from filelock import FileLock, Timeout

from vsparagon.errors import EncodeFailure, InvalidInput
from vsparagon.files import replace

MANIFEST: Final = "manifest.json"
FORMAT: Final = 2


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
        InvalidInput: another process works for the same output.
    """

    def __init__(self, output: Path) -> None:
        self.output = output
        self.folder = output.with_name(f"{output.name}.parts")
        self.segments: dict[int, Segment] = {}
        self._identity: dict[str, Any] = {}
        self._own = self.folder
        self._lock = FileLock(self.folder / "lock")

    @property
    def index(self) -> Path:
        """Where BestSource keeps its index, as the beginning of a path."""
        return self.folder / "source"

    def path(self, number: int) -> Path:
        """Return the file of a finished segment."""
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

    def __enter__(self) -> PartsFolder:
        with self.failing_clearly():
            self.folder.mkdir(exist_ok=True)
            try:
                self._lock.acquire(timeout=0)
            except Timeout:
                raise InvalidInput(f"another process is already making {self.output}.") from None
            for abandoned in self.folder.glob("part-*"):
                abandoned.unlink()
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.release()
        if not self._manifests():  # nothing to go on from
            shutil.rmtree(self.folder, ignore_errors=True)
        elif self._own != self.folder and not (self._own / MANIFEST).exists():
            shutil.rmtree(self._own, ignore_errors=True)

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
        text = json.dumps(identity, sort_keys=True)
        self._identity = json.loads(text)
        self._own = self.folder / hashlib.sha256(text.encode()).hexdigest()[:12]
        others = self._manifests()
        with self.failing_clearly():
            self._own.mkdir(exist_ok=True)
        manifest = _read(self._own / MANIFEST)
        if not manifest:
            return self._changes(_read(others[-1]).get("job", {})) if others else []
        for number, entry in manifest["segments"].items():
            segment = Segment(
                frames=entry["frames"],
                bytes=entry["bytes"],
                durations=tuple(tuple(d) for d in entry["durations"]),
                times=tuple(entry["times"]),
            )
            path = self.path(int(number))
            if path.is_file() and path.stat().st_size == segment.bytes:
                self.segments[int(number)] = segment
        return []

    def _manifests(self) -> list[Path]:
        """Return those of all jobs, the latest last."""
        return sorted(self.folder.glob(f"*/{MANIFEST}"), key=lambda path: path.stat().st_mtime_ns)

    def _changes(self, before: Mapping[str, Any]) -> list[str]:
        names = sorted(before.keys() | self._identity.keys()) if before else []
        return [
            f"{name}: {_short(before.get(name))}, now {_short(self._identity.get(name))}"
            for name in names
            if before.get(name) != self._identity.get(name)
        ]

    def keep(self, number: int, draft: Path, segment: Segment) -> None:
        """Give a finished file its name and enter it in the manifest. Afterwards it survives a reboot."""
        with self.failing_clearly():
            _settle(draft, self.path(number))
            self.segments[number] = segment
            self._write()

    def _write(self, **more: object) -> None:
        entries = {str(n): asdict(s) for n, s in sorted(self.segments.items())}
        text = json.dumps({"format": FORMAT, "job": self._identity, "segments": entries, **more}, indent=1)
        draft = self.draft(MANIFEST)
        draft.write_text(text, encoding="utf-8")
        _settle(draft, self._own / MANIFEST)

    def deliver(self, draft: Path) -> None:
        """Give the finished file the output's name and remove the folder.

        Raises:
            EncodeFailure: the output is open elsewhere, or the folder cannot be written.
        """
        with self.failing_clearly():
            self._write(delivered=_fingerprint(draft))  # tells, if we are killed right after, what became of all this
        try:
            _settle(draft, self.output)
        except OSError as error:
            raise EncodeFailure(
                f"{self.output} cannot be replaced: {error.strerror or error}; close what has it open, and run the "
                "command again: nothing is lost."
            ) from error
        with self.failing_clearly():
            self._forget()
        self.segments.clear()
        self._lock.release()
        shutil.rmtree(self.folder, ignore_errors=True)

    def sweep(self) -> None:
        """Leave nothing to go on from if the output has been delivered from here: only its removal is missing."""
        if any(_read(path).get("delivered") == _fingerprint(self.output) for path in self._manifests()):
            self._forget()

    def _forget(self) -> None:
        for path in self._manifests():
            path.unlink()


def _read(path: Path) -> dict[str, Any]:
    try:
        manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return manifest if manifest.get("format") == FORMAT else {}


def _fingerprint(path: Path) -> list[int]:
    """Return what a renamed file keeps."""
    state = path.stat()
    return [state.st_size, state.st_mtime_ns]


def _settle(draft: Path, path: Path) -> None:
    """Rename a file once its content is on the disk."""
    with draft.open("rb+") as file:
        os.fsync(file.fileno())
    replace(draft, path)


def _short(value: object) -> str:
    text = "none" if value in ("", None, []) else str(value)
    return text if len(text) <= 40 else f"{text[:12]}…"
