"""VapourSynth's log: what this package logs goes there, and what it says can be told elsewhere."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import vapoursynth as vs

from vsparagon.errors import printable

NO_NEWS: Final = "VideoSource: no return value"  # BestSource returns more than VapourSynth expects of a source
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
            core.log_message(level, printable(f"paragon.Upscale: {record.getMessage()}"))


_handler, _entering = _Handler(), threading.Lock()
_before: tuple[int, bool] = (logging.NOTSET, True)  # level and propagation of the logger outside of all calls
_level = logging.NOTSET  # the same of VapourSynth's


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


class _Collector:
    """Who is told of messages, and of which already."""

    def __init__(self, tell: Callable[[str], object]) -> None:
        self._tell, self._told = tell, set[str]()

    def take(self, text: str) -> None:
        if not (text in self._told or text.startswith(NO_NEWS)):
            self._told.add(text)
            self._tell(text)


_collectors: list[_Collector] = []


def _collect(record: logging.LogRecord) -> bool:
    """Give a message to all that collect, unless it is an error, which passes to where it is shown."""
    if record.levelno > logging.WARNING:
        return True
    for collector in tuple(_collectors):
        collector.take(record.getMessage())
    return False


@contextmanager
def collected_log(tell: Callable[[str], object] = lambda text: None) -> Iterator[None]:
    """Collect VapourSynth's messages instead of showing them; errors are shown. Calls may overlap.

    Args:
        tell: is told what is worth knowing, as soon as it comes, and once: some plugins say the same of every frame.
    """
    global _level
    logger = logging.getLogger("vapoursynth")  # where VapourSynth's own policy sends them
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
