"""A shard process that a test kills. Every start method can import this file."""

from __future__ import annotations

from multiprocessing.connection import Connection

from kevy_ring import ReplicaInboxReceiver
from kevy_ring.shard import Shard, sink_from_url
from kevy_ring.shard.sinks.sqlite import SqliteSink
from kevy_ring.shard.sinks.store.shortcut_probe import usable_shortcuts

__all__ = ["SqliteSink", "live"]

# Imported once, in the server that forks the shard processes.
usable_shortcuts()


def live(ring_name: str, sink_url: str, max_events: int, ready: Connection) -> None:
    """Apply the ring to the sink until ``ready`` gets a message or closes. Then send the number of skipped frames."""
    sink = sink_from_url(sink_url)
    with ReplicaInboxReceiver.attach(ring_name, timeout=60) as receiver:
        shard = Shard(receiver, sink, max_events=max_events, flush_interval_s=0.03)
        ready.send(shard.applied_offset)
        shard.run(ready.poll, outlives_sender=True)
        shard.close()
        ready.send((shard.frames, shard.frames_skipped))
    sink.close()
