"""Locks between processes."""

from __future__ import annotations

import errno
import logging
from typing import Final

from filelock import FileLock

log = logging.getLogger(__name__)

# The errors of places that have no locks, as some network drives, and of places where no file can be made.
UNLOCKABLE: Final = {
    errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK,
    errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT,
}  # fmt: skip


def take(lock: FileLock, *, otherwise: str) -> None:
    """Take a lock without waiting; the system releases it when the process ends, even if that is killed.

    If the error is one of `UNLOCKABLE`, log a warning and go on without: what is written there later has errors of its
    own.

    Args:
        lock: on a file, which need not exist.
        otherwise: for the warning: what is to be kept in mind without the lock.

    Raises:
        filelock.Timeout: another process holds it.
        OSError: it cannot be taken for another reason.
    """
    try:
        lock.acquire(timeout=0)
    except (OSError, NotImplementedError) as error:  # the latter from older filelocks, if there are no locks
        if isinstance(error, OSError) and error.errno not in UNLOCKABLE:
            raise
        log.warning("%s cannot be locked (%s); %s", lock.lock_file, error, otherwise)
