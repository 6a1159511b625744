"""The pump's comings and goings: no order of them loses an event."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

import shards
from kevy_ring import ReplicaInboxReceiver, ReplicaInboxSender, Ring
from kevy_ring.inbox import pump


class HeldCore:
    """The core, but the first pump that is done is held before it can say so."""

    def __init__(self, core: Any) -> None:
        self._core = core
        self.done, self.go_on = threading.Event(), threading.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._core, name)

    def kr_pump(self, producer: Any, timeout_ns: int) -> int:
        code: int = self._core.kr_pump(producer, timeout_ns)
        if code == self._core.KR_PUMP_DONE and not self.done.is_set():
            self.done.set()
            self.go_on.wait(20)
        return code


def overflow(sender: ReplicaInboxSender, first: int) -> int:
    number = first
    while sender.overflow.events < 500:
        sender.send(shards.frame(number))
        number += 1
    return number


def drain(receiver: ReplicaInboxReceiver, first: int, last: int) -> None:
    until = time.monotonic() + 20
    for number in range(first, last):
        assert time.monotonic() < until
        shards.check(receiver.recv(timeout=10), number)


def test_a_pump_that_ends_late_does_not_close_over_the_next_ones_events(monkeypatch: pytest.MonkeyPatch) -> None:
    held = HeldCore(pump.lib)
    monkeypatch.setattr(pump, "lib", held)
    with Ring.create(1 << 14) as ring, ReplicaInboxReceiver.attach(ring.name) as receiver:
        sender = ReplicaInboxSender.attach(ring.name)
        second = overflow(sender, 0)
        first_pump = next(thread for thread in threading.enumerate() if ring.name in thread.name)
        drain(receiver, 0, second)
        assert held.done.wait(10)
        last = overflow(sender, second)  # starts the next pump while the first has not ended
        held.go_on.set()
        first_pump.join(10)
        del sender  # dropped without a close: the role is given up when the overflow is empty, and not before
        drain(receiver, second, last)
        until = time.monotonic() + 10
        while not receiver.sender_gone:
            assert time.monotonic() < until
            time.sleep(0.001)


def test_a_pump_that_cannot_start_is_started_by_a_later_send(monkeypatch: pytest.MonkeyPatch) -> None:
    with Ring.create(1 << 14) as ring, ReplicaInboxReceiver.attach(ring.name) as receiver:
        sender = ReplicaInboxSender.attach(ring.name)
        refusals = []

        def refuse(thread: threading.Thread) -> None:
            refusals.append(thread.name)
            raise RuntimeError("can't start new thread")

        with monkeypatch.context() as without_threads:
            without_threads.setattr(pump.threading.Thread, "start", refuse)
            last = overflow(sender, 0)
        assert refusals
        sender.send(shards.frame(last))
        drain(receiver, 0, last + 1)
        assert sender.close(timeout=5) == 0
