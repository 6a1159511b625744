"""Snapshots as events of an inbox."""

from __future__ import annotations

from collections.abc import Iterable

from kevy_ring.events import ReplicaApply, SnapshotBegin, SnapshotChunk, SnapshotEnd
from kevy_ring.replica.snapshots.entry import Entry
from kevy_ring.replica.snapshots.kevysnap_writer import write_snapshot


def snapshot_events(body: bytes, ack_offset: int, chunk_bytes: int = 65536) -> list[ReplicaApply]:
    """A whole snapshot with chunks of the given size."""
    chunks = [SnapshotChunk(body[at : at + chunk_bytes]) for at in range(0, len(body), chunk_bytes)]
    return [SnapshotBegin(), *chunks, SnapshotEnd(ack_offset)]


def kevysnap(entries: Iterable[Entry]) -> bytes:
    """The body of a KEVYSNAP snapshot."""
    return b"".join(write_snapshot(entries))


def strings(**values: str) -> bytes:
    """The body of a KEVYSNAP snapshot of strings."""
    return kevysnap(Entry(key.encode(), "string", value.encode()) for key, value in values.items())
