"""The bytes of upstreams on one link, recorded or written by hand, and their conversations with a protocol."""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from kevy_ring.errors import RemoteProtocolError, UpstreamRefused
from kevy_ring.events import Frame, ReplicaApply, SnapshotBegin, SnapshotChunk, SnapshotEnd
from kevy_ring.replica.protocol import ReplicationProtocol, ResumePoint
from kevy_ring.replica.protocols.kevy import KevyProtocol
from kevy_ring.replica.protocols.redis import RedisProtocol
from kevy_ring.replica.protocols.resp import encode_command
from places import DATA

REPLICATION_ID = "0123456789abcdef" * 2 + "01234567"
OTHER_ID = "fedcba98" * 5
MARK = b"<the mark of forty bytes that ends it 40>"[:40]


@dataclass(frozen=True)
class Transcript:
    """``wire``: all bytes from the upstream. ``open``: makes a protocol object in the state after connecting."""

    name: str
    open: Callable[[], ReplicationProtocol]
    wire: bytes


def recorded(name: str) -> bytes:
    return (DATA / f"{name}.bin").read_bytes()


def decoded(name: str) -> Any:
    return json.loads((DATA / f"{name}.json").read_text())


def kevy(version: int, resume: ResumePoint | None = None) -> KevyProtocol:
    return KevyProtocol(version=version, replica_id="replica-1", resume=resume)


def kevy_frame(offset: int, *argv: bytes) -> bytes:
    return b"*2\r\n:%d\r\n" % offset + encode_command(*argv)


def bulk(payload: bytes) -> bytes:
    return b"$%d\r\n%s\r\n" % (len(payload), payload)


KEVY2_BY_HAND = b"".join(
    (
        b"+ACK 18446744073709551615 0\r\n+PING 7\r\n+SNAPSHOT\r\n+PING 18446744073709551615 3\r\n",
        bulk(b"KEVYSNAP"),
        bulk(b"+SNAPSHOT_END 9\r\n"),
        b"+PING 0 3\r\n+SNAPSHOT_END 3\r\n",
        kevy_frame(3, b"SET", b"", b"\r\n$3\r\n*2\r\n"),
        kevy_frame(4, b"PING"),
        b"+PING 18446744073709551615 5\r\n",
        kevy_frame(5, b"SELECT", b"x" * 300),
        b"+SNAPSHOT\r\n",
        bulk(b"\x00"),
        b"+SNAPSHOT_END 0\r\n",
        kevy_frame(0, b"DEL", b"\xff" * 40),
        kevy_frame(1, *[b"%d" % n for n in range(40)]),
    )
)

REDIS_STREAM = (
    (b"SELECT", b"0"),
    (b"SET", b"k", b"\r\n*1\r\n$4\r\nPING\r\n"),
    (b"PING",),
    (b"select", b"11"),
    (b"MULTI",),
    (b"RPUSH", b"l", b"", b"x" * 300),
    (b"EXEC",),
    (b"REPLCONF", b"GETACK", b"*"),
    (b"PINGED", b"PING"),
    (b"ping",),
)
REDIS_STREAM_WIRE = b"".join(encode_command(*argv) for argv in REDIS_STREAM)
HANDSHAKE_REPLIES = b"\n+PONG\r\n\n\n+OK\r\n-ERR unknown option\r\n\n"
# The body contains beginnings of the mark. The last one is directly before the mark.
MARKED_BODY = b"REDIS0011" + MARK[:39] + b"\n" + b"b" * 500 + MARK[:20]


def redis_full_sync(body: bytes, *, marked: bool, offset: int = 1000) -> bytes:
    header = b"$EOF:%s\r\n" % MARK if marked else b"$%d\r\n" % len(body)
    return b"".join(
        (
            HANDSHAKE_REPLIES,
            b"+FULLRESYNC %s %d\r\n" % (REPLICATION_ID.encode(), offset),
            b"\n\n",
            header,
            body,
            MARK + b"\n" if marked else b"",
        )
    )


def redis_resume(db: int = 0) -> ResumePoint:
    return ResumePoint(REPLICATION_ID, 4999, db)


SMALL = [
    Transcript("kevy2 by hand", lambda: kevy(2), KEVY2_BY_HAND),
    Transcript("redis with a mark", RedisProtocol, redis_full_sync(MARKED_BODY, marked=True) + REDIS_STREAM_WIRE),
    Transcript("redis with a length", RedisProtocol, redis_full_sync(b"R" * 99, marked=False) + REDIS_STREAM_WIRE),
    Transcript(
        "redis going on",
        lambda: RedisProtocol(resume=redis_resume()),
        HANDSHAKE_REPLIES + b"+CONTINUE %s\r\n" % OTHER_ID.encode() + REDIS_STREAM_WIRE,
    ),
    Transcript("redis 6.2 from disk", RedisProtocol, recorded("redis-6.2-disk")),
    Transcript("redis 6.2 diskless", RedisProtocol, recorded("redis-6.2-diskless")),
]
RECORDED = [
    Transcript("kevy 1.22 frames", lambda: kevy(1), recorded("kevy-1.22-frames")),
    Transcript("kevy 1.22 snapshot", lambda: kevy(1), recorded("kevy-1.22-snapshot")),
    Transcript("kevy 5.4 live", lambda: kevy(2), recorded("kevy-5.4-live")),
]


def pieces_of(wire: bytes, size: int) -> Iterable[bytes]:
    return (wire[at : at + size] for at in range(0, len(wire), size))


def pieces_at(wire: bytes, cuts: Iterable[int]) -> list[bytes]:
    borders = [0, *sorted(cuts), len(wire)]
    return [wire[a:b] for a, b in itertools.pairwise(borders)]


def plain(event: ReplicaApply) -> tuple[Any, ...]:
    """An event as a tuple. Asserts that it owns its bytes."""
    match event:
        case Frame(offset, argv):
            assert all(type(argument) is bytes for argument in argv)
            return ("frame", offset, *argv)
        case SnapshotChunk(chunk):
            assert type(chunk) is bytes
            return ("chunk", chunk)
        case SnapshotEnd(ack_offset):
            return ("end", ack_offset)
        case SnapshotBegin():
            return ("begin",)


@dataclass
class Outcome:
    """Everything that a user sees of a conversation after some bytes."""

    events: list[tuple[Any, ...]]
    error: tuple[str, str] | None
    sent: bytes
    seen: dict[str, Any]


SEEN = [
    *("state", "established", "synced", "in_snapshot", "snapshot_bytes", "snapshot_total", "getack_pending"),
    *("refused_silently", "received_offset", "last_event_offset", "resume_point"),
    *("frame_run_ready", "next_offset", "upstream_offset"),
]
# The bytes after the violation are dropped. Their number depends on the pieces.
SEEN_OF_BROKEN = SEEN[:-3]


def converse(protocol: ReplicationProtocol, pieces: Iterable[bytes]) -> Outcome:
    """Feed ``pieces`` until they or the conversation end. Only the two allowed errors are caught."""
    events: list[tuple[Any, ...]] = []
    sent = protocol.data_to_send()
    with contextlib.suppress(RemoteProtocolError, UpstreamRefused):
        for piece in pieces:
            events += map(plain, protocol.receive_data(piece))
            if protocol.error is not None:
                break
            sent += protocol.data_to_send()
    broken = protocol.error
    return Outcome(
        events=events,
        error=None if broken is None else (type(broken).__name__, str(broken)),
        sent=b"" if broken is not None else sent,
        seen={name: getattr(protocol, name) for name in (SEEN if broken is None else SEEN_OF_BROKEN)},
    )
