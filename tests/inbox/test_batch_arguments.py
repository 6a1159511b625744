"""The k-th argument of all frames of a batch as columns, a batch of events for Arrow, and a frozen one."""

from __future__ import annotations

import mmap
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pytest

from kevy_ring import (
    Batch,
    ClosedError,
    CorruptRing,
    Frame,
    ReplicaApply,
    ReplicaInboxReceiver,
    ReplicaInboxSender,
    SnapshotBegin,
    SnapshotChunk,
    SnapshotEnd,
    replica_inbox_pair,
)

Inbox = tuple[ReplicaInboxSender, ReplicaInboxReceiver]
EVENTS: list[ReplicaApply] = [
    SnapshotBegin(),
    SnapshotChunk(b"chunk"),
    SnapshotEnd(4),
    Frame(5, [b"SET", b"key", b"value"]),
    Frame(9, [b"PING"]),
    Frame(12, [b"DEL", b"", b"other"]),
]


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    sender, receiver = replica_inbox_pair(1 << 16)
    with sender, receiver:
        yield sender, receiver


def argument(batch: Batch, k: int) -> list[bytes | None]:
    """Argument ``k`` of each event, read by the columns; None: it has none."""
    starts, lengths = batch.arguments(k)
    assert (starts.dtype, lengths.dtype) == (np.uint64, np.uint32)
    pairs = zip(starts.tolist(), lengths.tolist(), strict=True)
    return [bytes(batch.buffer[start : start + length]) if start else None for start, length in pairs]


def by_event(k: int) -> list[bytes | None]:
    """The same, from the events themselves."""
    found: list[bytes | None] = []
    for event in EVENTS:
        argv = event.argv if isinstance(event, Frame) else []
        found.append(bytes(argv[k]) if -len(argv) <= k < len(argv) else None)
    return found


def test_the_columns_of_an_argument_are_those_of_the_events(inbox: Inbox) -> None:
    sender, receiver = inbox
    sender.send_many(EVENTS)
    with receiver.drain() as batch:
        for k in (0, 1, 2, 3, -1, -2, -3, -4, 1 << 40, -(1 << 70)):
            assert argument(batch, k) == by_event(k)
    with pytest.raises(ClosedError):
        batch.arguments(0)
    starts, lengths = receiver.drain().arguments(0)
    assert starts.size == lengths.size == 0


def test_the_arguments_of_many_frames_across_the_end_of_the_ring(inbox: Inbox) -> None:
    sender, receiver = inbox
    for turn in range(20):
        keys = [b"key:%d:%d" % (turn, i) for i in range(300)]
        sender.send_many([Frame(i, [b"SET", key, b"v" * (i % 90)]) for i, key in enumerate(keys)])
        with receiver.drain() as batch:
            assert argument(batch, 1) == keys


def test_an_event_larger_than_the_ring_has_its_arguments(inbox: Inbox) -> None:
    sender, receiver = inbox
    sender.send(Frame(1, [b"SET", b"key", b"v" * 200_000]))
    while not len(batch := receiver.drain()):  # a drain that finds some of its parts returns no event yet
        receiver.wait(1)
    with batch:
        assert argument(batch, 2) == [b"v" * 200_000]
        found = pa.array(batch)
    assert found.to_pylist()[0]["argv"][2] == b"v" * 200_000


def test_a_batch_of_events_is_a_struct_array_of_arrow(inbox: Inbox) -> None:
    sender, receiver = inbox
    sender.send_many(EVENTS)
    with receiver.drain() as batch:
        found = pa.array(batch)
    sender.send_many([Frame(1, [b"x" * 50])] * 1000)  # over the same memory
    found.validate(full=True)
    frames = [event.argv if isinstance(event, Frame) else None for event in EVENTS]
    assert found.field("argv").to_pylist() == frames
    assert found.field("data").to_pylist() == [None, b"chunk", None, None, None, None]
    assert found.field("offset").to_pylist() == [0, 0, 4, 5, 9, 12]
    assert found.field("kind").to_pylist() == [int(event.kind) for event in EVENTS]
    with pytest.raises(TypeError, match="arguments"):
        receiver.drain().as_array("u1")


def test_a_frozen_batch_of_events_can_be_read_without_end(inbox: Inbox) -> None:
    sender, receiver = inbox
    sender.send_many(EVENTS)
    batch = receiver.drain()
    kept = next(event for event in batch if isinstance(event, Frame)).argv[2]
    batch.freeze()
    sender.send_many([Frame(1, [b"x" * 50])] * 1000)
    receiver.close()
    assert bytes(kept) == b"value"
    assert list(batch) == EVENTS
    assert [batch.owned(i) for i in range(len(batch))] == EVENTS
    assert argument(batch, 1) == by_event(1)
    assert b"".join(batch.resp()).startswith(b"*3\r\n$3\r\nSET\r\n")
    assert len(pa.array(batch)) == len(EVENTS)


def test_end_positions_that_another_process_made_wrong_are_an_error(inbox: Inbox) -> None:
    sender, receiver = inbox
    sender.send_many([Frame(1, [b"GET", b"a"]), Frame(2, [b"GET", b"b"])])
    with receiver.drain() as batch:
        with open(f"/dev/shm/{sender.name}", "r+b") as file, mmap.mmap(file.fileno(), 0) as area:
            area_begin = len(area) - (1 << 16)
            end_at = area_begin + int(batch.starts[1]) + 4  # behind the number of arguments
            area[end_at : end_at + 4] = b"\xff\xff\xff\xff"
        position = int(batch.starts[1]) - 16
        for read in (lambda: batch.arguments(0), lambda: batch.arguments(1), lambda: pa.array(batch)):
            with pytest.raises(CorruptRing) as caught:
                read()
            assert caught.value.position == position
        batch.freeze()
        with pytest.raises(CorruptRing):
            batch.arguments(0)
