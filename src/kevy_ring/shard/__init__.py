"""The shard: applies what comes out of an inbox to a sink, snapshots as a whole and frames in order."""

from kevy_ring.shard.shard import RunEnd, RunResult, Shard
from kevy_ring.shard.sinks.sink import BatchSink, Sink, Stage, StagingSink, sink_from_url
from kevy_ring.shard.snapshot import Snapshot

__all__ = [
    "BatchSink",
    "RunEnd",
    "RunResult",
    "Shard",
    "Sink",
    "Snapshot",
    "Stage",
    "StagingSink",
    "sink_from_url",
]
