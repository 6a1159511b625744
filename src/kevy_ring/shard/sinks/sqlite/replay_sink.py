"""A sqlite sink that takes commands beside the stream, for a replay of dead letters."""

from __future__ import annotations

from kevy_ring.errors import SinkError
from kevy_ring.shard.sinks.sqlite.sink import SqliteSink


class SqliteReplaySink(SqliteSink):
    """Applies commands without an offset."""

    def holds(self, db: int, key: bytes) -> bool:
        """Whether there is a key."""
        return self._live().entry(db, key) is not None

    def apply_beside(self, db: int, argv: list[bytes]) -> str | None:
        """Apply a command that is no event of the stream: neither the position nor the changes get it.

        Returns the error text if it was refused. Raises SinkError inside a transaction of the stream.
        """
        store = self._live()
        if store.in_transaction:
            detail = "a transaction of the stream is open. Let a run continue the stream first"
            raise SinkError(f"sqlite:{self.path}", reason="refused", detail=detail)
        store.set_clock()
        stream_db = store.selected
        store.select(db)
        refused = store.run(argv)
        store.select(stream_db)
        with self._file.transaction():
            self._write_touched(store)
            self._file.put_skipped(*store.skipped.take_changed())
        return refused
