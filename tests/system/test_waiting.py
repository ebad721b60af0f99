"""Waiting that Ctrl-C can end."""

import gc
import signal
import threading
import time
import weakref
from concurrent.futures import Future

import pytest

from vsparagon.system import waiting
from vsparagon.system.waiting import call_in_thread, is_left_behind, result_of


@pytest.fixture
def ctrl_c():
    """Send Ctrl-C after a moment, as if a user pressed it."""
    timer = threading.Timer(0.2, signal.raise_signal, (signal.SIGINT,))
    timer.start()
    yield
    timer.join()


def test_result_and_error_of_the_call_are_the_callers():
    assert call_in_thread(lambda: 5) == 5
    with pytest.raises(ZeroDivisionError):
        call_in_thread(lambda: 1 // 0)
    assert not is_left_behind()


def test_error_of_a_future_is_let_go_without_a_garbage_collection():
    class Fault(Exception):
        pass

    def failed():
        future = Future()
        future.set_exception(Fault())
        return future

    gc.disable()
    try:
        result_of(failed())
    except Fault as error:
        left = weakref.ref(error)
    finally:
        gc.enable()
    assert left() is None


def test_call_runs_beside_the_main_thread_and_in_any_other():
    assert call_in_thread(threading.current_thread) is not threading.current_thread()
    found = []
    thread = threading.Thread(target=lambda: found.append(call_in_thread(threading.current_thread)))
    thread.start()
    thread.join()
    assert found == [thread]


def test_slow_call_is_told_of_once(monkeypatch):
    monkeypatch.setattr(waiting, "PATIENCE", 0.05)
    told = []
    call_in_thread(lambda: time.sleep(0.5), when_slow=lambda: told.append("slow"))
    assert told == ["slow"]


def test_ctrl_c_leaves_a_call_behind_that_cannot_be_ended(ctrl_c):
    release = threading.Event()
    with pytest.raises(KeyboardInterrupt):
        call_in_thread(lambda: release.wait(30))
    assert is_left_behind()
    release.set()
    deadline = time.monotonic() + 10
    while is_left_behind() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not is_left_behind()


def test_ctrl_c_has_a_call_end_and_waits_for_that(ctrl_c):
    asked, ended = threading.Event(), threading.Event()

    def work():
        asked.wait(30)
        time.sleep(0.2)
        ended.set()

    with pytest.raises(KeyboardInterrupt):
        call_in_thread(work, on_interrupt=asked.set)
    assert ended.is_set()
