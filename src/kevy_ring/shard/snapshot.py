"""One whole snapshot: its facts, and its entries where the sink did not take them while they arrived."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from kevy_ring.replica.entry import Entry

SnapshotFormat = Literal["kevysnap", "rdb"]


@dataclass(slots=True)
class Snapshot:
    """What :meth:`Sink.load` and :meth:`Stage.commit` are given at the end of a snapshot.

    Iterating yields the held entries once and lets go of each, so that a store that keeps them and this object
    never hold them twice. ``count`` is the number of entries of the whole snapshot, whoever holds them.
    ``ack_offset`` is as the upstream sent it; ``applied_offset`` is the same place as the offset of a last applied
    frame. ``skipped``: keys of the snapshot that its decoder leaves out (streams and modules of an RDB), None where
    that cannot be told. ``size_bytes``: of the body.
    """

    format: SnapshotFormat
    ack_offset: int
    size_bytes: int
    count: int
    skipped: int | None = 0
    held: deque[Entry] = field(default_factory=deque, repr=False)

    @property
    def applied_offset(self) -> int | None:
        """The offset of the last frame that the snapshot contains, None before the first.

        A kevy primary acknowledges with the offset of the NEXT frame, Redis with the bytes already in.
        """
        if self.format == "rdb":
            return self.ack_offset
        return self.ack_offset - 1 if self.ack_offset else None

    def __len__(self) -> int:
        return self.count

    def __bool__(self) -> bool:
        return True

    def __iter__(self) -> Iterator[Entry]:
        held = self.held
        while held:
            yield held.popleft()
