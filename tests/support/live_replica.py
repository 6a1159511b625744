"""A whole replica in this process: a runner and a shard in threads, with a real inbox and a store in memory."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import redis

from kevy_ring import replica_inbox_pair
from kevy_ring.inbox.header_words import LinkState, ProducerWord
from kevy_ring.replica.backoff import Backoff
from kevy_ring.replica.runner import Runner
from kevy_ring.replica.snapshots.entry import Entry
from kevy_ring.shard import Shard
from kevy_ring.shard.sinks.memory import MemorySink
from redis_server import Comparable

DEADLINE_S = 120.0


class LiveReplica:
    """Follows ``url`` until closed. The store may be read once ``stop`` has returned."""

    def __init__(self, url: str, *, capacity: int = 1 << 20, **options: Any) -> None:
        self.sender, self.receiver = replica_inbox_pair(capacity=capacity)
        self.sink = MemorySink()
        self.shard = Shard(self.receiver, self.sink)
        self.notices: list[tuple[LinkState, str]] = []
        self.failures: list[BaseException] = []
        options.setdefault("backoff", Backoff(0.02, 0.2))
        options.setdefault("notify", lambda state, text: self.notices.append((state, text)))
        self.runner = Runner(url, self.sender, **options)
        self._shard_stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._keep, args=(work,), daemon=True)
            for work in (self.runner.run, lambda: self.shard.run(self._shard_stop.is_set))
        ]
        for thread in self._threads:
            thread.start()

    def _keep(self, work: Callable[[], object]) -> None:
        try:
            work()
        except BaseException as failure:
            self.failures.append(failure)

    def word(self, word: ProducerWord) -> int:
        from kevy_ring.ring import inspect_ring

        return inspect_ring(self.sender.name).producer_words[word]

    def wait_until(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + DEADLINE_S
        while not condition():
            assert not self.failures, self.failures
            assert time.monotonic() < deadline, f"not in time: {what}; {self.notices[-3:]}"
            time.sleep(0.01)

    def wait_synced(self) -> None:
        self.wait_until(lambda: self.sender.applied_offset is not None and not self.sender.loading, "synced")

    def wait_applied(self, client: redis.Redis) -> None:
        """Wait until everything that ``client`` has written is applied, by the upstream's own WAIT.

        WAIT compares with the offset of the client's last write, and a primary counts no offsets before its first
        replica. So this makes a last write when there is a replica.
        """

        def online() -> bool:
            replicas = client.info("replication")
            return any(replicas[f"slave{i}"]["state"] == "online" for i in range(replicas["connected_slaves"]))

        self.wait_synced()
        self.wait_until(online, "a replica that the primary calls online")
        client.incr("the last write")
        self.wait_until(lambda: client.wait(1, 500) == 1, "acknowledged")

    def stop(self) -> None:
        self.runner.stop.set()
        self._shard_stop.set()
        for thread in self._threads:
            thread.join(DEADLINE_S)
            assert not thread.is_alive()
        assert not self.failures, self.failures
        assert not self.sink.refusals.count

    def keyspace(self, db: int = 0) -> dict[bytes, Comparable]:
        """The store in the form of ``read_keyspace``. Reads again if the shard's thread changes the store meanwhile."""
        deadline = time.monotonic() + DEADLINE_S
        while True:
            try:
                return {key: _comparable(entry) for key, entry in self.sink.keyspace(db).items()}
            except RuntimeError:  # dictionary changed size during iteration
                assert time.monotonic() < deadline

    def __enter__(self) -> LiveReplica:
        return self

    def __exit__(self, *exc_info: object) -> None:
        try:
            self.stop()
        finally:
            self.shard.close()
            self.receiver.close()
            self.sender.close(timeout=0)


def _comparable(entry: Entry) -> Comparable:
    value = entry.value
    if entry.type == "stream":
        value = [(ms, seq, sorted(fields)) for ms, seq, fields in value.entries]
    return entry.type, value, entry.expires_at_ms


def differences(replica: dict[bytes, Comparable], upstream: dict[bytes, Comparable], tolerance_ms: int) -> list[str]:
    """The differences, key by key. Times of expiry may differ by the time that it took to read one."""
    found = [f"{key!r} is missing" for key in upstream.keys() - replica.keys()]
    found += [f"{key!r} is too much" for key in replica.keys() - upstream.keys()]
    for key in upstream.keys() & replica.keys():
        (kind, value, expiry), (kind2, value2, expiry2) = replica[key], upstream[key]
        if (kind, value) != (kind2, value2):
            found.append(f"{key!r}: {kind} {value!r:.80} for {kind2} {value2!r:.80}")
        elif (expiry is None) != (expiry2 is None) or abs((expiry or 0) - (expiry2 or 0)) > tolerance_ms:
            found.append(f"{key!r}: expires at {expiry} for {expiry2}")
    return found
