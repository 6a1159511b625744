"""What a sink is: the place where a shard's events end up, and how one is found by its URL."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from kevy_ring.events import BytesLike
from kevy_ring.replica.entry import Entry
from kevy_ring.shard.snapshot import Snapshot

if TYPE_CHECKING:
    from kevy_ring.inbox import Batch


@runtime_checkable
class Sink(Protocol):
    """Takes what one shard applies, in order, from one thread.

    ``durable`` is True where what was flushed outlives this process. A shard marks an offset as applied only after
    ``flush`` for such a sink, and at once for any other. After a crash a sink is given again what came after the last
    marked offset: at least once.

    Two more methods are used where a sink has them: ``apply_batch`` (:class:`BatchSink`) and ``stage``
    (:class:`StagingSink`). ``in_transaction`` (an attribute, False where missing) is True between MULTI and EXEC: no
    offset is marked there, since going on from it would lose the first half.
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


def _without_login(url: str) -> str:
    """The URL without whatever stands before its last ``@``: errors are printed and logged, passwords are not."""
    scheme, found, rest = url.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}" if found else url.rpartition("@")[2]


def is_resumable(url: str) -> bool:
    """Whether the sink that ``url`` names outlives its process and knows how far it is: a later one goes on there."""
    return url.partition(":")[0] in ("sqlite",)


def sink_from_url(url: str, *, shard: int = 0, shards: int = 1) -> Sink:
    """The sink that ``url`` names, for shard number ``shard`` of ``shards``.

    ``null``, ``memory``, ``jsonl:DIR``, ``redis://[user:pass@]host:port[/db]`` (also ``rediss://`` and ``unix://``),
    ``python:module:callable``. ``{shard}`` in the URL stands for the shard's number. With more than one shard,
    ``jsonl:DIR`` writes to ``DIR/shard-N``, and a Redis target needs ``{shard}`` in its URL (a database or a port of
    its own), because a snapshot replaces all that its target holds.

    Raises ``ValueError`` for a URL that names no sink, and SinkError where the sink cannot be made.
    """
    shown = _without_login(url)
    own = url.replace("{shard}", str(shard))
    kind, _, rest = own.partition(":")
    if own == "null":
        from kevy_ring.shard.sinks.null import NullSink

        return NullSink()
    if own == "memory":
        from kevy_ring.shard.sinks.memory import MemorySink

        return MemorySink()
    if kind == "jsonl" and rest:
        from kevy_ring.shard.sinks.jsonl import JsonlSink

        return JsonlSink(rest if shards == 1 or own != url else f"{rest}/shard-{shard}")
    if kind in ("redis", "rediss", "unix") and rest.startswith("//"):
        if shards > 1 and own == url:
            raise ValueError(
                f"{shards} shards cannot share the target {shown!r}: a snapshot replaces all that its target holds; "
                "put {shard} in the URL, as in redis://host:port/{shard}"
            )
        from kevy_ring.shard.sinks.redis import RedisSink

        return RedisSink(own)
    if kind == "python" and rest:
        from kevy_ring.shard.sinks.python import PythonSink

        return PythonSink(rest)
    raise ValueError(f"{shown!r} names no sink: null, memory, jsonl:DIR, redis://HOST:PORT, python:MODULE:CALLABLE")
