"""The loop of a shard: when it ticks, when it waits, and when it flushes and marks what was applied."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from kevy_ring.ring.event_loop import running_module
from kevy_ring.shard.assembly import SnapshotAssembly, StopAsked, refusals_in

if TYPE_CHECKING:
    from kevy_ring.inbox import ReplicaInboxReceiver
    from kevy_ring.shard.sinks.sink import Sink

#: How long ``run`` sleeps at most before it calls ``stop`` again.
POLL_S = 0.1
#: How often a shard that outlives its sender looks for the next one.
NEXT_SENDER_S = 0.02
#: How often a durable sink is flushed while events flow; the runner acknowledges about as often.
FLUSH_INTERVAL_S = 0.1
#: How often an idle shard lets its sink tidy up.
TIDY_INTERVAL_S = 1.0


class RunEnd(Enum):
    """Why ``Shard.run`` returned."""

    STOPPED = "stopped"
    SENDER_GONE = "sender gone"


@dataclass(frozen=True, slots=True)
class RunResult:
    """The state after a run: why it ended (``end``), and what was applied.

    ``frames`` and ``snapshots`` are counts, ``applied_offset`` is the shard's. ``snapshot_unfinished``: the run ended
    inside a snapshot, and applied nothing of it.
    """

    end: RunEnd
    applied_offset: int | None
    frames: int
    snapshots: int
    snapshot_unfinished: bool


class RunLoop(ABC):
    """Calls ``tick`` until ``stop()`` is true. The subclass applies, and sets ``_unmarked`` when it has."""

    def __init__(self, receiver: ReplicaInboxReceiver, sink: Sink, flush_interval_s: float) -> None:
        self._receiver = receiver
        self._sink = sink
        self._flush_interval_s = flush_interval_s
        self._flushed_at = time.monotonic()
        self._unmarked = False
        self._refusals = refusals_in(sink)
        self._assembly = SnapshotAssembly(sink)
        self._tidy_sink: Callable[[], None] | None = getattr(sink, "tidy", None)
        self._tidied_at = float("-inf")
        self._stop: Callable[[], bool] = _never
        self.applied_offset: int | None = None
        self.frames = self.snapshots = 0

    @abstractmethod
    def tick(self) -> int:
        """Apply one batch; return the number of events."""

    @abstractmethod
    def _publish_counts(self) -> None:
        """Publish the counts in the ring's header, for other processes."""

    def __repr__(self) -> str:
        applied = "nothing applied" if self.applied_offset is None else f"applied up to {self.applied_offset}"
        inside = ", inside a snapshot" if self.in_snapshot else ""
        sink = type(self._sink).__name__
        return f"<{type(self).__name__} of ring {self._receiver.name!r} into {sink}: {applied}{inside}>"

    @property
    def in_snapshot(self) -> bool:
        """True while a snapshot has begun and not ended."""
        return self._assembly.in_progress

    def run(self, stop: Callable[[], bool] = lambda: False, *, outlives_sender: bool = False) -> RunResult:
        """Apply until ``stop()`` is true or the sender is gone. Returns which, and the counts.

        ``stop`` is called between batches, at least every 0.1 s while nothing comes, and inside a batch or a load that
        takes long. With ``outlives_sender`` the shard waits for the next sender.

        When the sender is gone, all that it published is applied first. Raises what ``tick`` raises, after everything
        that was applied before is marked.
        """
        self._stop = stop
        try:
            end = self._run(outlives_sender)
        finally:
            self._stop = _never
        return self._ended(end)

    async def run_async(self, stop: Callable[[], bool] = lambda: False, *, outlives_sender: bool = False) -> RunResult:
        """As :meth:`run`, for a task of asyncio (uvloop too) or trio.

        Other tasks run between batches. ``max_events`` bounds how long a batch keeps them waiting, but the end of a
        snapshot is applied in one step. When the task is cancelled, everything that was applied is marked.
        """
        self._stop = stop
        try:
            end = await self._run_async(outlives_sender)
        except BaseException:
            self._settle_what_can_be()
            raise
        finally:
            self._stop = _never
        return self._ended(end)

    def _ended(self, end: RunEnd) -> RunResult:
        self._settle(now=True)
        unfinished = end is not RunEnd.STOPPED and self.in_snapshot
        if unfinished:
            self._assembly.abort()
        return RunResult(end, self.applied_offset, self.frames, self.snapshots, unfinished or self.in_snapshot)

    def close(self) -> None:
        """Forget a half snapshot and mark what was applied."""
        self._assembly.abort()
        self._settle(now=True)

    def _run(self, outlives_sender: bool) -> RunEnd:
        while not self._stop():
            try:
                # Read this before the tick, so that the tick drains all that the sender published before it went.
                gone = self._receiver.sender_gone
                if not self.tick():
                    if gone and not outlives_sender:
                        return RunEnd.SENDER_GONE
                    if gone:
                        time.sleep(NEXT_SENDER_S)
                    self._tidy()
                    self._receiver.wait(self._wait_s())
            except StopAsked:
                break
        return RunEnd.STOPPED

    async def _run_async(self, outlives_sender: bool) -> RunEnd:
        while not self._stop():
            gone = self._receiver.sender_gone  # before the tick, as above
            try:
                found = self.tick()
            except StopAsked:
                break
            if not found and gone:
                if not outlives_sender:
                    return RunEnd.SENDER_GONE
                await running_module().sleep(NEXT_SENDER_S)
            if not found:
                self._tidy()
            await self._receiver.wait_async(0 if found else self._wait_s())
        return RunEnd.STOPPED

    @property
    def _in_transaction(self) -> bool:
        return bool(getattr(self._sink, "in_transaction", False))

    def _wait_s(self) -> float:
        if not self._unmarked or self._in_transaction:
            return POLL_S
        return min(POLL_S, max(0.0, self._flushed_at + self._flush_interval_s - time.monotonic()))

    def _settle(self, *, now: bool = False) -> None:
        """Mark what is applied; for a durable sink, after a flush."""
        if not self._unmarked or self._in_transaction:
            return
        if self._sink.durable:
            at = time.monotonic()
            if not now and at - self._flushed_at < self._flush_interval_s:
                return
            self._sink.flush()
            self._flushed_at = at
            self._publish_counts()  # a flush may bring the replies to commands that were refused
        self._write_letters()
        self._receiver.mark_applied(self.applied_offset)  # None: a kevy snapshot of offset 0, before the first frame
        self._unmarked = False

    def _tidy(self) -> None:
        """Let the sink remove what it need not keep, while nothing comes."""
        now = time.monotonic()
        if self._tidy_sink is None or self.in_snapshot or now - self._tidied_at < TIDY_INTERVAL_S:
            return
        self._tidied_at = now
        self._tidy_sink()

    def _write_letters(self) -> None:
        if self._refusals is not None:
            self._refusals.write_out()

    def _settle_what_can_be(self) -> None:
        """Mark the events before the one that failed. An error here must not hide that failure."""
        with suppress(Exception):
            self._settle(now=True)


def _never() -> bool:
    return False
