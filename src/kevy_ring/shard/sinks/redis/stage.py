"""A snapshot that arrives at a Redis server: filled into spare databases, swapped in by one transaction."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Callable
from contextlib import closing, suppress
from typing import TYPE_CHECKING

from kevy_ring.errors import SinkError
from kevy_ring.replica.snapshots.entry import Entry
from kevy_ring.shard.sinks.redis.command_pipeline import PIPELINE_BYTES, CommandPipeline
from kevy_ring.shard.sinks.redis.entry_commands import entry_commands
from kevy_ring.shard.sinks.redis.spare_databases import UNCLAIM, SpareDatabases
from kevy_ring.shard.sinks.redis.target_mark import MARK

if TYPE_CHECKING:
    from kevy_ring.shard.sinks.redis.target_access import TargetAccess
    from kevy_ring.shard.snapshot import Snapshot

_log = logging.getLogger(__name__)


class RedisStage:
    """Fills each database of the snapshot into a spare (empty) database of the server, over a second connection.

    At the end one MULTI/EXEC swaps them in (SWAPDB) and empties the old databases. If there is no spare database (all
    are in use, or the server has no SWAPDB), the commands are held here and sent in that same transaction.
    """

    def __init__(
        self,
        access: TargetAccess,
        *,
        settle_stream: Callable[[], None],
        has_loaded: Callable[[Snapshot], None],
    ) -> None:
        """``settle_stream`` is called before the snapshot replaces anything, ``has_loaded`` after it has."""
        self._access = access
        self._settle_stream = settle_stream
        self._has_loaded = has_loaded
        self._target = access.connect()
        try:
            access.prepare(self._target)
        except BaseException:
            self._target.close()
            raise
        self._stream_counts = int((access.guard.identity.version or "7").partition(".")[0]) >= 7
        self._spares = SpareDatabases(self._target, keep=access.only_db, token=os.urandom(8).hex().encode())
        #: The spare database for each database of the snapshot, in order of arrival; None: held here.
        self._places: dict[int, int | None] = {}
        self._counts: Counter[int] = Counter()
        self._held: dict[int, CommandPipeline] = {}
        self._pipeline = CommandPipeline()
        self._selected: int | None = None
        self._sent_selected = 0
        self._has_field_expiries: bool | None = None  # asked when the first hash needs it

    def add(self, entries: list[Entry]) -> None:
        for entry in entries:
            if MARK in entry.key and self._is_left_out(entry):
                continue
            self._counts[self._home_of(entry.db)] += 1
            place = self._place_of(self._home_of(entry.db))
            expire = entry.field_expiries is not None and self._lets_fields_expire(entry)
            for command in entry_commands(entry, stream_counts=self._stream_counts, field_expiries=expire):
                self._append(place, self._home_of(entry.db), command)
        if self._spares.renewal_due:
            self._send()
            self._spares.renew()
            self._selected = None

    def commit(self, snapshot: Snapshot) -> None:
        self._send()
        self._target.settle()
        self._settle_stream()
        # The load may have taken long. Check again, so that keys that others added meanwhile are not lost.
        self._access.prepare(self._target)
        self._target.send(self._transaction())
        for text in self._target.settle():
            if text.startswith(("EXECABORT", "CROSSSLOT")):
                raise SinkError(self._access.url.redacted, reason="refused", detail=text)
        self._target.close()
        self._has_loaded(snapshot)

    def _transaction(self) -> CommandPipeline:
        """The commands that replace the replica by the snapshot in one step."""
        pipeline = CommandPipeline()
        for command in [[b"MULTI"], *self._swaps(), *self._clearings()]:
            pipeline.append(None, command)
        for home, held in self._held.items():
            pipeline.append(None, [b"SELECT", b"%d" % home])
            pipeline.extend(held)
        guard = self._access.guard
        guard.loaded(self._counts)
        last = [[b"SELECT", b"%d" % guard.home], guard.write_command(), [b"EXEC"]]
        if guard.identity.is_cluster_node:
            # In a cluster a transaction has one slot, and the mark may have another one.
            last = [last[2], *last[:2]]
        for command in last:
            pipeline.append(None, command)
        return pipeline

    def abort(self) -> None:
        try:
            self._target.settle()
            self._spares.give_back()
        except SinkError as error:
            # A full server refuses commands that need memory, but takes those that free it. After any other failure
            # the next load finds the spare databases and empties them.
            if error.reason == "refused":
                with suppress(SinkError), closing(self._access.connect()) as another:
                    self._spares.give_back(another)
        self._target.close()

    def _is_left_out(self, entry: Entry) -> bool:
        """Whether an entry is a mark that the upstream has as a target. Raises TargetRefused for this sink's own id."""
        self._access.guard.check_copy([entry.key, entry.value if isinstance(entry.value, bytes) else b""])
        return entry.key == MARK

    def _home_of(self, db: int) -> int:
        if self._access.only_db is None:
            return db
        if db != (self._access.source_db or 0):
            detail = f"the snapshot has keys in database {db}; a URL without a database takes them all, --db takes one"
            raise SinkError(self._access.url.redacted, reason="refused", detail=detail)
        return self._access.only_db

    def _place_of(self, home: int) -> int | None:
        if home not in self._places:
            self._send()
            self._places[home] = self._spares.claim(besides=set(self._places) | {home})
            self._selected = None
            if (place := self._places[home]) is not None:
                self._target.history.homes[place] = home
            else:
                self._held[home] = CommandPipeline()
                _log.warning(
                    "%s has no spare database: this process holds database %d in memory until the snapshot is whole",
                    *(self._access.url.redacted, home),
                )
        return self._places[home]

    def _lets_fields_expire(self, entry: Entry) -> bool:
        """Whether the server's hash fields can expire. If not, count the lost expiries as a refusal.

        Ask before sending, because an unknown command would abort the transaction at the end.
        """
        if self._has_field_expiries is None:
            self._send()
            try:
                self._has_field_expiries = self._target.ask(b"COMMAND", b"INFO", b"HPEXPIREAT") not in ([None], [])
            except SinkError as error:
                if error.reason != "refused":
                    raise
                self._has_field_expiries = False
        if not self._has_field_expiries:
            lost = f"{len(entry.field_expiries or ())} expiries of fields of {entry.key[:100]!r} are lost"
            need = "the target cannot expire fields; Redis from 7.4 on and Valkey from 9 on can"
            self._access.refusals.refuse(None, entry.db, [b"HPEXPIREAT", entry.key], f"{lost}: {need}")
        return self._has_field_expiries

    def _append(self, place: int | None, home: int, command: list[bytes]) -> None:
        if place is None:
            self._held[home].append(None, command)
            return
        if place != self._selected:
            self._pipeline.append(None, [b"SELECT", b"%d" % place])
            self._selected = place
        self._pipeline.append(None, command)
        if len(self._pipeline.wire) >= PIPELINE_BYTES:
            self._send()

    def _send(self) -> None:
        if self._pipeline:
            self._target.send(self._pipeline, db=self._sent_selected)
            self._pipeline = CommandPipeline()
        self._sent_selected = self._selected or 0

    def _swaps(self) -> list[list[bytes]]:
        """The swaps, in the order of the claims: a spare database is free again before the snapshot needs it."""
        swaps: list[list[bytes]] = []
        for home, spare in self._places.items():
            if spare is not None:
                number = b"%d" % spare
                swaps += [[b"SELECT", number], UNCLAIM, [b"SWAPDB", b"%d" % home, number], [b"FLUSHDB", b"ASYNC"]]
        return swaps

    def _clearings(self) -> list[list[bytes]]:
        """The commands that empty the replica's databases that get no swap."""
        homes = set(self._places)
        if self._access.only_db is not None:
            emptied = {self._access.only_db} - homes
        else:
            spares = {spare for spare in self._places.values() if spare is not None}
            emptied = self._spares.in_use() - homes - spares
        emptied |= set(self._held)
        return [command for db in sorted(emptied) for command in ([b"SELECT", b"%d" % db], [b"FLUSHDB", b"ASYNC"])]
