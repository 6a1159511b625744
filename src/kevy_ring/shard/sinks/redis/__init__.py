"""The redis sink: the stream into another server."""

from kevy_ring.shard.sinks.redis.sink import RedisSink

__all__ = ["RedisSink"]
