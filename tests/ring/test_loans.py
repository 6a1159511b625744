"""Grants and batches, each in one call, and their rare cases."""

from __future__ import annotations

import gc
import os
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from kevy_ring import (
    BatchOpen,
    ClosedError,
    Frame,
    ReplicaInboxReceiver,
    ReplicaInboxSender,
    Ring,
    SendError,
    SnapshotBegin,
    SnapshotChunk,
    SnapshotEnd,
    ViewsEscaped,
    replica_inbox_pair,
)
from kevy_ring.ring import inspect_ring
from kevy_ring.ring.consumer import Consumer
from kevy_ring.ring.producer import Producer

Ends = tuple[Producer, Consumer]
Inbox = tuple[ReplicaInboxSender, ReplicaInboxReceiver]


@pytest.fixture
def ends() -> Iterator[Ends]:
    """Both ends of a ring, after their first calls, which take the roles."""
    with Ring.create(1 << 16) as ring, ring.producer() as producer, ring.consumer() as consumer:
        put(producer, b"first")
        with consumer.drain(8):
            pass
        yield producer, consumer


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    sender, receiver = replica_inbox_pair(1 << 16)
    with sender, receiver:
        sender.send(Frame(0, [b"PING"]))
        with receiver.drain(8):
            pass
        yield sender, receiver


def put(producer: Producer, record: bytes) -> None:
    grant = producer.try_reserve(len(record))
    assert grant is not None
    grant.view[:] = record
    grant.commit(len(record))
    producer.publish()


def put_chunk(sender: ReplicaInboxSender, data: bytes) -> None:
    with sender.reserve_chunk(len(data)) as grant:
        grant.view[:] = data
        grant.commit(len(data))


def taken(consumer: Consumer, most: int = 8) -> list[bytes]:
    with consumer.drain(most) as batch:
        return [bytes(batch[i]) for i in range(len(batch))]


@pytest.mark.parametrize("length", [0, 1, 7, 8, 1000])
def test_a_record_written_in_place_is_read_in_place(ends: Ends, length: int) -> None:
    producer, consumer = ends
    for _ in range(200):  # enough to pass the end of the ring many times
        put(producer, b"x" * length)
        put(producer, b"y" * length)
        assert taken(consumer) == [b"x" * length, b"y" * length]


def test_a_grant_is_committed_in_part_and_once(ends: Ends) -> None:
    producer, consumer = ends
    grant = producer.try_reserve(length=10)
    assert grant is not None
    grant.view[:] = b"0123456789"
    for bad in (11, -1, 2**70):
        with pytest.raises(ValueError, match="into a grant of 10"):
            grant.commit(bad)
    with pytest.raises(TypeError):
        grant.commit("4")  # type: ignore[arg-type]
    assert grant.view == b"0123456789"
    grant.commit(length=4)
    assert grant.view == b""
    with pytest.raises(ClosedError):
        grant.commit(4)
    grant.abort()
    producer.publish()
    assert taken(consumer) == [b"0123"]


def test_a_grant_that_is_left_uncommitted_is_no_record(ends: Ends) -> None:
    producer, consumer = ends
    for _ in range(2):
        with producer.try_reserve(10) as grant:  # type: ignore[union-attr]
            grant.view[:] = b"0123456789"
        producer.publish()
    assert taken(consumer) == []


def test_wrong_lengths_are_refused_in_words(ends: Ends, inbox: Inbox) -> None:
    producer, _ = ends
    sender, _ = inbox
    with pytest.raises(ValueError, match="larger than the ring"):
        producer.try_reserve(1 << 16)
    with pytest.raises(ValueError, match="larger than the ring"):
        producer.try_reserve(1 << 40)
    for bad in (-1, 2**70):
        with pytest.raises(OverflowError):
            producer.try_reserve(bad)
    for bad in (0, -1, (1 << 30) + 1, 2**70):
        with pytest.raises(ValueError, match="a chunk has"):
            sender.reserve_chunk(bad)
    for call in (producer.try_reserve, sender.reserve_chunk):
        with pytest.raises(TypeError):
            call("8")  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="missing"):
            call()  # type: ignore[call-arg]
        with pytest.raises(TypeError, match="unexpected"):
            call(bytes=8)  # type: ignore[call-arg]


def test_a_full_ring_grants_nothing_and_is_counted_once(ends: Ends) -> None:
    producer, consumer = ends
    before = inspect_ring(producer.name).full_hits
    put(producer, b"x" * 40_000)
    assert producer.try_reserve(40_000) is None
    assert inspect_ring(producer.name).full_hits == before + 1
    assert taken(consumer) == [b"x" * 40_000]
    put(producer, b"y" * 40_000)
    assert taken(consumer) == [b"y" * 40_000]


def test_a_chunk_without_room_is_ordinary_memory_and_is_counted_once(inbox: Inbox) -> None:
    sender, receiver = inbox
    put_chunk(sender, b"x" * 40_000)
    before = inspect_ring(sender.name).full_hits
    with sender.reserve_chunk(40_000) as grant:
        assert not grant.in_ring
        assert (grant.length, len(grant.view)) == (40_000, 40_000)
        assert inspect_ring(sender.name).full_hits == before + 1
        grant.view[:] = b"y" * 40_000
        grant.commit(40_000)
    put_chunk(sender, b"behind it")
    events = [receiver.recv(60) for _ in range(3)]
    assert events == [SnapshotChunk(data) for data in (b"x" * 40_000, b"y" * 40_000, b"behind it")]


def test_a_chunk_of_nothing_is_not_sent(inbox: Inbox) -> None:
    sender, receiver = inbox
    with sender.reserve_chunk(8) as grant:
        grant.commit(0)
    with sender.reserve_chunk(8) as grant:
        assert (grant.in_ring, grant.length) == (True, 8)
    with sender.reserve_chunk(8) as grant:
        grant.view[:3] = b"abc"
        grant.commit(3)
    assert receiver.recv(0) == SnapshotChunk(b"abc")
    assert receiver.recv(0) is None


def test_what_others_send_while_a_chunk_is_written_comes_first(inbox: Inbox) -> None:
    sender, receiver = inbox
    with sender.reserve_chunk(8) as grant:
        sender.send(Frame(1, [b"SET"]))
        grant.view[:] = b"a chunk."
        grant.commit(8)
    assert [receiver.recv(60), receiver.recv(60)] == [Frame(1, [b"SET"]), SnapshotChunk(b"a chunk.")]


def test_a_grant_of_a_closed_clone_is_committed_through_the_role_that_is_left(inbox: Inbox) -> None:
    sender, receiver = inbox
    clone = sender.clone()
    grant = clone.reserve_chunk(4)
    grant.view[:] = b"late"
    clone.close()
    grant.commit(4)
    assert receiver.recv(0) == SnapshotChunk(b"late")
    with pytest.raises(ClosedError):
        clone.reserve_chunk(4)


def test_a_receiver_that_is_gone_ends_every_step(ends: Ends, inbox: Inbox) -> None:
    producer, consumer = ends
    sender, receiver = inbox
    grant, chunk = producer.try_reserve(4), sender.reserve_chunk(4)
    assert grant is not None
    consumer.close()
    receiver.close()
    for end in (grant, chunk):
        with pytest.raises(SendError):
            end.commit(4)
        with pytest.raises(ClosedError):
            end.commit(4)
    steps: list[Callable[[], object]] = [
        lambda: producer.try_reserve(4),
        producer.publish,
        lambda: sender.reserve_chunk(4),
    ]
    for step in steps:
        with pytest.raises(SendError):
            step()


def test_a_forked_child_may_use_nothing(ends: Ends, inbox: Inbox) -> None:
    producer, consumer = ends
    sender, receiver = inbox
    put(producer, b"record")
    grant, batch = producer.try_reserve(4), consumer.drain(8)
    chunk = sender.reserve_chunk(4)
    assert grant is not None
    steps: list[Callable[[], object]] = [
        lambda: producer.try_reserve(4),
        producer.publish,
        lambda: grant.commit(4),
        lambda: sender.reserve_chunk(4),
        lambda: chunk.commit(4),
        lambda: consumer.drain(8),
        batch.release,
        lambda: receiver.drain(8),
    ]
    pid = os.fork()
    if pid == 0:
        right = 0
        for step in steps:
            try:
                step()
            except ClosedError:
                right += 1
        os._exit(right)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == len(steps)
    batch.release()
    grant.commit(4)
    chunk.commit(4)


def test_records_of_a_batch_are_numbered_as_those_of_a_list(ends: Ends) -> None:
    producer, consumer = ends
    producer.write_many([b"a", b"b", b"c"])
    with consumer.drain(8) as batch:
        assert [batch[i] for i in (0, 2, -1, -3, True, np.int64(1))] == [b"a", b"c", b"c", b"a", b"b", b"b"]
        assert [bytes(record) for record in reversed(batch)] == [b"c", b"b", b"a"]
        assert [bytes(record) for record in batch] == [b"a", b"b", b"c"]
        assert batch[1].readonly
        for beyond in (3, -4, 2**70):
            with pytest.raises(IndexError):
                batch[beyond]
        for wrong in ("0", None, 1.5, slice(0, 1)):
            with pytest.raises(TypeError):
                batch[wrong]
    with pytest.raises(ClosedError):
        batch[0]


def test_limits_of_a_drain_hold_in_every_form(ends: Ends) -> None:
    producer, consumer = ends
    forms: list[Callable[[], Any]] = [
        lambda: consumer.drain(8, 48),
        lambda: consumer.drain(8, max_bytes=48),
        lambda: consumer.drain(max_records=2),
        lambda: consumer.drain(2, None),
        lambda: consumer.drain(max_bytes=50),
        lambda: consumer.drain(2, 2**64),
        lambda: consumer.drain(2, 2**70),
        lambda: consumer.drain(True + 1),
    ]
    for form in forms:
        for _ in range(2):
            producer.write_many([b"1", b"2", b"3"])
            with form() as batch:
                assert (len(batch), batch.more) == (2, True)
            assert taken(consumer) == [b"3"]
    for bad in (0, -1):
        for limits in ((bad,), (8, bad)):
            with pytest.raises(ValueError, match="at least one"):
                consumer.drain(*limits)
    for wrong in ((None,), ("8",), (8, "8"), (8, 8, 8)):
        with pytest.raises(TypeError):
            consumer.drain(*wrong)
    with pytest.raises(TypeError):
        consumer.drain(records=8)  # type: ignore[call-arg]
    producer.write_many([b"1", b"2", b"3"])
    with consumer.drain(2**70) as batch:
        assert len(batch) == 3


def test_columns_that_were_handed_out_stay_as_they_are(ends: Ends) -> None:
    producer, consumer = ends
    producer.write_many([b"1", b"22"])
    with consumer.drain(8) as batch:
        lengths = batch.lengths
    producer.write_many([b"333", b"4444"])
    assert taken(consumer) == [b"333", b"4444"]
    assert lengths.tolist() == [1, 2]


def test_a_batch_is_one_at_a_time_and_its_space_is_given_back_once(ends: Ends) -> None:
    producer, consumer = ends
    producer.write_many([b"1", b"2", b"3"])
    before = inspect_ring(producer.name).events_out
    batch = consumer.drain(8)
    with pytest.raises(BatchOpen):
        consumer.drain(8)
    batch.release(1)
    batch.release(upto=2)
    assert inspect_ring(producer.name).events_out == before + 2
    batch.release()
    batch.release()
    batch.release(0)
    assert inspect_ring(producer.name).events_out == before + 3
    with pytest.raises(ValueError, match="release of 4"):
        batch.release(4)
    assert taken(consumer) == []


def test_an_exception_leaves_a_batch_as_it_was(ends: Ends) -> None:
    producer, consumer = ends
    producer.write_many([b"1", b"2"])
    with pytest.raises(ZeroDivisionError), consumer.drain(8) as batch:
        assert batch[1] == b"2"
        raise ZeroDivisionError
    assert taken(consumer) == [b"1", b"2"]


def test_decoded_arguments_do_not_hinder_a_release_and_kept_ones_do(inbox: Inbox) -> None:
    sender, receiver = inbox
    sender.send_many([Frame(i, [b"SET", b"key"]) for i in range(3)])
    batch = receiver.drain(8)
    kept = batch.argv(1)[1]
    for _ in range(2):
        with pytest.raises(ViewsEscaped):
            batch.release()
    assert batch.argv(2)[0] == b"SET"
    del kept
    batch.release()
    with pytest.raises(ClosedError):
        batch.argv(1)
    assert receiver.recv(0) is None


def test_a_snapshots_end_counts_as_applied_whichever_way_its_batch_ends(inbox: Inbox) -> None:
    sender, receiver = inbox
    for offset in (5, 6):
        sender.send_many([SnapshotBegin(), SnapshotChunk(b"body"), SnapshotEnd(offset)])
        assert sender.loading
        with receiver.drain(8) as batch:
            assert len(batch) == 3
        receiver.mark_applied(offset)
        assert not sender.loading


def test_an_event_larger_than_the_ring_comes_whole_between_others(inbox: Inbox) -> None:
    sender, receiver = inbox
    large = bytes(range(256)) * 1000
    seen: list[bytes] = []
    for _ in range(3):
        sender.send_many([SnapshotChunk(b"before"), SnapshotChunk(large), SnapshotChunk(b"after")])
        seen.clear()
        while len(seen) < 3:
            receiver.wait(60)
            with receiver.drain(8) as batch:
                for event in batch:
                    assert isinstance(event, SnapshotChunk)
                    seen.append(bytes(event.data))
        assert seen == [b"before", large, b"after"]


def test_a_dropped_consumer_and_its_open_batch_are_collected() -> None:
    class Watched(Consumer):
        pass

    with Ring.create(1 << 16) as ring, ring.producer() as producer:
        consumer = Watched(ring._segment)
        for _ in range(2):
            producer.try_write(b"record")
            batch = consumer.drain(8)
            assert batch[0] == b"record"
            batch.release()
        producer.try_write(b"record")
        batch = consumer.drain(8)
        there = weakref.ref(consumer)
        del consumer, batch
        gc.collect()
        assert there() is None


def test_grants_and_batches_are_given_back() -> None:
    def once() -> None:
        with Ring.create(4096) as ring, ring.producer() as producer, ring.consumer() as consumer:
            for _ in range(20):
                put(producer, b"record")
                taken(consumer)
        sender, receiver = replica_inbox_pair(4096)
        with sender, receiver:
            for _ in range(20):
                put_chunk(sender, b"chunk")
                with receiver.drain(8) as batch:
                    assert [type(event).__name__ for event in batch] == ["BatchChunk"]

    once()
    gc.collect()
    before = len(gc.get_objects())
    for _ in range(20):
        once()
    gc.collect()
    assert len(gc.get_objects()) - before < 20
