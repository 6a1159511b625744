"""One life of a shard process, which ends by a kill: importable by every start method."""

from __future__ import annotations

from multiprocessing.connection import Connection

from kevy_ring import ReplicaInboxReceiver
from kevy_ring.shard import Shard, sink_from_url
from kevy_ring.shard.sinks.sqlite import SqliteSink
from kevy_ring.shard.sinks.store.shortcut_probe import usable_shortcuts

__all__ = ["SqliteSink", "live"]

# Once, in the server from which the lives are forked.
usable_shortcuts()


def live(ring_name: str, sink_url: str, max_events: int, ready: Connection) -> None:
    """Apply the ring to the sink until the other end of ``ready`` says or closes; then say how many were skipped."""
    sink = sink_from_url(sink_url)
    with ReplicaInboxReceiver.attach(ring_name, timeout=60) as receiver:
        shard = Shard(receiver, sink, max_events=max_events, flush_interval_s=0.03)
        ready.send(shard.applied_offset)
        shard.run(ready.poll, outlives_sender=True)
        shard.close()
        ready.send((shard.frames, shard.frames_skipped))
    sink.close()
