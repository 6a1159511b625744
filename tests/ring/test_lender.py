"""Loans of ring memory: a view that is still held is found, and is cut off from the ring when the memory is reused."""

from __future__ import annotations

import ctypes
import pickle
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

from kevy_ring import ClosedError, Frame, ReplicaInboxSender, Ring, SnapshotChunk, ViewsEscaped, replica_inbox_pair
from kevy_ring.ring import inspect_ring

HOLDERS: dict[str, Callable[[memoryview], Any]] = {
    "the view itself": lambda view: view,
    "a slice": lambda view: view[1:2],
    "a slice of a slice": lambda view: view[1:][1:],
    "a view of the view": memoryview,
    "a cast": lambda view: view[:4].cast("I"),
    "a numpy array": lambda view: np.frombuffer(view, np.uint8),
    "a numpy slice": lambda view: np.frombuffer(view, np.uint8)[2:],
    "a pickle buffer": pickle.PickleBuffer,
    "the exporter": lambda view: view.obj,
    "an iterator": iter,
}


@pytest.mark.parametrize("holder", HOLDERS)
def test_whatever_keeps_a_view_of_a_batch_alive_is_found_out(holder: str) -> None:
    with Ring.create(1 << 16) as ring, ring.producer() as producer, ring.consumer() as consumer:
        producer.try_write(b"12345678")
        batch = consumer.drain()
        kept = HOLDERS[holder](batch[0])
        for _ in range(2):
            with pytest.raises(ViewsEscaped) as escaped:
                batch.release()
            assert escaped.value.held == 24
            assert inspect_ring(ring.name).events_out == 0
        assert batch[0] == b"12345678"
        del kept
        batch.release()
        assert inspect_ring(ring.name).events_out == 1


@pytest.mark.parametrize("holder", [*HOLDERS, "a ctypes object"])
def test_whatever_keeps_a_view_of_a_grant_alive_is_found_out(holder: str) -> None:
    hold = HOLDERS.get(holder, (ctypes.c_char * 4).from_buffer)
    with Ring.create(1 << 16) as ring, ring.producer() as producer, ring.consumer() as consumer:
        grant = producer.try_reserve(8)
        assert grant is not None
        kept = hold(grant.view)
        for _ in range(2):
            with pytest.raises(ViewsEscaped) as escaped:
                grant.commit(8)
            assert escaped.value.held == 8
        grant.view[:] = b"12345678"
        del kept
        grant.commit(8)
        producer.publish()
        assert consumer.read_many() == [b"12345678"]


def test_copies_of_a_batch_are_no_views() -> None:
    with Ring.create(1 << 16) as ring, ring.producer() as producer, ring.consumer() as consumer:
        producer.write_many([b"one", b"two"])
        with consumer.drain() as batch:
            kept = [bytes(batch[0]), batch[1].tobytes(), batch.copies(), batch.lengths, batch.starts]
        assert kept[:3] == [b"one", b"two", [b"one", b"two"]]


def test_a_part_can_be_released_only_while_no_view_is_kept() -> None:
    with Ring.create(1 << 16) as ring, ring.producer() as producer, ring.consumer() as consumer:
        producer.write_many([b"0", b"1", b"2"])
        batch = consumer.drain()
        kept = batch[2]
        with pytest.raises(ViewsEscaped):
            batch.release(upto=1)
        del kept
        batch.release(upto=1)
        assert batch[2] == b"2"
        batch.release()
        assert inspect_ring(ring.name).events_out == 3


def test_views_that_an_exception_keeps_get_a_copy_and_the_ring_goes_on_with_a_fresh_loan() -> None:
    with Ring.create(1 << 16) as ring, ring.producer() as producer, ring.consumer() as consumer:
        producer.write_many([b"first", b"second"])
        kept = []
        with pytest.raises(ZeroDivisionError), consumer.drain() as batch:
            for record in batch:
                kept.append(record)
                if len(kept) == 2:
                    raise ZeroDivisionError
        del record
        while producer.try_write(b"x" * 1000):
            pass
        assert kept == [b"first", b"second"]
        with consumer.drain(1) as batch:
            assert batch[0] == b"second"
        batch = consumer.drain(1)
        again = batch[0]
        with pytest.raises(ViewsEscaped):
            batch.release()
        del again
        batch.release()


def test_a_drain_of_another_size_under_an_open_batch_leaves_its_columns_alone() -> None:
    with Ring.create(1 << 16) as ring, ring.producer() as producer, ring.consumer() as consumer:
        producer.write_many([b"a", b"bb", b"ccc", b"dddd"])
        batch = consumer.drain(3)
        for other in (1, 2, 5000):
            with pytest.raises(Exception, match="open"):
                consumer.drain(other)
        assert [bytes(record) for record in batch] == [b"a", b"bb", b"ccc"]
        batch.release()
        with consumer.drain(1) as batch:
            assert (batch.count, batch[0]) == (1, b"dddd")
            with pytest.raises(IndexError):
                batch[1]


def test_drains_of_changing_sizes_find_their_own_records() -> None:
    with Ring.create(1 << 16) as ring, ring.producer() as producer, ring.consumer() as consumer:
        expected = [bytes([i]) * i for i in range(100)]
        producer.write_many(expected)
        read: list[bytes] = []
        for most in (3, 1, 20, 2, 8, 7, 1024):
            with consumer.drain(most) as batch:
                read += [bytes(batch[i]) for i in range(len(batch))]
        assert read == expected


def test_a_batch_says_that_it_is_released_whatever_was_read_of_it_before() -> None:
    sender, receiver = replica_inbox_pair(1 << 16)
    with sender, receiver:
        for count in (1, 3, 100):
            sender.send_many([Frame(i, [b"SET", b"k%d" % i, b""]) for i in range(count)])
            with receiver.drain() as batch:
                frames = list(batch)
                assert [list(map(bytes, frame.argv)) for frame in frames if isinstance(frame, Frame)] == [
                    [b"SET", b"k%d" % i, b""] for i in range(count)
                ]
            touches: list[Callable[[], object]] = [
                partial(batch.__getitem__, 0),
                partial(getattr, frames[0], "argv"),
                partial(list, batch),
                partial(batch.argv, 0),
                partial(getattr, batch, "buffer"),
                partial(getattr, batch, "offsets"),
            ]
            for touch in touches:
                with pytest.raises(ClosedError):
                    touch()


def test_a_grant_that_is_open_when_its_producer_closes_reaches_the_ring_no_more() -> None:
    with Ring.create(1 << 16) as ring, ring.consumer() as consumer:
        producer = ring.producer()
        producer.try_write(b"published")
        grant = producer.try_reserve(8)
        assert grant is not None
        grant.view[:] = b"mine...."
        producer.close()
        with ring.producer() as successor:
            assert successor.try_write(b"its own.")
            assert grant.view == b"mine...."
            grant.view[:] = b"too late"
            assert consumer.read_many() == [b"published", b"its own."]
            with pytest.raises(ClosedError):
                grant.commit(8)
            assert successor.try_write(b"more")
            assert consumer.read_many() == [b"more"]
        assert grant.view == b"too late"


def test_a_view_that_outlives_a_failed_grant_hinders_no_later_one_and_ends_with_the_close() -> None:
    with Ring.create(1 << 16) as ring, ring.consumer() as consumer:
        producer = ring.producer()
        kept = []
        with pytest.raises(ZeroDivisionError), producer.try_reserve(8) as grant:  # type: ignore[union-attr]
            grant.view[:] = b"kept...."
            kept.append(grant.view)
            raise ZeroDivisionError
        assert grant.view == b""
        assert producer.try_write(b"x" * 100)
        later = producer.try_reserve(4)
        assert later is not None
        later.view[:] = b"next"
        later.commit(4)
        producer.close()
        assert consumer.read_many() == [b"x" * 100, b"next"]
        with ring.producer() as successor:
            assert successor.write_many([b"y" * 1000] * 65) == 64
            kept[0][:] = b"too late"
            assert consumer.read_many() == [b"y" * 1000] * 64


def test_a_view_that_outlives_an_aborted_chunk_hinders_no_later_one() -> None:
    sender, receiver = replica_inbox_pair(1 << 16)
    with sender, receiver:
        with sender.reserve_chunk(8) as grant:
            kept = grant.view
        with sender.reserve_chunk(8) as grant:
            assert grant.in_ring
            grant.view[:4] = b"next"
            grant.commit(4)
        event = receiver.try_recv()
        assert isinstance(event, SnapshotChunk)
        assert event.data == b"next"
        assert len(kept) == 8


def test_a_chunk_that_is_open_when_its_sender_closes_reaches_the_ring_no_more() -> None:
    sender, receiver = replica_inbox_pair(1 << 16)
    with receiver:
        grant = sender.reserve_chunk(8)
        assert grant.in_ring
        grant.view[:] = b"mine...."
        sender.close()
        with ReplicaInboxSender.attach(receiver.name) as successor:
            successor.send(SnapshotChunk(b"its own."))
            assert grant.view == b"mine...."
            grant.view[:] = b"too late"
            event = receiver.try_recv()
            assert isinstance(event, SnapshotChunk)
            assert event.data == b"its own."
            with pytest.raises(ClosedError):
                grant.commit(8)


def test_a_closed_producer_leaves_no_trace_of_a_grant_that_was_let_go() -> None:
    with Ring.create(1 << 16) as ring, ring.consumer() as consumer:
        producer = ring.producer()
        grant = producer.try_reserve(8)
        assert grant is not None
        del grant
        producer.close()
        with ring.producer() as successor:
            assert successor.try_write(b"next")
            assert consumer.read_many() == [b"next"]
