"""The sqlite sink: the keyspace and its changes in one file."""

from kevy_ring.shard.sinks.sqlite.sink import SqliteSink

__all__ = ["SqliteSink"]
