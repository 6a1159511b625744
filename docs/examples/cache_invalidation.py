"""A cache in the application's memory. It forgets a key when the server has changed it.

python cache_invalidation.py redis://127.0.0.1:6379
"""

import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing import get_context
from threading import Thread
from typing import Any

import redis

from kevy_ring import ReplicaInboxSender, replica_inbox_pair
from kevy_ring.events import BytesLike
from kevy_ring.replica.runner import Runner
from kevy_ring.shard import Shard, Snapshot
from kevy_ring.shard.sinks.python import PythonSink


class Cache:
    def __init__(self, server: redis.Redis) -> None:
        self._server = server
        self._kept: dict[bytes, Any] = {}
        self._changes = self.asked = 0

    def get(self, key: bytes) -> Any:
        with suppress(KeyError):
            return self._kept[key]
        before, value = self._changes, self._server.get(key)
        self.asked += 1
        self._kept[key] = value
        if before != self._changes:  # a change arrived meanwhile: the value may be older than it
            self._kept.pop(key, None)
        return value

    def __call__(self, _offset: int, argv: Sequence[BytesLike]) -> None:
        self._changes += 1
        for argument in argv[1:]:  # any of them may be a key: forgetting too much does no harm
            self._kept.pop(bytes(argument), None)
        if bytes(argv[0]).upper().startswith(b"FLUSH"):
            self._kept = {}

    def load(self, _: Snapshot) -> None:  # a full sync: changes may have been missed
        self._changes += 1
        self._kept = {}


def follow(url: str, sender: ReplicaInboxSender) -> None:
    Runner(url, sender).run()


if __name__ == "__main__":
    sender, receiver = replica_inbox_pair()
    get_context("spawn").Process(target=follow, args=(sys.argv[1], sender), daemon=True).start()
    server = redis.Redis.from_url(sys.argv[1])
    cache = Cache(server)
    Thread(target=Shard(receiver, PythonSink(cache)).run, daemon=True).start()
    for price in range(10, 15):
        server.set("price", price)
        while int(cache.get(b"price") or 0) != price:
            time.sleep(0.001)
        print(f"the price is {price}:", {cache.get(b"price") for _ in range(1000)}, "asked", cache.asked, "times")
