"""The stop signal wakes sleepers, stays set, and may be set from anywhere."""

from __future__ import annotations

import gc
import os
import select
import signal
import threading
import time

from kevy_ring.replica.stop import StopSignal


def test_a_signal_that_was_set_stays_readable_for_those_who_look_late() -> None:
    with StopSignal() as stop:
        assert not stop.is_set()
        stop.set()
        stop.set()
        for _ in range(3):
            assert stop.is_set()
            assert select.select([stop.fileno()], [], [], 0)[0]
        assert stop.wait(None)


def test_a_sleeper_is_woken_from_another_thread() -> None:
    with StopSignal() as stop:
        threading.Timer(0.05, stop.set).start()
        assert stop.wait(60)


def test_a_wait_that_nobody_ends_ends_by_itself() -> None:
    with StopSignal() as stop:
        assert not stop.wait(0.01)
        assert not stop.wait(-1)


def test_it_can_be_set_from_a_signal_handler_while_the_main_thread_sleeps_in_it() -> None:
    with StopSignal() as stop:
        before = signal.signal(signal.SIGALRM, lambda *_: stop.set())
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            deadline = time.monotonic() + 60
            while not stop.wait(1.0) and time.monotonic() < deadline:
                pass
            assert stop.is_set()
        finally:
            signal.signal(signal.SIGALRM, before)


def test_after_close_it_keeps_its_answer_and_touches_no_descriptor() -> None:
    stop = StopSignal()
    stop.close()
    stop.set()
    assert stop.is_set()
    assert stop.wait(0)
    assert stop.fileno() == -1
    stop.close()


def test_one_that_nobody_holds_gives_its_descriptor_back() -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        StopSignal().set()
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) < before + 20
