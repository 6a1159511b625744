"""What a sink is: the place where a shard's events end up."""

from __future__ import annotations

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

    ``durable`` is True where what was flushed outlives this process. A shard marks an offset as applied only after
    ``flush`` for such a sink, and at once for any other. What a shard that is killed had drained and not given back to
    the ring is seen again by the next one: at least once. A :class:`ResumableSink` makes that exactly once.

    More is used where a sink has it: ``apply_batch`` (:class:`BatchSink`), ``stage`` (:class:`StagingSink`), and what a
    :class:`ResumableSink` has. ``in_transaction`` (an attribute, False where missing) is True between MULTI and EXEC:
    no offset is marked there, since going on from it would lose the first half. ``follow_history(history)`` is called
    before the first event of another history of the upstream is applied; ``claim()`` by the command, before it starts
    any process.
    """

    durable: bool

    def apply(self, offset: int, argv: Sequence[BytesLike]) -> None:
        """Apply one command. The items of ``argv`` may be memoryviews that die after the call: keep ``bytes(item)``."""

    def load(self, snapshot: Snapshot) -> None:
        """Replace all that the sink holds by the snapshot's entries, in one step; half of it is never seen."""

    def flush(self) -> None:
        """Return when all that was applied is where it has to be. Raises SinkError where it cannot be."""

    def close(self) -> None:
        """Flush what can be flushed and let go of everything; a second call does nothing."""


@runtime_checkable
class BatchSink(Sink, Protocol):
    """A sink that takes a whole batch in one call."""

    def apply_batch(self, batch: Batch) -> None:
        """Apply a batch of frames only. When it raises, none of the batch's frames is taken as applied."""


@runtime_checkable
class ResumableSink(Sink, Protocol):
    """A durable sink that keeps the offset with the data: one is never there without the other.

    A shard takes over where the sink stands: frames up to ``stored_offset`` are skipped, until a snapshot replaces all.
    And it calls ``commit`` before it gives a batch back to the ring, since what was given back is never seen again.
    ``stored_offset``: of the last frame committed, or what a snapshot stands for; None: there is none (0 is one).

    The sink itself keeps all that it needs to go on with the next frame: the selected database, and what an open
    transaction has queued.
    """

    @property
    def stored_offset(self) -> int | None:
        """As described above. It is read when a shard starts, and again after a commit that failed."""

    def commit(self) -> None:
        """Return when all that was applied, and its offset, survives this process (if not the machine: see ``flush``).

        When it raises, the sink stands at ``stored_offset`` and what was applied behind it is forgotten.
        """

    def rollback(self) -> None:
        """Forget what was applied since the last commit."""


class Stage(Protocol):
    """A snapshot on its way into a sink, beside what the sink holds; nothing of it is seen before ``commit``.

    A stage may also have ``chunk(data)``: it is then given the snapshot's raw bytes too, as they arrive.
    """

    def add(self, entries: list[Entry]) -> None:
        """Take some entries; they and their values belong to the stage from now on."""

    def commit(self, snapshot: Snapshot) -> None:
        """Replace all that the sink holds by what was added, in one step."""

    def abort(self) -> None:
        """Forget what was added. The sink holds what it held."""


@runtime_checkable
class StagingSink(Sink, Protocol):
    """A sink that takes a snapshot's entries while they arrive."""

    def stage(self) -> Stage:
        """Start a snapshot; at most one is open at a time."""


def load_by_stage(sink: StagingSink, snapshot: Snapshot) -> None:
    """``load`` of a sink that has ``stage``: all entries at once. When it raises, the sink holds what it held."""
    stage = sink.stage()
    try:
        stage.add(list(snapshot))
        stage.commit(snapshot)
    except BaseException:
        stage.abort()
        raise
