"""A sink that keeps nothing: it counts events and takes a CRC-32 over every byte."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from kevy_ring.events import BytesLike, Frame
from kevy_ring.replica.snapshots.canonical import StreamDigest, encode_record
from kevy_ring.replica.snapshots.entry import Entry
from kevy_ring.shard.sinks.refusals import Refusals
from kevy_ring.shard.snapshot import Snapshot

if TYPE_CHECKING:
    from kevy_ring.inbox import Batch


class NullSink:
    """Counts events and takes a CRC-32 over their bytes; :class:`StreamDigest` says what that proves.

    A cryptographic digest would cost more than the whole way from the wire to this sink.

    ``frames`` and ``frame_bytes`` (canonical records) count from the beginning. ``digest`` and ``first_offset`` (None:
    no frame yet) cover the frames since the last snapshot. ``snapshot_digest`` covers the body of the last whole
    snapshot, independent of its chunks; ``entries`` counts its entries. ``refusals``: the policy for what it cannot
    take; by default one that counts.
    """

    durable = False

    def __init__(self, *, refusals: Refusals | None = None) -> None:
        self.refusals = refusals or Refusals("null")
        self.frames = 0
        self.frame_bytes = 0
        self.snapshots = 0
        self.entries = 0
        self.first_offset: int | None = None
        self.snapshot_digest = StreamDigest().digest()
        self._digest = StreamDigest()

    @property
    def digest(self) -> bytes:
        """The digest over the canonical records of the frames since the last snapshot, in order."""
        return self._digest.digest()

    def apply(self, offset: int, argv: Sequence[BytesLike]) -> None:
        self._take(encode_record(Frame(offset, argv)), 1, offset)

    def apply_batch(self, batch: Batch) -> None:
        # In the ring a batch of frames consists of exactly their canonical records.
        self._take(batch.buffer, len(batch), int(batch.offsets[0]))

    def load(self, snapshot: Snapshot) -> None:
        self.entries = snapshot.count
        self.snapshots += 1
        self.first_offset = None
        self._digest = StreamDigest()

    def stage(self) -> NullStage:
        return NullStage(self)

    def flush(self) -> None:
        pass

    def close(self) -> None:
        self.refusals.close()

    def _take(self, records: bytes | memoryview, count: int, offset: int) -> None:
        self._digest.update(records)
        self.frames += count
        self.frame_bytes += len(records)
        if self.first_offset is None:
            self.first_offset = offset


class NullStage:
    """Digests the chunks of a snapshot and drops its entries."""

    def __init__(self, sink: NullSink) -> None:
        self._sink = sink
        self._digest = StreamDigest()

    def chunk(self, piece: BytesLike) -> None:
        self._digest.update(piece)

    def add(self, entries: list[Entry]) -> None:
        pass

    def commit(self, snapshot: Snapshot) -> None:
        self._sink.load(snapshot)
        self._sink.snapshot_digest = self._digest.digest()

    def abort(self) -> None:
        pass
