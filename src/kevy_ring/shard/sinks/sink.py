"""The protocols of a sink, to which a shard applies its events."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from kevy_ring.events import BytesLike
from kevy_ring.replica.snapshots.entry import Entry
from kevy_ring.shard.snapshot import Snapshot

if TYPE_CHECKING:
    from kevy_ring.inbox import Batch


@runtime_checkable
class Sink(Protocol):
    """Takes what one shard applies, in order, from one thread.

    ``durable`` is True if flushed events outlive this process. For such a sink a shard marks an offset as applied only
    after ``flush``, for any other at once. If a shard is killed, the next one gets all events that were drained and not
    released again: at least once. A :class:`ResumableSink` makes that exactly once.

    A sink may also have ``apply_batch`` (:class:`BatchSink`), ``stage`` (:class:`StagingSink`), and the members of a
    :class:`ResumableSink`. ``apply_frames(frames)`` takes some frames in one call, each as its offset and its arguments
    as ``bytes``: a filter calls it for the part of a batch that passes. The attribute ``in_transaction`` (False if
    missing) is True between MULTI and EXEC. No offset is marked there, because a shard that continues from it would
    lose the first half.
    ``follow_history(history)`` is called before the first event of another history of the upstream is applied. The
    command calls ``claim()`` before it starts any process. ``tidy()`` is called about once a second while no event
    comes. ``Shard.tick`` raises what a sink raises.
    """

    durable: bool

    def apply(self, offset: int, argv: Sequence[BytesLike]) -> None:
        """Apply one command, of this ``offset``.

        The items of ``argv`` may be memoryviews that end with the call: keep ``bytes(item)``.
        """

    def load(self, snapshot: Snapshot) -> None:
        """Replace all that the sink holds by the snapshot's entries, in one step. No reader may see a part of it."""

    def flush(self) -> None:
        """Return when all that was applied is stored. Raises SinkError if it cannot be."""

    def close(self) -> None:
        """Flush if possible and release everything. A second call does nothing."""


@runtime_checkable
class BatchSink(Sink, Protocol):
    """A sink that takes a whole batch in one call."""

    def apply_batch(self, batch: Batch) -> None:
        """Apply a batch that holds only frames. If it raises, no frame of the batch counts as applied."""


@runtime_checkable
class ResumableSink(Sink, Protocol):
    """A durable sink that stores the data and its offset together, so that both are there or neither is.

    A shard skips frames up to ``stored_offset``, until a snapshot replaces everything. It calls ``commit`` before it
    releases a batch, because no shard gets released events again. ``stored_offset``: of the last committed frame or
    snapshot; None: there is none (0 is an offset).

    The sink also stores the rest of what the next frame needs: the selected database, and the queued commands of an
    open transaction.
    """

    @property
    def stored_offset(self) -> int | None:
        """See above. A shard reads it when it starts, and again after a commit that failed."""

    def commit(self) -> None:
        """Return when all that was applied, and its offset, survives this process. (``flush``: also the machine.)

        If it raises, the sink forgets what was applied after ``stored_offset``.
        """

    def rollback(self) -> None:
        """Forget all that was applied since the last commit."""


@runtime_checkable
class FilterStoringSink(ResumableSink, Protocol):
    """A resumable sink that may be behind a filter.

    ``move_on(offset, state)``: the stream is at this offset, of which the sink got nothing; the next ``commit`` stores
    both, with what was applied. ``stream_state``: the last stored state; empty at first and after a snapshot.

        class Rows:  # with the methods of a ResumableSink
            stream_state = ""

            def move_on(self, offset, state):
                self.next_offset, self.next_state = offset, state  # commit() stores both
    """

    @property
    def stream_state(self) -> str:
        """See above. It belongs to ``stored_offset``."""

    def move_on(self, offset: int, state: str) -> None:
        """The stream is at ``offset`` now, see above. ``state`` has no meaning for the sink."""


class Stage(Protocol):
    """A snapshot while it arrives, kept apart from what the sink holds. No reader sees it before ``commit``.

    A stage may also have ``chunk(data)``, which gets the snapshot's raw bytes as they arrive.
    """

    def add(self, entries: list[Entry]) -> None:
        """Take some entries. The stage owns them and their values from now on."""

    def commit(self, snapshot: Snapshot) -> None:
        """Replace all that the sink holds by the added entries, in one step. ``snapshot``: the facts about it."""

    def abort(self) -> None:
        """Forget the added entries. The sink keeps what it has."""


@runtime_checkable
class StagingSink(Sink, Protocol):
    """A sink that takes a snapshot's entries while they arrive."""

    def stage(self) -> Stage:
        """Start a snapshot. At most one is open at a time."""


class HoldingStage:
    """Holds the entries until the end, for a sink without stages."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._entries: deque[Entry] = deque()

    def add(self, entries: list[Entry]) -> None:
        self._entries.extend(entries)

    def commit(self, snapshot: Snapshot) -> None:
        snapshot.held = self._entries
        self._sink.load(snapshot)

    def abort(self) -> None:
        self._entries.clear()


def load_by_stage(sink: StagingSink, snapshot: Snapshot) -> None:
    """``load`` for a sink that has ``stage``. If it raises, the sink keeps what it has."""
    stage = sink.stage()
    try:
        stage.add(list(snapshot))
        stage.commit(snapshot)
    except BaseException:
        stage.abort()
        raise
