"""The methods that are called for every record, and their rare cases."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import threading
import time
from array import array
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from kevy_ring import (
    Batch,
    BatchOpen,
    ClosedError,
    CorruptRing,
    Frame,
    RecvError,
    ReplicaInboxReceiver,
    ReplicaInboxSender,
    Ring,
    SendError,
    SnapshotBegin,
    SnapshotChunk,
    SnapshotEnd,
    replica_inbox_pair,
)
from kevy_ring._core import ffi

Inbox = tuple[ReplicaInboxSender, ReplicaInboxReceiver]


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    sender, receiver = replica_inbox_pair(1 << 16)
    with sender, receiver:
        yield sender, receiver


@pytest.fixture
def ring() -> Iterator[Ring]:
    with Ring.create(1 << 16) as ring:
        yield ring


def frame(offset: int) -> Frame:
    return Frame(offset, [b"SET", b"key", str(offset).encode()])


class Odd(Frame):
    """A frame whose class belongs to the application."""


ALIKE = {
    "a list of bytes": Frame(7, [b"SET", b"", b"value"]),
    "a tuple": Frame(7, (b"SET", b"", b"value")),
    "a view": Frame(7, [b"SET", b"", memoryview(b"value")]),
    "a bytearray": Frame(7, [bytearray(b"SET"), b"", b"value"]),
    "a subclass": Odd(7, [b"SET", b"", b"value"]),
    "an index": Frame(True + 6, [b"SET", b"", b"value"]),
    "wide elements": Frame(7, [b"SET", b"", memoryview(array("H", b"valu")), b"e"]),
}


@pytest.mark.parametrize("sent", ALIKE.values(), ids=ALIKE.keys())
@pytest.mark.parametrize("many", [False, True], ids=["send", "send_many"])
def test_the_quick_and_the_long_way_write_the_same_record(inbox: Inbox, sent: Frame, many: bool) -> None:
    sender, receiver = inbox
    sender.send(frame(0))
    receiver.recv(0)
    if many:
        sender.send_many([frame(6), sent, frame(8)])
        assert receiver.recv(0) == frame(6)
    else:
        sender.send(sent)
    expected = Frame(7, [bytes(argument) for argument in sent.argv])
    with receiver.drain(1) as batch:
        assert batch.owned(0) == expected
        assert len(batch.buffer) % 8 == 0


def test_many_arguments_and_long_ones_arrive(inbox: Inbox) -> None:
    sender, receiver = inbox
    events = [Frame(n, [b"x" * (n % 50)] * n) for n in (1, 63, 64, 65, 200)]
    events.append(Frame(2, [b"y" * 200_000]))  # larger than the ring
    sender.send(events[0])
    sender.send_many(events)
    for event in [events[0], *events]:
        assert receiver.recv(60) == event


@pytest.mark.parametrize(
    "bad",
    [
        Frame(-1, [b"a"]),
        Frame(2**64, [b"a"]),
        Frame(1, []),
        Frame(1.5, [b"a"]),
        Frame(1, [1]),
        Frame(1, b"ab"),
        "x",
        None,
    ],  # type: ignore[list-item]
    ids=repr,
)
def test_a_bad_event_is_refused_and_nothing_is_queued(inbox: Inbox, bad: Frame) -> None:
    sender, receiver = inbox
    sender.send(frame(1))
    for attempt in (lambda: sender.send(bad), lambda: sender.send_many([frame(2), bad])):
        with pytest.raises((TypeError, ValueError)):
            attempt()
    sender.send(frame(3))
    assert [receiver.try_recv() for _ in range(3)] == [frame(1), frame(3), None]


def test_an_unset_attribute_is_refused(inbox: Inbox) -> None:
    bare = Frame.__new__(Frame)
    inbox[0].send(frame(1))
    with pytest.raises(AttributeError):
        inbox[0].send(bare)


def test_a_failed_send_carries_its_event_and_the_unsent(inbox: Inbox) -> None:
    sender, receiver = inbox
    sender.send(frame(1))
    receiver.close()
    with pytest.raises(SendError) as one:
        sender.send(frame(2))
    assert one.value.event == frame(2)
    with pytest.raises(SendError) as many:
        sender.send_many([frame(3), frame(4)])
    assert list(many.value.unsent) == [frame(3), frame(4)]


def test_what_does_not_fit_goes_through_the_overflow(inbox: Inbox) -> None:
    sender, receiver = inbox
    events = [Frame(i, [b"x" * 900]) for i in range(200)]
    sender.send_many(events[:100])
    for event in events[100:]:
        sender.send(event)
    assert sender.overflow.events > 0
    taken = []
    while len(taken) < 200:
        taken += receiver.recv_many(64)
    assert taken == events


def test_recv_many_takes_frames_and_chunks_and_stops_before_a_marker(inbox: Inbox) -> None:
    sender, receiver = inbox
    sender.send_many([frame(1), SnapshotBegin(), SnapshotChunk(b"body"), SnapshotEnd(9), frame(9), frame(10)])
    taken = [receiver.recv_many() for _ in range(4)]
    assert taken == [
        [frame(1)],
        [SnapshotBegin()],
        [SnapshotChunk(b"body")],
        [SnapshotEnd(9)],
    ]
    receiver.mark_applied(8)
    assert not sender.loading
    assert receiver.recv_many(1) == [frame(9)]
    assert receiver.recv_many(max_events=5000) == [frame(10)]
    assert receiver.recv_many() == []


def test_the_end_is_told_only_when_all_was_taken(inbox: Inbox) -> None:
    sender, receiver = inbox
    sender.send_many([frame(1), frame(2)])
    sender.close()
    assert receiver.try_recv() == frame(1)
    assert receiver.recv_many() == [frame(2)]
    for take in (receiver.try_recv, receiver.recv, receiver.recv_many):
        with pytest.raises(RecvError) as ended:
            take()
        assert ended.value.cause == "closed"


def test_received_events_are_those_of_the_package(inbox: Inbox) -> None:
    sender, receiver = inbox
    sender.send_many([frame(1), SnapshotChunk(b"data")])
    first, second = receiver.recv(0), receiver.recv(0)
    assert type(first) is Frame
    assert type(first.argv) is list
    assert all(type(argument) is bytes for argument in first.argv)
    assert gc.is_tracked(first)
    assert type(second) is SnapshotChunk
    assert type(second.data) is bytes


@pytest.mark.parametrize("take", ["recv", "try_recv", "recv_many"])
def test_a_hostile_end_position_is_refused_and_stays(inbox: Inbox, take: str) -> None:
    sender, receiver = inbox
    sender.send(frame(1))
    receiver.recv(0)
    sender.send(Frame(2, [b"abc", b"def"]))
    area = receiver._lender.area  # type: ignore[union-attr]
    ends = ffi.cast("uint32_t *", area + bytes(ffi.buffer(area, 4096)).index(b"abcdef") - 8)
    ends[0] = 77  # the end of the first argument, which has 3 bytes
    for _ in range(2):
        with pytest.raises(CorruptRing):
            getattr(receiver, take)()


def test_records_are_written_and_read_in_every_form(ring: Ring) -> None:
    producer, consumer = ring.producer(), ring.consumer()
    assert producer.try_write(memoryview(b"first"))
    assert producer.try_write(b"")
    assert producer.write_many((b"a", b"b")) == 2
    assert producer.write_many([b"c"] * 100) == 100
    assert producer.write_many([]) == 0
    assert consumer.read(timeout=0) == b"first"
    assert consumer.try_read() == b""
    assert consumer.read_many(1) == [b"a"]
    assert consumer.read_many(max_records=2) == [b"b", b"c"]
    assert consumer.read_many(5000) == [b"c"] * 99
    assert consumer.read_many() == []
    assert consumer.read(0.01) is None
    producer.close()
    for take in (consumer.try_read, consumer.read):
        with pytest.raises(RecvError):
            take()


def test_a_full_ring_takes_what_fits(ring: Ring) -> None:
    producer, consumer = ring.producer(), ring.consumer()
    records = [bytes([i % 251]) * 1000 for i in range(100)]
    fitted = producer.write_many(records)
    assert 0 < fitted < 100
    while producer.try_write(b"x" * 8):
        pass
    assert consumer.read_many(fitted) == records[:fitted]
    with pytest.raises(ValueError, match="larger than the ring"):
        producer.try_write(b"x" * 70_000)
    with pytest.raises(ValueError, match="larger than the ring"):
        producer.write_many([b"x" * 70_000])


def test_wrong_arguments_are_refused_in_words(ring: Ring) -> None:
    producer, consumer = ring.producer(), ring.consumer()
    with pytest.raises(TypeError):
        producer.try_write("text")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        producer.write_many([b"a", 1])  # type: ignore[list-item]
    for bad in (0, -1):
        with pytest.raises(ValueError, match="at least one"):
            consumer.read_many(bad)
    with pytest.raises(TypeError, match="unexpected"):
        consumer.read_many(records=1)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="at most one"):
        consumer.read_many(1, 2)  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        consumer.read("soon")  # type: ignore[arg-type]


def test_an_open_batch_is_not_passed_by(ring: Ring) -> None:
    producer, consumer = ring.producer(), ring.consumer()
    producer.write_many([b"a", b"b"])
    with consumer.drain(1):
        for take in (consumer.read_many, consumer.try_read, consumer.read):
            with pytest.raises(BatchOpen):
                take()
    assert consumer.read_many() == [b"b"]


def test_closed_handles_say_so(ring: Ring, inbox: Inbox) -> None:
    producer, consumer = ring.producer(), ring.consumer()
    producer.close()
    consumer.close()
    sender, receiver = inbox
    sender.send(frame(1))
    receiver.recv(0)
    sender.close()
    receiver.close()
    calls = [
        lambda: producer.try_write(b"a"),
        lambda: producer.write_many([b"a"]),
        consumer.read_many,
        consumer.try_read,
        consumer.read,
        lambda: sender.send(frame(2)),
        lambda: sender.send_many([frame(2)]),
        receiver.recv,
        receiver.try_recv,
        receiver.recv_many,
    ]
    for call in calls:
        with pytest.raises(ClosedError):
            call()


def test_a_waiting_read_ends_when_its_handle_is_closed(ring: Ring) -> None:
    consumer = ring.consumer()
    ended: list[BaseException | None] = []

    def wait_for_it() -> None:
        try:
            consumer.read(30)
        except ClosedError as exc:
            ended.append(exc)

    with ring.producer():
        thread = threading.Thread(target=wait_for_it)
        thread.start()
        time.sleep(0.05)
        consumer.close()
        thread.join(60)
    assert not thread.is_alive()
    assert len(ended) == 1


def test_a_signal_handler_runs_in_mid_wait_and_its_exception_comes_out(inbox: Inbox) -> None:
    class Rung(Exception):
        pass

    def handler(*_: object) -> None:
        raise Rung

    sender, receiver = inbox
    sender.send(frame(1))
    receiver.recv()
    before = signal.signal(signal.SIGUSR1, handler)
    timer = threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGUSR1))
    try:
        timer.start()
        with pytest.raises(Rung):
            receiver.recv(60)
    finally:
        timer.join()
        signal.signal(signal.SIGUSR1, before)
    sender.send(frame(2))
    assert receiver.recv(60) == frame(2)


def test_a_wait_lets_other_threads_run(inbox: Inbox) -> None:
    sender, receiver = inbox
    sender.send(frame(1))
    receiver.recv()
    threading.Timer(0.05, sender.send, (frame(2),)).start()
    assert receiver.recv(60) == frame(2)


def test_handles_and_events_are_given_back() -> None:
    gc.collect()
    before = len(gc.get_objects())
    for _ in range(20):
        sender, receiver = replica_inbox_pair(4096)
        with sender, receiver:
            sender.send_many([frame(i) for i in range(5)])
            receiver.recv_many()
    del sender, receiver
    gc.collect()
    assert len(gc.get_objects()) - before < 20


class Closer:
    """Garbage whose finalizer closes a handle in the middle of a call on it."""

    def __init__(self, handle: Any) -> None:
        self.handle = handle
        self.itself = self

    def __del__(self) -> None:
        self.handle.close()


@pytest.mark.parametrize("many", [False, True], ids=["recv", "recv_many"])
def test_garbage_that_closes_the_receiver_is_not_collected_in_the_middle_of_a_call(many: bool) -> None:
    sender, receiver = replica_inbox_pair(1 << 20)
    sender.send_many([Frame(i, [b"x"] * 50) for i in range(1000)])
    threshold = gc.get_threshold()
    receiver.try_recv()
    Closer(receiver)
    gc.set_threshold(1, 1, 1)
    try:
        taken = receiver.recv_many(900) if many else [receiver.recv(0)]
    finally:
        gc.set_threshold(*threshold)
    assert [len(event.argv) for event in taken if isinstance(event, Frame)] == [50] * len(taken)
    assert gc.isenabled()
    gc.collect()
    with pytest.raises(ClosedError):
        receiver.recv_many()
    sender.close(0)


@pytest.mark.parametrize("objects", range(1, 9))
@pytest.mark.parametrize("place", ["ring", "inbox"])
def test_garbage_that_closes_the_producer_is_not_collected_in_the_middle_of_a_grant(place: str, objects: int) -> None:
    producer: Any
    if place == "ring":
        ring = Ring.create(1 << 14)
        _consumer, producer = ring.consumer(), ring.producer()
        reserve = producer.try_reserve
    else:
        producer, _receiver = replica_inbox_pair(1 << 14)
        reserve = producer.reserve_chunk
    reserve(10).abort()
    Closer(producer)
    with collecting_after(objects):
        grant = reserve(10)
    view = grant.view
    producer.close()
    with pytest.raises(ClosedError):
        grant.commit(3)
    view[:] = b"0123456789"  # the view is of a private copy


@pytest.mark.parametrize("objects", range(1, 9))
def test_garbage_that_ends_a_batch_is_collected_in_the_middle_of_a_payload(objects: int) -> None:
    with Ring.create(1 << 14) as ring, ring.producer() as producer, ring.consumer() as consumer:
        producer.write_many([b"a" * 100] * 20)
        batch = consumer.drain()
        assert batch[0] == b"a" * 100
        Closer(consumer)
        with collecting_after(objects):
            payload = batch[1]
        assert payload == b"a" * 100


@contextlib.contextmanager
def collecting_after(objects: int) -> Iterator[None]:
    """Make the collector run, with garbage to collect, while one of the next ``objects`` objects is made."""
    threshold = gc.get_threshold()
    gc.disable()
    gc.set_threshold(objects, 1000, 1000)
    gc.enable()
    try:
        yield
    finally:
        gc.set_threshold(*threshold)


class FailsLater(Sequence[bytes]):
    """Two arguments, whose number can be asked for once."""

    asked = 0

    def __len__(self) -> int:
        self.asked += 1
        if self.asked > 1:
            raise RuntimeError("asked again")
        return 2

    def __getitem__(self, index: Any) -> Any:
        return b"x"


def test_a_sequence_that_fails_in_the_middle_sends_and_writes_nothing(ring: Ring, inbox: Inbox) -> None:
    sender, receiver = inbox
    with pytest.raises(RuntimeError, match="asked again"):
        sender.send(Frame(1, FailsLater()))
    producer, consumer = ring.producer(), ring.consumer()
    with pytest.raises(RuntimeError, match="asked again"):
        producer.write_many(FailsLater())
    assert receiver.try_recv() is None
    assert consumer.try_read() is None


def test_the_batch_of_an_empty_drain_becomes_no_event() -> None:
    with pytest.raises(ValueError, match="no records"):
        Batch()._become(bytes(32), 1, 1)
    with pytest.raises(ValueError, match="no records"):
        Batch()._part()
