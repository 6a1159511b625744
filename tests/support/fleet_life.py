"""A fleet of one shard whose processes a test kills, its events, and the check of its sink."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from fleet_shards import QuickBackoff
from kevy_ring.replica.fleet import Fleet, FleetEvent, FleetEventKind, Role
from kevy_ring.shard.shard_process import ShardProcess
from kevy_ring.testing import EmbeddedPrimary
from torture_ledger import changes_of

DEADLINE_S = 120.0
CAPACITY = 1 << 16


class Life:
    """A fleet of one shard, and its events."""

    def __init__(self, url: str, sink: str, **options: object) -> None:
        self.events: list[FleetEvent] = []
        self.fleet = Fleet(
            url,
            ShardProcess(sink),
            capacity=CAPACITY,
            on_event=self.events.append,
            backoff=QuickBackoff,
            **options,  # type: ignore[arg-type]
        )

    @property
    def syncs(self) -> list[str | None]:
        return [event.synced for event in self.events if event.kind is FleetEventKind.SYNCED]

    def applied(self) -> int:
        ring = self.fleet.status()[0].ring
        return -1 if ring is None or ring.applied_offset is None else ring.applied_offset

    def wait_for(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + DEADLINE_S
        while not condition():
            self.fleet.step(0.02)
            assert time.monotonic() < deadline, [str(event) for event in self.events[-6:]]

    def kill(self, role: Role) -> None:
        status = self.fleet.status()[0]
        pid = status.runner_pid if role is Role.RUNNER else status.shard_pid
        assert pid
        os.kill(pid, signal.SIGKILL)
        self.wait_for(lambda: any(e.kind is FleetEventKind.EXITED and e.pid == pid for e in self.events))


def everything_once(primary: EmbeddedPrimary, path: Path, kind: str = "jsonl") -> None:
    """Assert that the change log holds every frame since the first snapshot, once and in order."""
    offsets = [offset for offset, _ in changes_of(kind, path)]
    assert offsets == list(range(primary.first_offset(0), primary.final_offset(0) + 1))
