"""How a run of a shard ended, and what it came to."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class RunEnd(Enum):
    """Why ``Shard.run`` returned."""

    STOPPED = "stopped"
    SENDER_GONE = "sender gone"


@dataclass(frozen=True, slots=True)
class RunResult:
    """What a run came to. ``snapshot_unfinished``: it ended in mid-snapshot, and nothing of that one was applied."""

    end: RunEnd
    applied_offset: int | None
    frames: int
    snapshots: int
    snapshot_unfinished: bool
