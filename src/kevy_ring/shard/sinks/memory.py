"""A sink in this process's memory: the databases of fakeredis, with all of its commands."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from kevy_ring.events import BytesLike
from kevy_ring.replica.snapshots.entry import Entry
from kevy_ring.shard.extras import check_fakeredis, missing_extra
from kevy_ring.shard.owned_frames import owned_frames
from kevy_ring.shard.sinks.refusals import Refusals
from kevy_ring.shard.sinks.skipped_keys import SkippedKeys
from kevy_ring.shard.snapshot import SkippedKey, Snapshot

if TYPE_CHECKING:
    from kevy_ring.inbox import Batch
    from kevy_ring.shard.sinks.store.store import Store


class MemorySink:
    """Applies commands to databases in memory.

    SELECT, MULTI and EXEC of the stream have their effect. As in a Redis replica, an expired key stays until the
    upstream deletes it, but readers (``keyspace``, ``databases``, ``client``) do not see it. ``refusals`` counts the
    commands that were answered with an error. Raises SinkError if fakeredis is missing or has an untested version.
    """

    durable = False

    def __init__(self, *, refusals: Refusals | None = None) -> None:
        check_fakeredis("memory")
        try:
            from kevy_ring.shard.sinks.store.shortcut_probe import usable_shortcuts
            from kevy_ring.shard.sinks.store.store import Store
        except ImportError as error:
            raise missing_extra("memory", "fakeredis", f"cannot be imported ({error})") from error
        self._new_store = Store
        self._store = Store(usable_shortcuts())
        self.refusals = refusals or Refusals("memory")

    @property
    def in_transaction(self) -> bool:
        """True between MULTI and EXEC."""
        return self._store.in_transaction

    @property
    def databases(self) -> list[int]:
        """The numbers of the databases that have keys which a reader sees."""
        return self._store.databases

    def keyspace(self, db: int = 0) -> dict[bytes, Entry]:
        """Copies of the keys of database ``db`` by name, without expired ones."""
        return {entry.key: entry for entry in self._store.entries(db)}

    @property
    def skipped_keys(self) -> list[SkippedKey]:
        """The keys that the snapshot skipped and the upstream has neither deleted nor rewritten since."""
        return self._store.skipped.listed()

    def client(self, db: int = 0) -> Any:
        """A ``redis.Redis`` on database ``db``, for reading from any thread. Applying is slower from now on."""
        from fakeredis import FakeRedis

        self._store.forgo_shortcuts()
        return FakeRedis(server=self._store.server, db=db)

    def apply(self, offset: int, argv: Sequence[BytesLike]) -> None:
        self._store.set_clock()
        argv = owned = [bytes(item) for item in argv]  # keep no view here: a kept error keeps this frame
        refused = self._store.run(owned)
        if refused is not None:
            self.refusals.refuse(offset, self._store.selected, owned, refused)

    def apply_batch(self, batch: Batch) -> None:
        self.apply_frames(owned_frames(batch))

    def apply_frames(self, frames: Iterable[tuple[int, list[bytes]]]) -> None:
        """Apply ``frames``, each its offset and its arguments, as one by one with :meth:`apply`."""
        self._store.set_clock()
        run = self._store.run
        for offset, argv in frames:
            refused = run(argv)
            if refused is not None:
                self.refusals.refuse(offset, self._store.selected, argv, refused)

    def load(self, snapshot: Snapshot) -> None:
        stage = self.stage()
        stage.add(list(snapshot))
        stage.commit(snapshot)

    def stage(self) -> MemoryStage:
        return MemoryStage(self._store, self._new_store({}))

    def flush(self) -> None:
        pass

    def close(self) -> None:
        self.refusals.close()


class MemoryStage:
    """A second store. It is filled while a snapshot arrives, and its keys are swapped with those of the first."""

    def __init__(self, live: Store, fresh: Store) -> None:
        self._live = live
        self._fresh = fresh

    def add(self, entries: list[Entry]) -> None:
        put = self._fresh.put
        for entry in entries:
            put(entry)

    def commit(self, snapshot: Snapshot) -> None:
        self._live.swap(self._fresh)
        self._fresh.forget()
        self._live.skipped = SkippedKeys(snapshot.left_out.keys)

    def abort(self) -> None:
        self._fresh.forget()
