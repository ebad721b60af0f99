"""Cache engines, so that each is built only once.

An engine file consists of a header, a JSON description of what the engine was built for, and the serialised engine. It
is used only if its checksum is right and it was built for exactly the requested key.
"""

from __future__ import annotations

import hashlib
import json
import logging
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from vsparagon.cache import ENGINE, KERNELS
from vsparagon.errors import InvalidInput
from vsparagon.system.files import write_atomically

log = logging.getLogger(__name__)

MAGIC: Final = b"VSPENGIN"
FORMAT: Final = 1
HEAD: Final = struct.Struct("<8sI32s")  # magic, format, SHA-256 of everything after the header
LENGTH: Final = struct.Struct("<I")  # length of the JSON in bytes
LOCK: Final = "building.lock"
STALE: Final = 3600.0  # age in seconds from which a draft counts as abandoned


@dataclass(frozen=True, kw_only=True)
class EngineKey:
    """Everything that an engine depends on. Its `digest`, SHA-256 in hexadecimal, names the engine's file.

    Attributes:
        model: SHA-256 of the ONNX model, which covers everything about the network, sizes and colours.
        precision: of the network.
        build: `vsparagon.engines.build.BUILD_REVISION`.
        library: name and full version.
        gpu, capability, driver: name, compute capability and driver version of the device.
    """

    model: str
    precision: str
    build: int
    library: str
    gpu: str
    capability: str
    driver: str

    @property
    def digest(self) -> str:
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


class Unusable(Exception):
    """An engine file that must not be loaded; the message says why, as a clause about the file."""


class EngineCache:
    """The cached engines in a folder. Several processes may use it at once.

    Args:
        folder: created if it is missing.

    Raises:
        InvalidInput: the folder cannot be created.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InvalidInput(
                f"the folder {folder} cannot be created ({error.strerror}); choose another with cache=."
            ) from error

    def path(self, key: EngineKey) -> Path:
        """Return the path of the engine file for this key, which need not exist."""
        return self.folder / f"{key.digest}{ENGINE}"

    def get(self, key: EngineKey, title: str, build: Callable[[], bytes]) -> bytes:
        """Return the serialised engine for this key: the cached one, or else that of `build`, which is then cached.

        Only one engine is built at a time, across all processes: the library times its kernels while it builds, and
        another build would distort the times. A process that waited uses the engine that the other has cached.

        Args:
            key: what the engine must have been built for.
            title: of the engine, for people.
            build: returns the engine; what it raises is raised here.
        """
        path = self.path(key)
        with suppress(OSError, Unusable):
            return read_engine(path, key)
        with self._lock():
            try:
                return read_engine(path, key)
            except FileNotFoundError:
                log.info("no engine of %s is cached for this GPU; building one, which can take minutes", title)
            except (OSError, Unusable) as error:
                log.warning("the cached engine of %s is not used: %s; building it again (%s)", title, error, path)
            engine = build()
            try:
                write_atomically(path, pack(key, title, engine))
            except OSError as error:  # no reason to throw away an engine that took minutes to build
                log.warning("the engine of %s cannot be cached: %s", title, error)
        return engine

    def discard(self, key: EngineKey) -> None:
        """Remove the engine for this key, if there is one."""
        self.path(key).unlink(missing_ok=True)

    def kernels(self, key: EngineKey, title: str) -> KernelFile:
        """Return the file for the kernels of this key's engine, which need not exist."""
        return KernelFile(self.path(key).with_suffix(KERNELS), key, title)

    @contextmanager
    def _lock(self) -> Iterator[None]:
        """Hold the folder's build lock, if it can be locked."""
        from filelock import FileLock, Timeout

        from vsparagon.system.locks import take

        lock = FileLock(self.folder / LOCK)
        try:
            take(lock, otherwise="building without a lock")
        except Timeout:
            log.info("another process is building an engine; waiting for it")
            lock.acquire()
        try:
            self._remove_drafts()
            yield
        finally:
            lock.release()

    def _remove_drafts(self) -> None:
        """Remove drafts of processes that were killed while writing.

        Only old ones, because kernels are written without the lock.
        """
        for draft in self.folder.glob(".*"):
            with suppress(OSError):  # another process may remove or finish it at the same time
                if time.time() - draft.stat().st_mtime > STALE:
                    draft.unlink()


class KernelFile:
    """The file of the kernels that TensorRT-RTX compiles when it first runs an engine; its format is an engine file's.

    Args:
        path: of the file.
        key: of the engine.
        title: of the engine, for people.
    """

    def __init__(self, path: Path, key: EngineKey, title: str) -> None:
        self._path, self._key, self._title = path, key, title

    def read(self) -> bytes | None:
        """Return the cached kernels; None if the file is missing or unusable."""
        try:
            return read_engine(self._path, self._key)
        except FileNotFoundError:
            return None
        except (OSError, Unusable) as error:
            log.warning("the cached kernels of %s are not used: %s", self._title, error)
            return None

    def write(self, content: bytes) -> None:
        """Cache these kernels; a failure is only logged."""
        try:
            write_atomically(self._path, pack(self._key, self._title, content))
        except OSError as error:
            log.warning("the kernels of %s cannot be cached: %s", self._title, error)


def pack(key: EngineKey, title: str, engine: bytes) -> bytes:
    """Return the content of an engine file: header, length, JSON, engine."""
    about = json.dumps({"title": title, "key": asdict(key)}).encode()
    body = LENGTH.pack(len(about)) + about + engine
    return HEAD.pack(MAGIC, FORMAT, hashlib.sha256(body).digest()) + body


def read_engine(path: Path, key: EngineKey) -> bytes:
    """Return the serialised engine in a file.

    Raises:
        OSError: the file cannot be read.
        Unusable: it is damaged, or was built for another key.
    """
    about, engine = _unpack(path.read_bytes())
    differing = [name for name, value in asdict(key).items() if about["key"].get(name) != value]
    if differing:
        raise Unusable(f"it was built for another {', '.join(differing)}")
    return engine


def title_of(path: Path) -> str:
    """Return a description of an engine file for people: title, precision, library and GPU.

    Raises:
        OSError: the file cannot be read.
        Unusable: it is damaged.
    """
    about, _ = _unpack(path.read_bytes())
    key = about["key"]
    return f"{about['title']}, {key['precision']}, by {key['library']} on {key['gpu']}"


def _unpack(content: bytes) -> tuple[dict[str, Any], bytes]:
    if len(content) < HEAD.size:
        raise Unusable(f"it is only {len(content)} bytes long")
    magic, revision, checksum = HEAD.unpack_from(content)
    if magic != MAGIC:
        raise Unusable("it is not an engine file of vsparagon")
    if revision != FORMAT:
        raise Unusable(f"its format is {revision}, and this version of vsparagon writes {FORMAT}")
    body = content[HEAD.size :]
    if hashlib.sha256(body).digest() != checksum:
        raise Unusable("its checksum is wrong: it is cut short or damaged")
    # The checksum was right, so the rest needs no further checks.
    first = LENGTH.size
    after = first + LENGTH.unpack_from(body)[0]
    return json.loads(body[first:after]), body[after:]
