"""The shard: applies what comes out of an inbox to a sink, snapshots as a whole and frames in order."""

from kevy_ring.shard.filters.filtered import filtered
from kevy_ring.shard.filters.key_filter import KeyFilter
from kevy_ring.shard.run_loop import RunEnd, RunResult
from kevy_ring.shard.shard import Shard
from kevy_ring.shard.sinks.sink import BatchSink, FilterStoringSink, ResumableSink, Sink, Stage, StagingSink
from kevy_ring.shard.sinks.sink_url import sink_from_url
from kevy_ring.shard.snapshot import Snapshot

__all__ = [
    "BatchSink",
    "FilterStoringSink",
    "KeyFilter",
    "ResumableSink",
    "RunEnd",
    "RunResult",
    "Shard",
    "Sink",
    "Snapshot",
    "Stage",
    "StagingSink",
    "filtered",
    "sink_from_url",
]
