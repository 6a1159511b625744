"""The inbox and its events, as type checkers see them. Checked, never run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import assert_never, assert_type

import numpy as np
import numpy.typing as npt

from kevy_ring import (
    Batch,
    Frame,
    ReplicaApply,
    ReplicaInboxReceiver,
    ReplicaInboxSender,
    SendError,
    SnapshotBegin,
    SnapshotChunk,
    SnapshotEnd,
    replica_inbox_pair,
    replica_inbox_pairs,
)
from kevy_ring.events import BytesLike, OwnedApply
from kevy_ring.inbox import ChunkGrant, Overflow, Published
from kevy_ring.ring import RingStats
from kevy_ring.ring.batch_stream import BatchStream


def make_and_find() -> None:
    sender, receiver = replica_inbox_pair(1 << 20, name="a-name")
    assert_type(sender, ReplicaInboxSender)
    assert_type(receiver, ReplicaInboxReceiver)
    assert_type(replica_inbox_pairs(4), list[tuple[ReplicaInboxSender, ReplicaInboxReceiver]])
    assert_type(ReplicaInboxSender.attach("a-name", timeout=1.0), ReplicaInboxSender)
    assert_type(ReplicaInboxReceiver.attach("a-name", spin_us=0.0), ReplicaInboxReceiver)


def send(sender: ReplicaInboxSender, frames: list[Frame]) -> None:
    sender.send(SnapshotBegin())
    sender.send(SnapshotChunk(b"bytes"))
    sender.send(SnapshotEnd(ack_offset=1))
    sender.send(Frame(1, [b"SET", memoryview(b"k"), bytearray(b"v")]))
    sender.send_many(frames)
    sender.send_many([SnapshotBegin(), SnapshotEnd(1)])
    with sender.reserve_chunk(100) as grant:
        assert_type(grant, ChunkGrant)
        assert_type(grant.view, memoryview)
        grant.commit(50)
    assert_type(sender.flush(timeout=1.0), bool)
    assert_type(sender.overflow, Overflow)
    assert_type(sender.overflow.oldest_age_s, float)
    assert_type(sender.applied_offset, int | None)
    assert_type(sender.published, Published)
    assert_type(sender.close(timeout=1.0), int)


def receive(receiver: ReplicaInboxReceiver) -> None:
    assert_type(receiver.try_recv(), OwnedApply | None)
    assert_type(receiver.recv(timeout=1.0), OwnedApply | None)
    assert_type(receiver.recv_many(10), list[OwnedApply])
    assert_type(receiver.stats(), RingStats)
    assert_type(receiver.lost_offset, int | None)
    assert_type(iter(receiver), Iterator[OwnedApply])
    receiver.mark_applied(10)
    receiver.mark_applied(None)
    with receiver as same:
        assert_type(same, ReplicaInboxReceiver)


def receive_in_place(receiver: ReplicaInboxReceiver) -> None:
    with receiver.drain(max_events=10) as batch:
        assert_type(batch, Batch)
        assert_type(batch.kinds, npt.NDArray[np.uint8])
        assert_type(batch.offsets, npt.NDArray[np.uint64])
        assert_type(batch.argv(0), list[memoryview])
        assert_type(batch.payload(0), memoryview)
        assert_type(batch.resp(), list[memoryview])
        assert_type(batch[0], ReplicaApply)
        assert_type(batch.owned(0), OwnedApply)
        for event in batch:
            assert_type(event, ReplicaApply)


def every_event_has_its_case(event: ReplicaApply) -> int:
    match event:
        case Frame(offset, argv):
            assert_type(offset, int)
            assert_type(argv, Sequence[BytesLike])
            return len(argv)
        case SnapshotBegin():
            return 0
        case SnapshotChunk(data):
            assert_type(data, bytes | bytearray | memoryview)
            return len(data)
        case SnapshotEnd(ack_offset):
            assert_type(ack_offset, int)
            return ack_offset
        case _:
            assert_never(event)


def what_is_received_may_be_kept(event: OwnedApply, sender: ReplicaInboxSender) -> bytes:
    sender.send(event)
    match event:
        case Frame(_, argv):
            assert_type(argv, list[bytes])
            return b" ".join(argv)
        case SnapshotChunk(data):
            assert_type(data, bytes)
            return data
        case SnapshotBegin() | SnapshotEnd():
            return b""
        case _:
            assert_never(event)


async def receive_in_an_event_loop(sender: ReplicaInboxSender, receiver: ReplicaInboxReceiver) -> None:
    assert_type(await sender.flush_async(timeout=1.0), bool)
    assert_type(await receiver.recv_async(timeout=1.0), OwnedApply | None)
    assert_type(await receiver.wait_async(), bool)
    assert_type(receiver.batches(max_events=10), BatchStream[Batch])
    async for batch in receiver:
        assert_type(batch, Batch)


def what_was_not_sent(error: SendError) -> None:
    assert_type(error.name, str)
    assert_type(error.event, ReplicaApply | None)
    assert_type(error.unsent, Sequence[ReplicaApply])


def not_as_it_is_meant(sender: ReplicaInboxSender, receiver: ReplicaInboxReceiver) -> None:
    sender.send(b"bytes")  # type: ignore[arg-type]
    sender.send_many(Frame(1, [b"PING"]))  # type: ignore[arg-type]
    Frame("1", [b"PING"])  # type: ignore[arg-type]
    Frame(1, ["PING"])  # type: ignore[list-item]
    receiver.mark_applied("10")  # type: ignore[arg-type]
    receiver.drain(max_records=10)  # type: ignore[call-arg]
    receiver.send(Frame(1, [b"PING"]))  # type: ignore[attr-defined]
