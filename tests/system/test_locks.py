"""Locks between processes, and places that have none."""

import errno

import pytest
from filelock import FileLock, Timeout

from vsparagon.system.locks import take


def refusing(error):
    class Refusing(FileLock):
        def acquire(self, *_args, **_options):
            raise error

    return Refusing("there")


def test_lock_that_is_held_is_not_taken(tmp_path):
    first, second = FileLock(tmp_path / "lock"), FileLock(tmp_path / "lock")
    take(first, otherwise="")
    with pytest.raises(Timeout):
        take(second, otherwise="")
    first.release()
    take(second, otherwise="")
    second.release()


@pytest.mark.parametrize("error", [OSError(errno.EROFS, "read-only"), NotImplementedError("no flock")], ids=repr)
def test_place_without_locks_is_told_of(error, caplog):
    take(refusing(error), otherwise="be careful")
    assert caplog.messages == [f"there cannot be locked ({error}); be careful"]


@pytest.mark.parametrize("number", [errno.EIO, errno.EMFILE], ids=errno.errorcode.get)
def test_other_errors_are_not_taken_for_a_place_without_locks(number, caplog):
    with pytest.raises(OSError, match="broken"):
        take(refusing(OSError(number, "broken")), otherwise="")
    assert not caplog.messages
