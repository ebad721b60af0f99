"""Waiting that Ctrl-C can end."""

import gc
import signal
import subprocess
import sys
import threading
import time
import weakref
from _thread import start_new_thread

import pytest

from vsparagon.system import waiting
from vsparagon.system.waiting import Answer, call_in_thread, is_left_behind, wait_for


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


def test_answer_is_what_another_thread_delivers():
    answer = Answer()
    start_new_thread(lambda: (time.sleep(0.05), answer.deliver(5)), ())
    assert answer.wait() == 5


@pytest.mark.parametrize("fail", [lambda fault: _failed(fault).wait(), lambda fault: call_in_thread(_raising(fault))])
def test_error_is_let_go_without_a_garbage_collection(fail):
    class Fault(Exception):
        pass

    gc.disable()
    try:
        fail(Fault)
    except Fault as error:
        left = weakref.ref(error)
    finally:
        gc.enable()
    deadline = time.monotonic() + 10
    while left() is not None and time.monotonic() < deadline:  # the thread ends
        time.sleep(0.01)
    assert left() is None


def _failed(fault):
    answer = Answer()
    answer.fail(fault())
    return answer


def _raising(fault):
    def call():
        raise fault

    return call


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


def interrupted(call, step):
    """Call a function, and raise KeyboardInterrupt before its instruction number `step`, those it calls included."""
    left = step

    def trace(frame, event, _argument):
        nonlocal left
        frame.f_trace_opcodes = True
        if event == "opcode":
            left -= 1
            if left < 0:
                raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    sys._getframe().f_trace_opcodes = True  # Python 3.12 traces instructions only if some frame asks for it by then
    sys.settrace(trace)
    try:
        call()
    except KeyboardInterrupt:
        return
    finally:
        sys.settrace(before)
    pytest.fail("it has ended")


def test_process_can_be_waited_for_after_ctrl_c_at_any_moment(monkeypatch):
    monkeypatch.setattr(waiting, "POLL", 0.001)
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    for step in range(400):
        interrupted(lambda: wait_for(process), step)
    process.kill()
    waits = threading.Thread(target=process.wait, daemon=True)
    waits.start()
    waits.join(20)
    assert not waits.is_alive()
