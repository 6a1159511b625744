"""The redis sink: writes the stream to another server."""

from kevy_ring.shard.sinks.redis.sink import RedisSink

__all__ = ["RedisSink"]
