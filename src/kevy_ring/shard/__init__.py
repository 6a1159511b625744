"""The shard: applies what comes out of an inbox to a sink, snapshots as a whole and frames in order."""

from kevy_ring.shard.run_loop import RunEnd, RunResult
from kevy_ring.shard.shard import Shard
from kevy_ring.shard.sinks.sink import BatchSink, ResumableSink, Sink, Stage, StagingSink
from kevy_ring.shard.sinks.sink_url import sink_from_url
from kevy_ring.shard.snapshot import Snapshot

__all__ = [
    "BatchSink",
    "ResumableSink",
    "RunEnd",
    "RunResult",
    "Shard",
    "Sink",
    "Snapshot",
    "Stage",
    "StagingSink",
    "sink_from_url",
]
