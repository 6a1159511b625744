"""A redis sink that also looks for keys, for a replay of dead letters."""

from __future__ import annotations

from kevy_ring.shard.sinks.redis.sink import RedisSink


class RedisReplaySink(RedisSink):
    """Tells which keys the target has."""

    def holds(self, db: int, key: bytes) -> bool:
        """Whether the target has a key of the upstream's database ``db``."""
        there = db if self.only_db is None else self.only_db
        commands = ([b"SELECT", b"%d" % there], [b"EXISTS", key], [b"SELECT", b"%d" % self._sent_db])
        return bool(self._live().ask_all(*commands)[1])
