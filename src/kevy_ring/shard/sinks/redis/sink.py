"""A sink that writes to another Redis server: forwards frames in RESP pipelines, and swaps snapshots in."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from kevy_ring.errors import SinkError
from kevy_ring.events import BytesLike
from kevy_ring.shard.extras import missing_extra
from kevy_ring.shard.owned_frames import owned_frames
from kevy_ring.shard.sinks.options import DEFAULT_OPTIONS, SinkOptions
from kevy_ring.shard.sinks.redis.command_pipeline import PIPELINE_BYTES, CommandPipeline
from kevy_ring.shard.sinks.redis.database_commands import (
    DATABASE_NAMING,
    EMPTYING,
    MARK_MOVING,
    WATCHED,
    OtherDatabase,
    in_one_database,
    selected_database,
    watched_frames,
)
from kevy_ring.shard.sinks.redis.stage import RedisStage
from kevy_ring.shard.sinks.redis.target_mark import MARK
from kevy_ring.shard.sinks.sink import load_by_stage
from kevy_ring.shard.sinks.skipped_keys import SkippedKeys
from kevy_ring.shard.snapshot import SkippedKey, Snapshot

if TYPE_CHECKING:
    from kevy_ring.inbox import Batch
    from kevy_ring.replica.upstream_url import UpstreamUrl
    from kevy_ring.shard.sinks.redis.target import Target
    from kevy_ring.shard.sinks.refusals import Refusals

TIMEOUT_S = 30.0  # a server that does not answer for this long counts as gone
_IDENTITY_EVERY_S = 1.0  # how often the sink checks, while it writes, whether the target has become a replica


class RedisSink:
    """Forwards frames to the server at ``url`` and replaces its keys when a snapshot is whole.

    With a URL without a database the whole server is the replica: databases keep their numbers, and a snapshot replaces
    all of them. With one (``redis://host:port/3``) only that is: of the database in ``options.filter``, else of 0.

    ``timeout_s``: of each call. ``upstream``: of the shard; a text is only a name. ``options``: see SinkOptions. If the
    target is the upstream itself, or holds keys that are not from it, TargetRefused is raised, here and later.
    docs/sinks.md describes the mark in the target.

    ``refusals`` counts the commands that the server answered with an error. An error that means that the server did
    not take the command (read-only, out of memory, ...) raises SinkError instead, and so does a lost connection. The
    server may then get the last commands twice, because the shard continues from the last offset that it marked.
    """

    durable = True

    def __init__(
        self,
        url: str,
        *,
        timeout_s: float = TIMEOUT_S,
        upstream: UpstreamUrl | str = "",
        options: SinkOptions = DEFAULT_OPTIONS,
        refusals: Refusals | None = None,
    ) -> None:
        try:
            from kevy_ring.shard.sinks.redis.target_access import TargetAccess

            self._access = TargetAccess(url, upstream, timeout_s=timeout_s, options=options, refusals=refusals)
        except ImportError as error:
            raise missing_extra("redis", "redis or hiredis") from error
        self.url = self._access.url
        self.guard = self._access.guard
        self.refusals = self._access.refusals
        self.in_transaction = False
        #: Keys that the snapshot skipped, and that the target lacks.
        self.skipped = SkippedKeys()
        #: The one database that is the replica; None: all of the server's.
        self.only_db = self._access.only_db
        self._target: Target | None = None
        self._is_claimed = False
        self._identity_at = time.monotonic()
        # The selected database, in the target's numbers: after the last frame, and after the last frame that was sent.
        self._db = self._sent_db = 0
        self._pipeline = CommandPipeline()
        self.guard.ask_upstream()
        self.reconnect()
        try:
            self._access.users.check(self._live())
            self.guard.check_keys(self._live())
            self._live().ask(b"SELECT", b"%d" % self._db)
        except BaseException:
            self._live().close()
            raise

    @property
    def restores_at_close(self) -> bool:
        """True if ``close`` restores a setting that this object changed for all users of the server."""
        return self._access.import_mode.restores

    def reconnect(self) -> None:
        """Begin a stream on a new connection: no transaction, and database 0 of the stream."""
        self.in_transaction, self._pipeline = False, CommandPipeline()
        # Connect before closing the old one. Without any connection this run would look ended.
        before, self._target = self._target, self._access.connect()
        if before is not None:
            before.close()
        self._db = self._sent_db = self.only_db or 0
        if self.only_db:
            self._target.ask(b"SELECT", b"%d" % self.only_db)

    def claim(self) -> None:
        """Mark the target as this upstream's, with a new id, before the first request to the upstream.

        If the followed stream comes from the target itself, over any number of hops, it will contain the new id.
        """
        self._claim(renew=True)

    def follow_history(self, history: str) -> None:
        """Note the history of the next events. Raises TargetRefused if it is the target's."""
        if self.guard.follows(history):
            self.guard.ask_upstream()
            self._access.connect().close()

    def apply(self, offset: int, argv: Sequence[BytesLike]) -> None:
        # A single event must not leave views behind, so it is sent at once.
        self._append(offset, [bytes(argument) for argument in argv])
        self._send()

    def apply_batch(self, batch: Batch) -> None:
        self.apply_frames(() if self._append_batch(batch) else owned_frames(batch))

    def apply_frames(self, frames: Iterable[tuple[int, list[bytes]]]) -> None:
        """Apply ``frames``, each its offset and its arguments, as one by one with :meth:`apply`."""
        try:
            for offset, argv in frames:
                self._append(offset, argv)
                if len(self._pipeline.wire) >= PIPELINE_BYTES:
                    self._send()
            self._send()
        finally:
            self._pipeline = CommandPipeline()

    def load(self, snapshot: Snapshot) -> None:
        load_by_stage(self, snapshot)

    def stage(self) -> RedisStage:
        self._live().settle()
        return RedisStage(self._access, settle_stream=self._settle_stream, has_loaded=self._has_loaded)

    def flush(self) -> None:
        target = self._live()
        target.settle()
        if self.in_transaction or not self.guard.is_open:
            return
        now = time.monotonic()
        if now - self._identity_at >= _IDENTITY_EVERY_S:
            self._identity_at = now
            self.guard.check_identity(target, b"replication")
        self.guard.recount(target)
        ours = CommandPipeline()
        self._append_own(ours, [self.guard.update_command()])
        target.send(ours)

    def close(self) -> None:
        target, self._target = self._target, None
        if target is not None:
            try:
                target.settle()
            finally:
                target.close()
                self._access.import_mode.switch_back(self._access.connect_unchecked, self.guard.home)
                self.refusals.close()

    @property
    def skipped_keys(self) -> list[SkippedKey]:
        """The keys that the snapshot skipped, and that were neither deleted nor rewritten since."""
        return self.skipped.listed()

    def _settle_stream(self) -> None:
        """Wait for all replies and bring the mark's count up to date, before a snapshot replaces anything."""
        self.flush()
        self._live().settle()

    def _has_loaded(self, snapshot: Snapshot) -> None:
        self.reconnect()
        self.skipped = SkippedKeys(snapshot.left_out.keys)

    def _claim(self, *, renew: bool) -> None:
        target, guard = self._live(), self.guard
        self._access.import_mode.switch_on(target, guard, renew=renew)
        commands = guard.claim_commands(renew=renew) if renew or not guard.is_written else []
        target.ask_all([b"SELECT", b"%d" % guard.home], *commands, [b"SELECT", b"%d" % self._sent_db])
        self._is_claimed = True

    def _append(self, offset: int, argv: list[bytes]) -> None:
        commands = [argv]
        if self.skipped:
            commands, refusal = self.skipped.admit(argv)
            if refusal is not None:
                self.refusals.refuse(offset, self._db if self.only_db is None else 0, argv, refusal)
        for command in commands:
            name = command[0].upper()
            if name in WATCHED:
                self._append_watched(offset, name, command)
            else:
                self._pipeline.append(offset, command)

    def _append_batch(self, batch: Batch) -> bool:
        """Append a batch as the core encodes it. Return False and do nothing if one of its commands must change."""
        if self.skipped:
            return False
        watched = watched_frames(batch)
        changed = MARK_MOVING if self.only_db is None else DATABASE_NAMING
        if any(name in changed for _, name in watched):
            return False
        selects = []
        for number, name in watched:
            self._note_transaction(name)
            if name == b"SELECT":
                selects.append(number)
        selected = [selected_database(batch.argv(number)) for number in reversed(selects)]
        self._pipeline.append_batch(batch)
        self._db = next((db for db in selected if db is not None), self._db)
        return True

    def _note_transaction(self, name: bytes) -> None:
        if name == b"MULTI":
            self.in_transaction = True
        elif name in (b"EXEC", b"DISCARD"):
            self.in_transaction = False

    def _append_watched(self, offset: int, name: bytes, argv: list[bytes]) -> None:
        """Append a command that concerns the connection or a whole database, and keep track of its effect."""
        if self.only_db is not None:
            try:
                here = in_one_database(name, argv, self.only_db, self._access.source_db)
            except OtherDatabase as error:
                detail = f"the upstream uses database {error.database!r}; a URL without a database takes them all"
                raise SinkError(self.url.redacted, reason="refused", detail=detail) from None
            if here is None:
                return
            argv, name = here, here[0].upper()
        if name in EMPTYING or (name == b"SWAPDB" and len(argv) == 3):
            self._append_with_mark(offset, name, argv)
            return
        self._pipeline.append(offset, argv)
        self._note_transaction(name)
        if name == b"SELECT" and (db := selected_database(argv)) is not None:
            self._db = db

    def _append_with_mark(self, offset: int, name: bytes, argv: list[bytes]) -> None:
        """Append a command that empties or moves a database, in one transaction with commands that restore the mark."""
        # Send this transaction alone. A mark that is written before it must count only the commands before it, and the
        # mark inside it does not allow for the keys of later commands.
        self._send()
        guard, pipeline = self.guard, self._pipeline
        if not self.in_transaction:
            pipeline.append(None, [b"MULTI"])
        pipeline.append(offset, argv)
        if name == b"SWAPDB" and argv[1].isdigit() and argv[2].isdigit():
            one, other = int(argv[1]), int(argv[2])
            guard.swapped(one, other)
            if guard.home in (one, other):
                moved = other if one == guard.home else one
                pipeline.append(None, [b"SELECT", b"%d" % moved])
                pipeline.append(None, guard.delete_command())
        elif name in EMPTYING:
            guard.flushed(self._db if name == b"FLUSHDB" else None)
        self._append_own(pipeline, [guard.write_command()], back_to=self._db)
        if not self.in_transaction:
            pipeline.append(None, [b"EXEC"])
        self._send(adds_keys=False)

    def _append_own(self, pipeline: CommandPipeline, commands: list[list[bytes]], back_to: int | None = None) -> None:
        """Append commands of the sink for the database of the mark, and select the stream's database again."""
        for command in ([b"SELECT", b"%d" % self.guard.home], *commands):
            pipeline.append(None, command)
        pipeline.append(None, [b"SELECT", b"%d" % (self._sent_db if back_to is None else back_to)])

    def _send(self, *, adds_keys: bool = True) -> None:
        pipeline, self._pipeline = self._pipeline, CommandPipeline()
        if not pipeline:
            return
        if not self._is_claimed:
            self._claim(renew=False)
        if MARK in pipeline.wire:
            pipeline = self._access.without_marks(pipeline)
        if adds_keys and self.guard.ahead(pipeline.argument_count):
            theirs, pipeline = pipeline, CommandPipeline()
            self._append_own(pipeline, [self.guard.update_command()])
            pipeline.extend(theirs)
        self._live().send(pipeline, db=self._sent_db, is_open=self.in_transaction)
        self._sent_db = self._db

    def _live(self) -> Target:
        if self._target is None:
            raise SinkError(self.url.redacted, reason="io", detail="the sink is closed")
        return self._target
