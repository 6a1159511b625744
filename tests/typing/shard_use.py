"""A shard and a sink of one's own, as type checkers see them. Checked, never run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_type

from kevy_ring import Batch, ReplicaInboxReceiver
from kevy_ring.events import BytesLike
from kevy_ring.shard import BatchSink, RunEnd, RunResult, Shard, Sink, Snapshot, sink_from_url


class Counter:
    """The smallest sink: it inherits nothing of ours."""

    durable = False

    def __init__(self) -> None:
        self.frames = 0

    def apply(self, offset: int, argv: Sequence[BytesLike]) -> None:
        self.frames += 1

    def load(self, snapshot: Snapshot) -> None:
        self.frames = 0

    def flush(self) -> None: ...

    def close(self) -> None: ...


class BatchCounter(Counter):
    def apply_batch(self, batch: Batch) -> None:
        self.frames += len(batch)


class NoSink:
    durable = False

    def apply(self, offset: int, argv: list[str]) -> None: ...


def run(receiver: ReplicaInboxReceiver) -> None:
    sink: Sink = Counter()
    whole: BatchSink = BatchCounter()
    shard = Shard(receiver, sink, max_events=100)
    assert_type(shard.tick(), int)
    assert_type(shard.applied_offset, int | None)
    assert_type(shard.is_replicating, bool)
    result = shard.run(lambda: whole.durable)
    assert_type(result, RunResult)
    assert_type(result.end, RunEnd)
    assert_type(sink_from_url("null", shard=0, shards=1), Sink)


async def run_in_an_event_loop(shard: Shard) -> None:
    assert_type(await shard.run_async(), RunResult)


def not_as_it_is_meant(receiver: ReplicaInboxReceiver) -> None:
    Shard(receiver, NoSink())  # type: ignore[arg-type]
    Shard(NoSink(), Counter())  # type: ignore[arg-type]
    Shard(receiver, Counter()).run(stop=1)  # type: ignore[arg-type]
