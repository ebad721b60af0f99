"""What this package logs, in VapourSynth's log."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import vapoursynth as vs

LEVELS: Final = {logging.INFO: vs.MESSAGE_TYPE_INFORMATION}


class _Handler(logging.Handler):
    def __init__(self, core: Any) -> None:
        super().__init__(logging.INFO)
        self._core = core

    def emit(self, record: logging.LogRecord) -> None:
        # Nothing here is critical: VapourSynth ends the process after such a message.
        level = LEVELS.get(record.levelno, vs.MESSAGE_TYPE_WARNING)
        self._core.log_message(level, f"paragon.Upscale: {record.getMessage()}")


@contextmanager
def vapoursynth_log() -> Iterator[None]:
    """Pass on what is logged meanwhile, on whichever thread, from information upwards.

    The core is that of the calling thread's environment: another thread, such as one that builds an engine, has none.
    """
    logger = logging.getLogger("vsparagon")
    handler, level, propagate = _Handler(vs.core.core), logger.level, logger.propagate
    logger.addHandler(handler)
    logger.propagate = False  # outside of vspipe, VapourSynth's log itself goes on to Python's
    if logger.getEffectiveLevel() > logging.INFO:
        logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = propagate
