"""A shard process from inside: its ring, its sink, and what it tells its parent."""

from __future__ import annotations

import logging
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from kevy_ring.errors import DeadLetterError, EventRefused, EventTruncated, FilterRefused, KevyRingError, TargetRefused
from kevy_ring.replica.fleet.child import EXIT_TRUNCATED, ParentLine
from kevy_ring.replica.fleet.restart_plan import FAILED, REFUSED
from kevy_ring.replica.snapshots.entry import Entry
from kevy_ring.replica.stop import StopSignal
from kevy_ring.shard.heap import relaxed_collector, settle_after_snapshot
from kevy_ring.shard.shard import Shard
from kevy_ring.shard.sinks.options import DEFAULT_OPTIONS, SinkOptions
from kevy_ring.shard.sinks.sink import Sink
from kevy_ring.shard.sinks.sink_url import sink_from_url
from kevy_ring.shard.snapshot import SkippedKey

_ATTACH_TIMEOUT_S = 10.0
_log = logging.getLogger(__name__)

#: A topic of what a shard process says beside FAILED and REFUSED: the stack of an unexpected error.
STACK = "stack"


@dataclass(frozen=True, slots=True)
class ShardFacts:
    """What a shard process knows beside the counts in the ring's header. Times are of this machine's monotonic clock.

    ``knows_skipped``: False if the decoder cannot tell how many keys of the last snapshot it left out. ``left_out``:
    what it left out, in words; empty if an earlier process read the snapshot. ``refusals``: commands that the sink's
    store refused in this process, ``refusals_on_skipped`` those of them that needed a skipped key, ``first_refusal``
    the first in words. ``changes_removed``: from the sink's log of changes. ``first_offset`` and ``digest`` come from
    the null sink, and are None for other sinks. ``filtered``: frames of this process that did not pass the filter.
    """

    knows_skipped: bool = True
    left_out: tuple[str, ...] = ()
    snapshot_began_at: float | None = None
    snapshot_ended_at: float | None = None
    first_frame_at: float | None = None
    last_frame_at: float | None = None
    refusals: int = 0
    refusals_on_skipped: int = 0
    first_refusal: str = ""
    changes_removed: int = 0
    first_offset: int | None = None
    digest: bytes | None = None
    filtered: int = 0


@dataclass(frozen=True, slots=True)
class ShardProcess:
    """The ``shard_main`` of a fleet: applies the ring to ``sink_url`` until it is stopped. Returns the last facts.

    A failure goes to the fleet's ``on_words``. If ``stop`` is not a line to a fleet, the failure is raised. The fleet's
    ``ask`` takes the questions ``facts()``, ``databases()``, ``skipped()`` and ``entries(db, keys)``. After an event of
    which only the end was received, the process ends with EXIT_TRUNCATED, which the fleet knows.
    """

    sink_url: str = field(repr=False)  # it may hold a password
    shards: int = 1
    options: SinkOptions = DEFAULT_OPTIONS

    def __call__(self, ring_name: str, index: int, stop: StopSignal) -> ShardFacts:
        line = stop if isinstance(stop, ParentLine) else None
        if line is not None:
            line.send_log()
        try:
            return self._run(ring_name, index, stop)
        except EventTruncated as error:
            _log.warning("%s", error)
            sys.exit(EXIT_TRUNCATED)
        except Exception as error:
            if line is None:
                raise
            _say_failure(line, error)
        sys.exit(1)

    def _run(self, ring_name: str, index: int, stop: StopSignal) -> ShardFacts:
        from kevy_ring.inbox import ReplicaInboxReceiver

        made = sink_from_url(self.sink_url, shard=index, shards=self.shards, options=self.options)
        with closing(made) as sink, relaxed_collector():
            with ReplicaInboxReceiver.attach(ring_name, timeout=_ATTACH_TIMEOUT_S) as receiver:
                shard = Shard(receiver, sink)
                life = _Life(shard, sink, stop)
                with closing(shard):
                    shard.run(life.ask_stop, outlives_sender=True)
            return life.facts()


class _Life:
    """Reads a shard and its sink between two batches. At other times the sink may not be read."""

    def __init__(self, shard: Shard, sink: Sink, stop: StopSignal) -> None:
        self._shard = shard
        self._sink = sink
        self._stop = stop
        self._line = stop if isinstance(stop, ParentLine) else None
        self._answers: dict[str, Callable[..., Any]] = {
            "facts": self.facts,
            "databases": self._databases,
            "entries": self._entries,
            "skipped": self._skipped,
        }
        self._seen = (0, 0)
        self._asked_at = time.monotonic()
        self._loading = False
        self._began_at: float | None = None
        self._loaded_at: float | None = None
        self._first_at: float | None = None
        self._last_at: float | None = None

    def ask_stop(self) -> bool:
        """The ``stop`` of ``Shard.run``: called before every batch, after every wait, and inside a long load."""
        shard = self._shard
        if shard.in_snapshot:
            if not self._loading:
                self._loading, self._began_at = True, self._asked_at
            return self._stop.is_set()
        self._note()
        if self._line is not None:
            self._line.answer(self._answers)
        return self._stop.is_set()

    def facts(self) -> ShardFacts:
        shard, sink = self._shard, self._sink
        if not shard.in_snapshot:
            self._note()
        refusals = getattr(sink, "refusals", None)
        first = refusals.first if refusals is not None else None
        return ShardFacts(
            knows_skipped=shard.skipped is not None,
            left_out=tuple(shard.left_out.words()),
            snapshot_began_at=self._began_at,
            snapshot_ended_at=self._loaded_at,
            first_frame_at=self._first_at,
            last_frame_at=self._last_at,
            refusals=refusals.count if refusals is not None else 0,
            refusals_on_skipped=refusals.on_skipped if refusals is not None else 0,
            first_refusal=f"{first.command!r} at offset {first.offset}: {first.reply}" if first is not None else "",
            changes_removed=removed.count if (removed := getattr(sink, "removed", None)) is not None else 0,
            first_offset=getattr(sink, "first_offset", None),
            digest=getattr(sink, "digest", None),
            filtered=shard.frames_filtered,
        )

    def _note(self) -> None:
        now = time.monotonic()
        frames, snapshots = self._shard.frames, self._shard.snapshots
        if snapshots != self._seen[1]:
            self._began_at = self._began_at if self._loading else self._asked_at
            self._loaded_at = now
            settle_after_snapshot()
        self._loading = False
        if frames != self._seen[0]:
            self._first_at = self._first_at or self._asked_at
            self._last_at = now
        self._seen = (frames, snapshots)
        self._asked_at = now

    def _databases(self) -> list[int]:
        return list(self._sink.databases)  # type: ignore[attr-defined]

    def _skipped(self) -> list[SkippedKey]:
        return list(getattr(self._sink, "skipped_keys", ()))

    def _entries(self, db: int, keys: list[bytes] | None) -> list[Entry]:
        keyspace: dict[bytes, Entry] = self._sink.keyspace(db)  # type: ignore[attr-defined]
        if keys is None:
            return list(keyspace.values())
        return [keyspace[key] for key in keys if key in keyspace]


def _say_failure(line: ParentLine, error: Exception) -> None:
    if isinstance(error, TargetRefused | FilterRefused | EventRefused | DeadLetterError):
        line.say(REFUSED, str(error))
    elif isinstance(error, KevyRingError):
        line.say(FAILED, str(error))
    else:
        line.say(FAILED, f"{type(error).__name__}: {error}")
        line.say(STACK, "".join(traceback.format_exception(error)))
