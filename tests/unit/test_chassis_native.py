"""Calls in a thread of the system's: nobody else is held up, and each gets the answer to its own."""

from __future__ import annotations

import eventlet
import pytest
from eventlet.patcher import original

from chassis.native import NativeThread

real_time = original("time")


def test_other_greenlets_go_on_while_it_works() -> None:
    native, told = NativeThread("test"), original("threading").Event()
    eventlet.spawn_after(0.01, told.set)
    with eventlet.Timeout(10):
        assert native.call(lambda: told.wait(10)) is True
    native.close()


def test_it_runs_in_another_thread_and_its_error_is_raised_here() -> None:
    native = NativeThread("test")
    assert native.call(original("threading").get_ident) != original("threading").get_ident()
    with pytest.raises(ZeroDivisionError):
        native.call(lambda: 1 / 0)
    native.close()


def test_who_is_killed_while_waiting_leaves_no_answer_to_the_next() -> None:
    native, go_on = NativeThread("test"), original("threading").Event()
    killed = eventlet.spawn(native.call, lambda: (go_on.wait(10), "of the killed one"))
    eventlet.sleep(0)
    killed.kill()
    go_on.set()
    with eventlet.Timeout(10):
        assert [native.call(lambda number=number: number) for number in range(3)] == [0, 1, 2]
    native.close()


def test_a_call_under_way_when_it_is_closed_is_answered() -> None:
    native = NativeThread("test")
    waiting = eventlet.spawn(native.call, lambda: real_time.sleep(0.02) or "answered")
    eventlet.sleep(0)
    native.close()
    with eventlet.Timeout(10):
        assert waiting.wait() == "answered"
