"""VapourSynth's log: send this package's messages there, or collect VapourSynth's messages instead of showing them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import vapoursynth as vs

from vsparagon.errors import printable

NO_NEWS: Final = "VideoSource: no return value"  # harmless: BestSource returns more than VapourSynth expects
LEVELS: Final = {logging.INFO: vs.MESSAGE_TYPE_INFORMATION}


class _Handler(logging.Handler):
    """Passes messages on to the cores of all calls in progress."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.calls: list[Any] = []  # the core of each call in progress

    def emit(self, record: logging.LogRecord) -> None:
        # Never a fatal message: VapourSynth aborts the process after one.
        level = LEVELS.get(record.levelno, vs.MESSAGE_TYPE_WARNING)
        for core in {id(core): core for core in tuple(self.calls)}.values():
            core.log_message(level, printable(f"paragon.Upscale: {record.getMessage()}"))


_handler, _entering = _Handler(), threading.Lock()
_before: tuple[int, bool] = (logging.NOTSET, True)  # level and propagation of our logger, to restore after the calls
_level = logging.NOTSET  # level of VapourSynth's logger, to restore after collecting


@contextmanager
def vapoursynth_log() -> Iterator[None]:
    """Pass on to VapourSynth's log what vsparagon logs inside the block, on any thread, from INFO upwards.

    Messages go to the core of the calling thread's environment, because other threads, such as one that builds an
    engine, have none. Calls on several threads may overlap; each core then gets all messages.
    """
    global _before
    logger, core = logging.getLogger("vsparagon"), vs.core.core
    with _entering:
        if not _handler.calls:
            _before = logger.level, logger.propagate
            logger.addHandler(_handler)
            logger.propagate = False  # outside vspipe, VapourSynth's own log goes to Python's logging already
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


class _Collector:
    """A receiver of messages that gets each text only once."""

    def __init__(self, tell: Callable[[str], object]) -> None:
        self._tell, self._told = tell, set[str]()

    def take(self, text: str) -> None:
        if not (text in self._told or text.startswith(NO_NEWS)):
            self._told.add(text)
            self._tell(text)


_collectors: list[_Collector] = []


def _collect(record: logging.LogRecord) -> bool:
    """Logging filter: give a message to all collectors and suppress it, but let errors pass, so that they are shown."""
    if record.levelno > logging.WARNING:
        return True
    for collector in tuple(_collectors):
        collector.take(record.getMessage())
    return False


@contextmanager
def collected_log(tell: Callable[[str], object] = lambda text: None) -> Iterator[None]:
    """Collect VapourSynth's messages inside the block instead of showing them; errors are shown. Calls may overlap.

    Args:
        tell: called with each message of level INFO or WARNING as it arrives, but only once per text, because some
            plugins repeat a message for every frame. Ignores them by default.
    """
    global _level
    logger = logging.getLogger("vapoursynth")  # to which VapourSynth's Python module sends them
    collector = _Collector(tell)
    with _entering:
        if not _collectors:
            _level = logger.level
            logger.setLevel(logging.INFO)
            logger.addFilter(_collect)
        _collectors.append(collector)
    try:
        yield
    finally:
        with _entering:
            _collectors.remove(collector)
            if not _collectors:
                logger.removeFilter(_collect)
                logger.setLevel(_level)
