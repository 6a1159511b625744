"""A grant without a reference is given up, and does not block later writes."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest

from alarms import Alarm, Alarms
from kevy_ring import (
    ClosedError,
    Frame,
    ReplicaInboxReceiver,
    ReplicaInboxSender,
    Ring,
    SnapshotChunk,
    ViewsEscaped,
    replica_inbox_pair,
)
from kevy_ring.ring.consumer import Consumer
from kevy_ring.ring.producer import Producer

Ends = tuple[Producer, Consumer]
Inbox = tuple[ReplicaInboxSender, ReplicaInboxReceiver]


@pytest.fixture(autouse=True)
def no_collection() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


@pytest.fixture
def ends() -> Iterator[Ends]:
    with Ring.create(1 << 16) as ring, ring.producer() as producer, ring.consumer() as consumer:
        yield producer, consumer


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    sender, receiver = replica_inbox_pair(1 << 16)
    with sender, receiver:
        receiver.wait(0)  # takes the role
        yield sender, receiver


def test_a_dropped_grant_of_a_ring_hinders_no_later_record(ends: Ends) -> None:
    producer, consumer = ends
    for _ in range(3):
        producer.try_reserve(8)
    assert producer.try_write(b"next")
    kept = [producer.try_reserve(8).view for _ in range(2)]  # type: ignore[union-attr]
    grant = producer.try_reserve(4)
    assert grant is not None
    grant.view[:] = b"last"
    grant.commit(4)
    producer.publish()
    assert consumer.read_many() == [b"next", b"last"]
    assert [len(view) for view in kept] == [8, 8]


def test_a_dropped_grant_of_a_chunk_hinders_no_later_event(inbox: Inbox) -> None:
    sender, receiver = inbox
    for _ in range(3):
        sender.reserve_chunk(8)
    sender.send(Frame(1, [b"PING"]))
    assert receiver.stats().overflow_events == 0
    assert receiver.try_recv() == Frame(1, [b"PING"])
    clone = sender.clone()
    grant = clone.reserve_chunk(8)
    clone.close()
    del grant
    sender.send(Frame(2, [b"PING"]))
    assert receiver.try_recv() == Frame(2, [b"PING"])


def test_what_waited_for_a_dropped_grant_is_moved_into_the_ring(inbox: Inbox) -> None:
    sender, receiver = inbox
    grant = sender.reserve_chunk(8)
    sender.send(Frame(1, [b"PING"]))
    assert receiver.stats().overflow_events == 1
    del grant
    assert receiver.recv(60) == Frame(1, [b"PING"])


@pytest.mark.timeout(240, method="thread")
def test_an_alarm_at_any_moment_of_a_reservation_leaves_no_grant_open(ends: Ends) -> None:
    producer, consumer = ends
    hits = committed = 0
    with Alarms(3) as alarms:
        while hits < 200:
            try:
                alarms.set()
                for length in (8, np.int64(8), 16) * 20:
                    with producer.try_reserve(length) as grant:  # type: ignore[union-attr]
                        grant.view[:8] = b"whatever"
                        grant.commit(8)
                alarms.off()
            except Alarm:
                hits += 1
            alarms.still(producer.publish)
            taken = consumer.read_many(1024)
            assert set(taken) <= {b"whatever"}
            committed += len(taken)
            assert producer.try_write(b"whatever")
    assert committed


@pytest.mark.timeout(240, method="thread")
def test_an_alarm_at_any_moment_of_a_chunk_leaves_no_grant_open(inbox: Inbox) -> None:
    sender, receiver = inbox
    hits = 0

    def check() -> None:
        while receiver.recv_many(1024):
            pass
        sender.send(SnapshotChunk(b"next"))
        assert receiver.try_recv() == SnapshotChunk(b"next")

    alarms = Alarms(4)
    alarms.quiet(check)
    with alarms:
        while hits < 200:
            try:
                alarms.set()
                for _ in range(20):
                    with sender.reserve_chunk(8) as grant:
                        grant.view[:] = b"whatever"
                        grant.commit(8)
                alarms.off()
            except Alarm:
                hits += 1
            alarms.still(check)


def granted(end: Any) -> Any:
    return end.try_reserve(8) if isinstance(end, Producer) else end.reserve_chunk(8)


@pytest.mark.parametrize("side", ["ring", "inbox"])
def test_what_a_grant_refuses_speaks_of_a_grant(ends: Ends, inbox: Inbox, side: str) -> None:
    end = ends[0] if side == "ring" else inbox[0]
    grant = granted(end)
    kept = grant.view[1:]
    with pytest.raises(
        ViewsEscaped, match=r"views into this grant .* 8 bytes .* commit\(\) or abort\(\) again"
    ) as told:
        grant.commit(8)
    assert "batch" not in str(told.value)
    assert told.value.held == 8
    del kept
    grant.commit(8)
    again: list[Callable[[], object]] = [partial(grant.commit, length) for length in (0, 4, 8)]
    for commit in again:
        with pytest.raises(ClosedError, match="grant is committed already") as twice:
            commit()
        assert twice.value.reason == "committed"
    grant = granted(end)
    grant.abort()
    grant.abort()
    with pytest.raises(ClosedError, match="grant was given up before it was committed") as ended:
        grant.commit(8)
    assert ended.value.reason == "aborted"
    with granted(end) as left:
        pass
    with pytest.raises(ClosedError, match="given up"):
        left.commit(8)


def test_a_close_with_an_open_grant_of_a_chunk_loses_no_event_of_the_overflow(inbox: Inbox) -> None:
    sender, receiver = inbox
    grant = sender.reserve_chunk(8)
    sender.send_many([Frame(i, [b"x" * 100]) for i in range(1000)])
    closing = threading.Thread(target=sender.close, kwargs={"timeout": 60.0})
    closing.start()
    assert [frame.offset for frame in received(receiver, 1000)] == list(range(1000))
    closing.join(60)
    assert not closing.is_alive()
    grant.view[:] = b"too late"
    with pytest.raises(ClosedError):
        grant.commit(8)


def test_a_process_that_ends_with_an_open_grant_of_a_chunk_delivers_its_overflow() -> None:
    with Ring.create(1 << 14) as ring, ReplicaInboxReceiver.attach(ring.name) as receiver:
        leaver = subprocess.Popen([sys.executable, "-c", LEAVES_WITH_AN_OPEN_GRANT, ring.name])
        assert [frame.offset for frame in received(receiver, 1000)] == list(range(1000))
        assert leaver.wait(60) == 0


LEAVES_WITH_AN_OPEN_GRANT = """
import sys
from kevy_ring import Frame, ReplicaInboxSender
from kevy_ring.inbox import exit_flush
exit_flush.EXIT_FLUSH_S = 60.0
sender = ReplicaInboxSender.attach(sys.argv[1])
grant = sender.reserve_chunk(8)
sender.send_many([Frame(i, [b"x" * 100]) for i in range(1000)])
"""


def received(receiver: ReplicaInboxReceiver, count: int) -> list[Frame]:
    frames: list[Any] = []
    while len(frames) < count and receiver.wait(60):
        frames += receiver.recv_many()
    return frames
