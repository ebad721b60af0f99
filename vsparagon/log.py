"""VapourSynth's log: what this package logs goes there, and what it says can be collected."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import vapoursynth as vs

LEVELS: Final = {logging.INFO: vs.MESSAGE_TYPE_INFORMATION}


class _Handler(logging.Handler):
    """Passes messages on to the cores of all calls that are under way."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.calls: list[Any] = []  # the core of each

    def emit(self, record: logging.LogRecord) -> None:
        # Nothing here is critical: VapourSynth ends the process after such a message.
        level = LEVELS.get(record.levelno, vs.MESSAGE_TYPE_WARNING)
        for core in {id(core): core for core in tuple(self.calls)}.values():
            core.log_message(level, f"paragon.Upscale: {record.getMessage()}")


_handler, _entering = _Handler(), threading.Lock()
_before: tuple[int, bool] = (logging.NOTSET, True)  # level and propagation of the logger outside of all calls


@contextmanager
def vapoursynth_log() -> Iterator[None]:
    """Pass on what is logged meanwhile, on whichever thread, from information upwards.

    The core is that of the calling thread's environment: another thread, such as one that builds an engine, has none.
    Calls on several threads may overlap.
    """
    global _before
    logger, core = logging.getLogger("vsparagon"), vs.core.core
    with _entering:
        if not _handler.calls:
            _before = logger.level, logger.propagate
            logger.addHandler(_handler)
            logger.propagate = False  # outside of vspipe, VapourSynth's log itself goes on to Python's
            if logger.getEffectiveLevel() > logging.INFO:
                logger.setLevel(logging.INFO)
        _handler.calls.append(core)
    try:
        yield
    finally:
        with _entering:
            _handler.calls.remove(core)
            if not _handler.calls:
                logger.removeHandler(_handler)
                logger.setLevel(_before[0])
                logger.propagate = _before[1]


@contextmanager
def collected_log() -> Iterator[list[str]]:
    """Collect VapourSynth's messages instead of showing them; errors are shown as well."""
    messages: list[str] = []
    logger = logging.getLogger("vapoursynth")  # where VapourSynth's own policy sends them

    def only_errors(record: logging.LogRecord) -> bool:
        messages.append(record.getMessage())
        return record.levelno > logging.WARNING

    level = logger.level
    logger.setLevel(logging.INFO)
    logger.addFilter(only_errors)
    try:
        yield messages
    finally:
        logger.removeFilter(only_errors)
        logger.setLevel(level)


def worth_telling(messages: Iterable[str]) -> list[str]:
    """Leave out what is no news: that BestSource returns more than VapourSynth expects of a source."""
    return [message for message in messages if not message.startswith("VideoSource: no return value")]
