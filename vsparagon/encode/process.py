"""A running ffmpeg that is fed through a pipe."""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Buffer, Sequence
from types import TracebackType

from vsparagon.errors import EncodeFailure
from vsparagon.ffmpeg import lines_said
from vsparagon.system.interrupt import own_process_group
from vsparagon.system.waiting import wait_for

_FULL = ("No space left on device", "Disk quota exceeded")


class FedProcess:
    """A running ffmpeg that reads what is written to it. A context manager: leaving it kills the process if it runs.

    It has a process group of its own, so Ctrl-C in the terminal reaches only us, and we end it.

    Args:
        command: program and arguments.

    Raises:
        EncodeFailure: the program cannot be started.
    """

    def __init__(self, command: Sequence[str]) -> None:
        self._command = command
        try:
            self._log = tempfile.TemporaryFile()  # noqa: SIM115  (closed in __exit__)
        except OSError as error:
            raise EncodeFailure(
                f"no temporary file can be made: {error.strerror}; set TMPDIR to another folder."
            ) from error
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=self._log,
                env={**os.environ, "SVT_LOG": "1"},  # SVT-AV1: errors only
                **own_process_group(),
            )
        except OSError as error:
            self._log.close()
            raise EncodeFailure(f"cannot run {command[0]}: {error.strerror}.") from error

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    def write(self, data: Buffer) -> int:
        """Write to the process's standard input and return the number of bytes written.

        Raises:
            EncodeFailure: the process has ended.
        """
        assert self._process.stdin is not None
        try:
            return self._process.stdin.write(data)
        except OSError as error:  # EPIPE; EINVAL on Windows
            wait_for(self._process)
            raise self._failure() from error

    def finish(self) -> None:
        """Close the pipe and wait for the process to end.

        Raises:
            EncodeFailure: its exit code is not 0, or the disk was full: some versions exit with 0 then.
        """
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):  # the exit code says more
            self._process.stdin.close()
        if wait_for(self._process) != 0 or self._full():
            raise self._failure()

    def said(self) -> list[str]:
        """Return the lines on the process's standard error so far, as `lines_said` does."""
        self._log.seek(0)
        return lines_said(self._log.read())

    def _full(self) -> str:
        """Return the line that says that the disk is full, or ""."""
        return next((line for line in self.said() if any(sign in line for sign in _FULL)), "")

    def _failure(self) -> EncodeFailure:
        said = self.said()
        code = self._process.returncode
        how = f"was killed by signal {-code}" if code < 0 else f"failed with exit code {code}"
        if full := self._full():
            return EncodeFailure(f"ffmpeg cannot write: {full}; free some space and run the command again.")
        return EncodeFailure(f"ffmpeg {how}{': ' + said[0] if said else ''} ({self._command[0]}).")

    def __enter__(self) -> FedProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self._process.kill()
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):  # closing flushes the buffer, which fails if the process is dead
            self._process.stdin.close()
        self._process.wait()
        self._log.close()
