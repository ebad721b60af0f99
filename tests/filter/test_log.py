"""What is logged while a filter is created, and which messages reach VapourSynth."""

from __future__ import annotations

import logging
import threading
from contextlib import suppress

import vapoursynth as vs

import vsparagon
from vsparagon.colours.properties import with_properties
from vsparagon.log import collected_log, vapoursynth_log

log = logging.getLogger("vsparagon.somewhere")


def test_messages_of_every_thread_reach_vapoursynth_while_it_lasts():
    messages = []
    handle = vs.core.add_log_handler(lambda level, text: messages.append((level, text)))
    try:
        with vapoursynth_log():
            log.info("building: %d %%", 5)
            thread = threading.Thread(target=lambda: log.warning("damaged"))
            thread.start()
            thread.join()
            log.error("worse")
            log.debug("detail")
        log.warning("afterwards")
    finally:
        vs.core.remove_log_handler(handle)
    assert messages[1:] == [  # after VapourSynth's own message about the new handler
        (vs.MESSAGE_TYPE_INFORMATION, "paragon.Upscale: building: 5 %"),
        (vs.MESSAGE_TYPE_WARNING, "paragon.Upscale: damaged"),
        (vs.MESSAGE_TYPE_WARNING, "paragon.Upscale: worse"),
    ]


def test_what_a_new_colour_brings_in_mid_film_is_told(monkeypatch):
    def telling(*given):
        log.info("something that takes minutes")
        return with_properties(*given)

    monkeypatch.setattr("vsparagon.chains.with_properties", telling)
    messages = []
    handle = vs.core.add_log_handler(lambda level, text: messages.append(text))
    try:
        blank = vs.core.std.BlankClip(format=vs.YUV420P8, width=64, height=64, length=1)
        film = blank.std.SetFrameProps(_Matrix=1) + blank.std.SetFrameProps(_Matrix=6)
        enlarged = vs.core.core.paragon.Upscale(film)
        for told, n in ((1, 0), (2, 1), (2, 0)):
            enlarged.get_frame(n).close()
            assert messages.count("paragon.Upscale: something that takes minutes") == told
    finally:
        vs.core.remove_log_handler(handle)


def test_what_is_collected_is_told_once_and_at_once():
    said = [(vs.MESSAGE_TYPE_INFORMATION, "a choice"), (vs.MESSAGE_TYPE_WARNING, "bad frame"),
            (vs.MESSAGE_TYPE_INFORMATION, "VideoSource: no return value(s) named x")]  # fmt: skip
    told = []
    with collected_log(told.append), collected_log():
        for level, text in said:
            vs.core.log_message(level, text)
            vs.core.log_message(level, text)
        assert told == ["a choice", "bad frame"]


def test_loggers_are_as_before():
    logger = logging.getLogger("vsparagon")
    before = (logger.level, logger.propagate, list(logger.handlers))
    with suppress(ZeroDivisionError), vapoursynth_log():
        assert logger.isEnabledFor(logging.INFO)
        raise ZeroDivisionError
    assert (logger.level, logger.propagate, logger.handlers) == before


def test_calls_on_several_threads_may_end_in_any_order():
    logger = logging.getLogger("vsparagon")
    before = (logger.level, logger.propagate, list(logger.handlers))
    messages = []
    handle = vs.core.add_log_handler(lambda level, text: messages.append(text))
    try:
        first, second = vapoursynth_log(), vapoursynth_log()
        first.__enter__()
        second.__enter__()
        log.info("from both")
        first.__exit__(None, None, None)
        log.info("from one")
        second.__exit__(None, None, None)
        log.warning("from none")
    finally:
        vs.core.remove_log_handler(handle)
    assert messages[1:] == ["paragon.Upscale: from both", "paragon.Upscale: from one"]
    assert (logger.level, logger.propagate, logger.handlers) == before


def test_message_is_told_once(caplog):
    with caplog.at_level(logging.INFO), vapoursynth_log():
        log.info("only once")
    assert [record.getMessage() for record in caplog.records] == ["paragon.Upscale: only once"]


def test_filter_tells_vapoursynth_what_it_chose(monkeypatch):
    """If no backend can use the GPU, "auto" says so, and why."""
    from vsparagon import backends
    from vsparagon.device.gpus import Gpu

    for module in ("backends", "backends.tensorrt", "backends.base", "device.gpus"):
        monkeypatch.setattr(f"vsparagon.{module}.gpus", lambda: (Gpu(name="Old Card", capability=(1, 0)),))
    for name in backends.ON_GPU:
        monkeypatch.setattr(type(backends.RUNTIMES[name]), "missing", lambda self: "not installed")
    messages = []
    handle = vs.core.add_log_handler(lambda level, text: messages.append(text))
    try:
        vsparagon.upscale(vs.core.std.BlankClip(width=32, height=32, format=vs.YUV420P8, length=1))
    finally:
        vs.core.remove_log_handler(handle)
    told = " ".join(messages)
    assert "paragon.Upscale: no backend can use the GPU: tensorrt (not installed); tensorrt_rtx (not installed)" in told
    assert "paragon.Upscale: running nano x2 clean on openvino, fp32, CPU" in told
