"""A round of ``snapshot``, driven from Python.

The sender fills chunks in place in the ring (as ``recv_into`` does); the receiver appends them to the shard's buffer.
"""

from __future__ import annotations

import hashlib
import random
from multiprocessing.connection import Connection

from bench.measure import WrongAnswer
from bench.processes import Report, answer, at_the_start, now_ns, time_two
from kevy_ring import ReplicaInboxReceiver, ReplicaInboxSender, replica_inbox_pair
from kevy_ring.events import SnapshotChunk

CHUNK_BYTES = 64 << 10
_SNAPSHOT_CHUNKS = 1024  # then the shard's buffer is used again from its start
_SOURCES = 16
_CAPACITY_BYTES = 8 << 20


def _send(sender: ReplicaInboxSender, sources: list[bytes], chunks: int, connection: Connection) -> Report:
    sender.receiver_gone  # noqa: B018  takes the role before the time begins
    at_the_start(connection)
    began = now_ns()
    for i in range(chunks):
        with sender.reserve_chunk(CHUNK_BYTES) as grant:
            grant.view[:] = sources[i % _SOURCES]
            grant.commit(CHUNK_BYTES)
        # If the ring was full, the chunk went into the overflow: wait for it. A sender that does not wait fills the
        # memory with chunks, and each of them is copied twice more.
        if not grant.in_ring and not sender.flush(60.0):
            raise WrongAnswer("the overflow did not empty")
    if not sender.flush(60.0):
        raise WrongAnswer("the overflow did not empty")
    return {"at": began}


def _receive(
    receiver: ReplicaInboxReceiver, sources: list[bytes], chunks: int, connection: Connection, is_checked: bool
) -> Report:
    # Every page is touched before the time begins, as in the other contenders.
    shard = memoryview(bytearray(b"\1") * (_SNAPSHOT_CHUNKS * CHUNK_BYTES))
    receiver.try_recv()
    seen = used = 0
    digest = hashlib.blake2b(digest_size=16)
    at_the_start(connection)
    while seen < chunks:
        with receiver.drain(64, _CAPACITY_BYTES // 8) as batch:
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
                if is_checked:
                    digest.update(shard[used : used + len(chunk)])
                used += len(chunk)
                seen += 1
                del chunk
    ended = now_ns()
    if is_checked:
        expected = hashlib.blake2b(b"".join(sources[i % _SOURCES] for i in range(chunks)), digest_size=16)
        if digest.digest() != expected.digest():
            raise WrongAnswer("the chunks differ")
    if shard[used - CHUNK_BYTES : used] != sources[(chunks - 1) % _SOURCES]:
        raise WrongAnswer("the last chunk is another one")
    return {"at": ended}


def run(tag: str, chunks: int, is_checked: bool = False) -> Report:
    """Both sides; seconds from the first chunk to the last one appended."""
    sources = [random.Random(i).randbytes(CHUNK_BYTES) for i in range(_SOURCES)]
    sender, receiver = replica_inbox_pair(_CAPACITY_BYTES)
    seconds, _, _ = time_two(
        lambda c: _receive(receiver, sources, chunks, c, is_checked), lambda c: _send(sender, sources, chunks, c)
    )
    return answer(seconds, chunks * CHUNK_BYTES)
