"""A sink that is another Redis server: frames are forwarded as RESP in pipelines, snapshots swapped in."""

from __future__ import annotations

import time
from collections.abc import Sequence
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

#: No step of an honest server's takes this long; one that does is taken for gone.
TIMEOUT_S = 30.0
#: How often the target is asked, while it is written to, whether it has become a replica.
_IDENTITY_EVERY_S = 1.0


class RedisSink:
    """Forwards frames to the server at ``url`` and replaces its keys when a snapshot is whole.

    A URL without a database makes the whole server the replica: databases keep their numbers and a snapshot replaces
    all of them. With a database (``redis://host:port/3``) only that one is the replica, of the upstream's database 0.

    ``upstream``: what the shard follows; a text is a name only. A target that is the upstream itself, or holds keys
    that are not from it, raises TargetRefused, here and later; see docs/sinks.md for the mark that the sink leaves.

    ``refusals`` counts the commands that the server answered with an error. An error that means that the server did
    not take the command (read-only, out of memory, ...) raises SinkError instead, and so does a lost connection: what
    was on its way may then be taken twice, since the shard goes on from the last offset that it marked.
    """

    durable = True

    def __init__(
        self,
        url: str,
        *,
        timeout_s: float = TIMEOUT_S,
        upstream: UpstreamUrl | str = "",
        options: SinkOptions = DEFAULT_OPTIONS,
    ) -> None:
        try:
            from kevy_ring.shard.sinks.redis.target_access import TargetAccess

            self._access = TargetAccess(url, upstream, timeout_s=timeout_s, options=options)
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
        # The database that the stream has selected, in the target's numbers: at its last frame, and when that was sent.
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
        """True where ``close`` puts something back that this object has changed for all users of the server."""
        return self._access.import_mode.restores

    def reconnect(self) -> None:
        """Start a stream anew: no transaction, and the stream's database 0."""
        self.in_transaction = False
        self._pipeline = CommandPipeline()
        # One after the other: a moment without a connection would look like the end of this run.
        before, self._target = self._target, self._access.connect()
        if before is not None:
            before.close()
        self._db = self._sent_db = self.only_db or 0
        if self.only_db:
            self._target.ask(b"SELECT", b"%d" % self.only_db)

    def claim(self) -> None:
        """Mark the target as this upstream's, with a new id, before anything is asked of the upstream.

        If the followed stream comes from the target itself, over any number of hops, it brings the new id.
        """
        self._claim(renew=True)

    def follow_history(self, history: str) -> None:
        """Take note of the history that the next events belong to. Raises TargetRefused where it is the target's."""
        if self.guard.follows(history):
            self.guard.ask_upstream()
            self._access.connect().close()

    def apply(self, offset: int, argv: Sequence[BytesLike]) -> None:
        # A single event may not leave views behind, so nothing waits for the next one.
        self._append(offset, [bytes(argument) for argument in argv])
        self._send()

    def apply_batch(self, batch: Batch) -> None:
        try:
            if not self._append_batch(batch):
                for offset, argv in owned_frames(batch):
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

    @property
    def skipped_keys(self) -> list[SkippedKey]:
        """The keys that the snapshot skipped, and that were neither deleted nor rewritten since."""
        return self.skipped.listed()

    def _settle_stream(self) -> None:
        """Before a snapshot replaces anything: all that was applied is answered, and the mark counts it."""
        self.flush()
        self._live().settle()

    def _has_loaded(self, snapshot: Snapshot) -> None:
        self.reconnect()
        self.skipped = SkippedKeys(snapshot.left_out.keys if snapshot else ())

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
                self.refusals.add(offset, argv[0], refusal)
        for command in commands:
            name = command[0].upper()
            if name in WATCHED:
                self._append_watched(offset, name, command)
            else:
                self._pipeline.append(offset, command)

    def _append_batch(self, batch: Batch) -> bool:
        """Append a batch as the core writes it. False, and nothing is done, when one of its commands has to change."""
        if self.skipped:
            return False
        watched = watched_frames(batch)
        changed = MARK_MOVING if self.only_db is None else DATABASE_NAMING
        if any(name in changed for _, name in watched):
            return False
        self._pipeline.append_batch(batch)
        selects = []
        for number, name in watched:
            self._note_transaction(name)
            if name == b"SELECT":
                selects.append(number)
        selected = (selected_database(batch.argv(number)) for number in reversed(selects))
        self._db = next((db for db in selected if db is not None), self._db)
        return True

    def _note_transaction(self, name: bytes) -> None:
        if name == b"MULTI":
            self.in_transaction = True
        elif name in (b"EXEC", b"DISCARD"):
            self.in_transaction = False

    def _append_watched(self, offset: int, name: bytes, argv: list[bytes]) -> None:
        """A command that concerns the connection or a whole database: keep track of what it does."""
        if self.only_db is not None:
            try:
                here = in_one_database(name, argv, self.only_db)
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
        """A command that empties or moves a database, and with it in one transaction what puts the mark back."""
        # Alone: a mark that is written before it, for the commands before it, must not count what is to come as done,
        # and the mark that is written with it cannot allow for the commands behind it.
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
        """The sink's own commands for the database of the mark; then the stream's own database is selected again."""
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
        self._live().send(pipeline)
        self._sent_db = self._db

    def _live(self) -> Target:
        if self._target is None:
            raise SinkError(self.url.redacted, reason="io", detail="the sink is closed")
        return self._target
