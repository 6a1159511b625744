"""One round of ``snapshot``, driven from Python: ``python -m bench.snapshot_round CHUNKS [check]``.

The sender fills chunks where they lie in the ring (as ``recv_into`` does); the receiver appends them to the shard's
buffer from there.
"""

from __future__ import annotations

import hashlib
import random
import sys
import time
from multiprocessing.connection import Connection
from typing import Any

from bench.measured import WrongAnswer
from bench.pair_process import at_the_start, dismiss, fork_role, gather, main
from kevy_ring import ReplicaInboxReceiver, ReplicaInboxSender, replica_inbox_pair
from kevy_ring.events import SnapshotChunk

CHUNK_BYTES = 64 << 10
_SNAPSHOT_CHUNKS = 1024  # then the shard's buffer is filled anew
_SOURCES = 16
_CAPACITY = 8 << 20


def _produce(sender: ReplicaInboxSender, sources: list[bytes], chunks: int, connection: Connection) -> dict[str, Any]:
    sender.receiver_gone  # noqa: B018  the role is taken before the time begins
    at_the_start(connection)
    began = time.monotonic_ns()
    for i in range(chunks):
        with sender.reserve_chunk(CHUNK_BYTES) as grant:
            grant.view[:] = sources[i % _SOURCES]
            grant.commit(CHUNK_BYTES)
        # The ring was full: this chunk went into the overflow, and is waited for. Who sends on without a look fills
        # the memory with chunks, each of them copied twice more.
        if not grant.in_ring and not sender.flush(60.0):
            raise WrongAnswer("the overflow did not empty")
    if not sender.flush(60.0):
        raise WrongAnswer("the overflow did not empty")
    return {"at": began}


def _consume(
    receiver: ReplicaInboxReceiver, sources: list[bytes], chunks: int, connection: Connection, check: bool
) -> dict[str, Any]:
    # Every page is touched before the time begins, as in the other contenders.
    shard = memoryview(bytearray(b"\1") * (_SNAPSHOT_CHUNKS * CHUNK_BYTES))
    receiver.try_recv()
    seen = used = 0
    digest = hashlib.blake2b(digest_size=16)
    at_the_start(connection)
    while seen < chunks:
        with receiver.drain(64, _CAPACITY // 8) as batch:
            if not len(batch):
                receiver.wait(10.0)
                continue
            for event in batch:
                if not isinstance(event, SnapshotChunk):
                    raise WrongAnswer("no chunk")
                chunk = event.data
                if used == len(shard):
                    used = 0
                shard[used : used + len(chunk)] = chunk
                if check:
                    digest.update(shard[used : used + len(chunk)])
                used += len(chunk)
                seen += 1
                del chunk
    ended = time.monotonic_ns()
    if check:
        expected = hashlib.blake2b(b"".join(sources[i % _SOURCES] for i in range(chunks)), digest_size=16)
        if digest.digest() != expected.digest():
            raise WrongAnswer("the chunks differ")
    if shard[used - CHUNK_BYTES : used] != sources[(chunks - 1) % _SOURCES]:
        raise WrongAnswer("the last chunk is another one")
    return {"at": ended}


def run(chunks: int, check: bool) -> dict[str, Any]:
    """Both sides in fresh processes; seconds from the first chunk to the last one appended."""
    sources = [random.Random(i).randbytes(CHUNK_BYTES) for i in range(_SOURCES)]
    sender, receiver = replica_inbox_pair(_CAPACITY)
    sides = [
        fork_role(lambda c: _consume(receiver, sources, chunks, c, check)),
        fork_role(lambda c: _produce(sender, sources, chunks, c)),
    ]
    gather(sides, "ready")
    for side in sides:
        side.send("go")
    taken, sent = gather(sides, "report")
    dismiss(sides)
    return {"seconds": (taken["at"] - sent["at"]) / 1e9, "work": chunks * CHUNK_BYTES, "figures": {}}


if __name__ == "__main__":
    sys.exit(main(lambda: run(int(sys.argv[1]), "check" in sys.argv[2:])))
