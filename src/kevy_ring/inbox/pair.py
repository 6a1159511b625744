"""Makes both ends of a new inbox."""

from __future__ import annotations

from kevy_ring.inbox.receiver import ReplicaInboxReceiver
from kevy_ring.inbox.sender import ReplicaInboxSender
from kevy_ring.ring.segment import DEFAULT_CAPACITY, Segment


def replica_inbox_pair(
    capacity: int = DEFAULT_CAPACITY, name: str | None = None
) -> tuple[ReplicaInboxSender, ReplicaInboxReceiver]:
    """A sender and a receiver over a new ring of ``capacity`` bytes (a power of two, at least a page).

    ``name``: at most 30 characters; None makes an unguessable one. This process owns the ring and removes its name.
    Pass one of the handles to a child process: by pickling (spawn, forkserver) or inheritance (fork). Each handle takes
    its role on first use, for the process that uses it first.

        sender, receiver = replica_inbox_pair()
        get_context("spawn").Process(target=shard, args=(receiver,)).start()
        sender.send(Frame(17, [b"SET", b"k", b"v"]))

    Raises ``ValueError`` for a bad name or capacity, and :class:`SegmentError` if the name exists, shared memory is
    short or the process is at a limit (``reason`` says which).
    """
    segment = Segment.create(capacity, name)
    return ReplicaInboxSender(segment), ReplicaInboxReceiver(segment)


def replica_inbox_pairs(
    shards: int, capacity: int = DEFAULT_CAPACITY, name: str | None = None
) -> list[tuple[ReplicaInboxSender, ReplicaInboxReceiver]]:
    """Make one pair for each of ``shards`` shards, over a ring of ``capacity`` bytes each. Returns them in order.

    With ``name``, the ring of shard ``i`` is named ``f"{name}-{i}"``.

        for sender, receiver in replica_inbox_pairs(2):
            sender.send(Frame(0, [b"PING"]))

    Raises as :func:`replica_inbox_pair`, and ``ValueError`` without a shard. Then no ring is left behind.
    """
    if shards < 1:
        raise ValueError(f"there is at least one shard, not {shards}")
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
