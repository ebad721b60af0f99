"""Locks between processes."""

from __future__ import annotations

import logging

from filelock import FileLock, Timeout

log = logging.getLogger(__name__)


def take(lock: FileLock, *, otherwise: str) -> None:
    """Take a lock without waiting; the system releases it when the process ends, even if that is killed.

    Where files cannot be locked, as on some network drives and in folders that are read-only, log a warning and go on
    without: what is written there later has errors of its own.

    Args:
        lock: on a file, which need not exist.
        otherwise: for the warning: what is to be kept in mind without the lock.

    Raises:
        filelock.Timeout: another process holds it.
    """
    try:
        lock.acquire(timeout=0)
    except Timeout:  # which is an OSError, too
        raise
    except (OSError, NotImplementedError) as error:
        log.warning("%s cannot be locked (%s); %s", lock.lock_file, error, otherwise)
