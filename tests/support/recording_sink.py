"""A sink that records its calls, and fails where a test says so."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from kevy_ring.events import BytesLike
from kevy_ring.shard import Snapshot


class RecordingSink:
    """``calls``: ("apply", offset, argv), ("load", {key: value}), ("flush",), in order."""

    def __init__(self, *, durable: bool = False, during: Callable[[], None] = lambda: None) -> None:
        self.durable = durable
        self.calls: list[tuple[Any, ...]] = []
        self.fail_at: int | None = None
        self.fail_flush = False
        self.in_transaction = False
        self._during = during

    def apply(self, offset: int, argv: Sequence[BytesLike]) -> None:
        if offset == self.fail_at:
            raise ValueError(f"told to fail at {offset}")
        self._during()
        self.calls.append(("apply", offset, [bytes(item) for item in argv]))

    def load(self, snapshot: Snapshot) -> None:
        self._during()
        self.calls.append(("load", {entry.key: entry.value for entry in snapshot}))

    def flush(self) -> None:
        if self.fail_flush:
            raise OSError("told to fail")
        self.calls.append(("flush",))

    def close(self) -> None:
        self.calls.append(("close",))

    @property
    def applied(self) -> list[int]:
        return [call[1] for call in self.calls if call[0] == "apply"]


class ResumableRecordingSink(RecordingSink):
    """Keeps offsets with the events. ``kept``: the state that survives it. ``fail_commit``: every commit fails."""

    def __init__(self, stored_offset: int | None = None) -> None:
        super().__init__(durable=True)
        self.stored_offset = stored_offset
        self.kept: list[int] = []
        self.fail_commit = False

    def commit(self) -> None:
        if self.fail_commit and self.calls:
            self.rollback()
            raise OSError("told to fail")
        self.kept += self.applied
        if self.calls:
            self.calls.append(("commit",))
        if self.applied:
            self.stored_offset = self.applied[-1]
        self.calls = []

    def rollback(self) -> None:
        self.calls = []

    def load(self, snapshot: Snapshot) -> None:
        self.commit()
        self.kept = []
        self.stored_offset = snapshot.applied_offset
