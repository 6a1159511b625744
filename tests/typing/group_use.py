"""The types of groups, distributors and the queue, as a user's type checker sees them."""

from __future__ import annotations

from typing import assert_type

from kevy_ring import Batch, Consumer, Distributor, InboxGroup, KeyedDistributor, Producer, RingGroup, RingQueue
from kevy_ring.events import OwnedApply
from kevy_ring.ring import RecordBatch


def fan_in(group: RingGroup, inboxes: InboxGroup) -> None:
    assert_type(RingGroup.create(2), tuple[RingGroup, list[Producer]])
    assert_type(RingGroup.attach(["a", "b"]), RingGroup)
    assert_type(group.read(timeout=1), bytes | None)
    assert_type(group.read_many(), list[bytes])
    assert_type(group.drain(), RecordBatch)
    assert_type(group.drain().ring_name, str)
    assert_type(inboxes.recv(timeout=1), OwnedApply | None)
    assert_type(inboxes.recv_many(), list[OwnedApply])
    assert_type(inboxes.drain(), Batch)
    for record in group:
        assert_type(record, bytes)


def fan_out(distributor: Distributor, keyed: KeyedDistributor, jobs: RingQueue) -> None:
    assert_type(Distributor.create(2), tuple[Distributor, list[Consumer]])
    assert_type(distributor.write(b"x", timeout=1), bool)
    assert_type(distributor.write_many([b"x"]), int)
    assert_type(keyed.write(b"k", b"x"), bool)
    assert_type(keyed.write_many([b"k"], [b"x"]), list[int])
    assert_type(keyed.take_back("name"), list[bytes])
    jobs.put(1)
    assert_type(jobs.qsize(), int)
