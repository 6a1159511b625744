"""The jsonl sink: every change as one line of JSON in a file."""

from kevy_ring.shard.sinks.jsonl.sink import JsonlSink

__all__ = ["JsonlSink"]
