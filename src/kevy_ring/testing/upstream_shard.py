"""One shard of the embedded upstream: its keys, its stream of frames, and the snapshots of both. No I/O, no clock."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import islice

from kevy_ring.replica.protocols.kevy import frame_head
from kevy_ring.replica.protocols.resp import append_command, encode_bulk
from kevy_ring.replica.snapshots.entry import Entry
from kevy_ring.replica.snapshots.kevysnap_writer import write_snapshot
from kevy_ring.testing.backlog import Backlog
from kevy_ring.testing.keyspace import Keyspace
from kevy_ring.testing.workload import Workload

#: Wire bytes of frames that are encoded ahead, so that the upstream is faster than any replica.
PREPARED_BYTES = 64 << 20
#: Steps of a turn, small enough to serve pings and other shards in between.
PREPARE_STEP = 512
PUBLISH_STEP = 2048
SNAPSHOT_STEP = 16


def encode_frame(offset: int, argv: Sequence[bytes]) -> bytes:
    """A live frame in wire form."""
    parts = [frame_head(offset)]
    append_command(parts, argv)
    return b"".join(parts)


class SnapshotImage:
    """A snapshot of a shard at ``offset`` (of the next frame), written step by step, for all links that need it.

    ``parts`` are chunks in wire form. The shard publishes nothing until it is ``complete``, so it needs no copy
    of the keys.
    """

    def __init__(self, keyspace: Keyspace, offset: int) -> None:
        self.offset = offset
        self.parts: list[bytes] = []
        self.complete = False
        self._chunks = write_snapshot(keyspace.entries.values())

    def advance(self) -> None:
        """Write some more chunks."""
        chunks = list(islice(self._chunks, SNAPSHOT_STEP))
        self.parts.extend(map(encode_bulk, chunks))
        self.complete = len(chunks) < SNAPSHOT_STEP


class UpstreamShard:
    """Keys, backlog, and the commands that follow. A published frame is in the backlog and in the keyspace."""

    def __init__(self, workload: Workload, *, generation: int, backlog_bytes: int) -> None:
        self.generation = generation
        self.workload = workload
        self.keyspace = Keyspace(workload.preload())
        self.backlog = Backlog(workload.first_offset, backlog_bytes)
        self._commands = workload.commands()
        self._generated = 0
        self._prepared: deque[tuple[bytes, tuple[bytes, ...]]] = deque()
        self._prepared_bytes = 0
        self._image: SnapshotImage | None = None

    @property
    def published(self) -> int:
        """Live frames published so far."""
        return self.backlog.next_offset - self.workload.first_offset

    @property
    def done(self) -> bool:
        """True when every live frame is published."""
        return self.published == self.workload.op_count

    @property
    def is_prepared(self) -> bool:
        """True when no more frames need to be encoded ahead."""
        return self._prepared_bytes >= PREPARED_BYTES or self._generated == self.workload.op_count

    def prepare(self) -> bool:
        """Encode some frames ahead. False when there was nothing to do."""
        if self.is_prepared:
            return False
        offset = self.workload.first_offset + self._generated
        for argv in islice(self._commands, PREPARE_STEP):
            wire = encode_frame(offset, argv)
            self._prepared.append((wire, argv))
            self._prepared_bytes += len(wire)
            offset += 1
        self._generated = offset - self.workload.first_offset
        return True

    def publish(self, count: int, *, keep_from: int | None = None) -> int:
        """Publish up to ``count`` prepared frames (fewer if a step is full). Returns how many.

        ``keep_from``: stop before the backlog would drop this offset. Nothing is published while a snapshot is written.
        """
        backlog = self.backlog
        if self._image is not None:
            if not self._image.complete:
                return 0
            if count and self._prepared:
                self._image = None
        # A step that replaced most of the backlog would drop the next frame of the links that are up to date.
        room = max(1, backlog.limit_bytes // 4)
        published = 0
        while published < min(count, PUBLISH_STEP) and self._prepared and room > 0:
            wire, argv = self._prepared[0]
            if keep_from is not None and backlog.first_offset_after(len(wire)) > keep_from:
                break
            self._prepared.popleft()
            self._prepared_bytes -= len(wire)
            room -= len(wire)
            self.keyspace.apply(argv)
            backlog.append(wire)
            published += 1
        return published

    def snapshot(self) -> SnapshotImage:
        """The present snapshot. All links before the next frame share it."""
        if self._image is None:
            self._image = SnapshotImage(self.keyspace, self.backlog.next_offset)
        return self._image

    def advance_snapshot(self) -> bool:
        """Write some more of the snapshot. False when there was nothing to do."""
        if self._image is None or self._image.complete:
            return False
        self._image.advance()
        return True

    def entries(self) -> list[Entry]:
        """The keyspace after all published frames."""
        return list(self.keyspace.entries.values())
