"""Both ends of a new inbox, as the original's channel constructor gives them."""

from __future__ import annotations

from kevy_ring.inbox.receiver import ReplicaInboxReceiver
from kevy_ring.inbox.sender import ReplicaInboxSender
from kevy_ring.ring.segment import DEFAULT_CAPACITY, Segment


def replica_inbox_pair(
    capacity: int = DEFAULT_CAPACITY, name: str | None = None
) -> tuple[ReplicaInboxSender, ReplicaInboxReceiver]:
    """A sender and a receiver over a new ring of ``capacity`` bytes (a power of two, at least a page).

    ``name``: at most 30 characters; None makes an unguessable one. This process owns the ring and removes its name.
    Each handle takes its role on first use, in the process that uses it first: hand one of them to a child by
    pickling (spawn, forkserver) or inheritance (fork). Raises as :meth:`Segment.create`.
    """
    segment = Segment.create(capacity, name)
    return ReplicaInboxSender(segment), ReplicaInboxReceiver(segment)


def replica_inbox_pairs(
    shards: int, capacity: int = DEFAULT_CAPACITY, name: str | None = None
) -> list[tuple[ReplicaInboxSender, ReplicaInboxReceiver]]:
    """One pair per shard; with ``name``, shard ``i`` is named ``f"{name}-{i}"``. A failure leaves none behind."""
    if shards < 1:
        raise ValueError(f"at least one shard: {shards}")
    pairs: list[tuple[ReplicaInboxSender, ReplicaInboxReceiver]] = []
    try:
        for i in range(shards):
            pairs.append(replica_inbox_pair(capacity, None if name is None else f"{name}-{i}"))
    except BaseException:
        for sender, receiver in pairs:
            sender.close(timeout=0)
            receiver.close()
        raise
    return pairs
