"""A sink that is another Redis server: frames are forwarded as RESP in pipelines, snapshots swapped in."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

from kevy_ring.errors import SinkError
from kevy_ring.events import BytesLike
from kevy_ring.shard.extras import missing_extra
from kevy_ring.shard.owned_frames import owned_frames
from kevy_ring.shard.sinks.options import DEFAULT_OPTIONS, SinkOptions
from kevy_ring.shard.sinks.redis.command_pipeline import CommandPipeline
from kevy_ring.shard.sinks.redis.database_commands import WATCHED, OtherDatabase, in_one_database
from kevy_ring.shard.sinks.redis.import_mode import ImportModeSwitch, become_import_source
from kevy_ring.shard.sinks.redis.target_mark import MARK, without_mark
from kevy_ring.shard.sinks.redis.target_users import TargetUsers
from kevy_ring.shard.sinks.refusals import Refusals
from kevy_ring.shard.sinks.sink import load_by_stage
from kevy_ring.shard.sinks.skipped_keys import SkippedKeys
from kevy_ring.shard.snapshot import SkippedKey, Snapshot

if TYPE_CHECKING:
    from kevy_ring.inbox import Batch
    from kevy_ring.replica.upstream_url import UpstreamUrl
    from kevy_ring.shard.sinks.redis.stage import RedisStage
    from kevy_ring.shard.sinks.redis.target import Target

#: No step of an honest server's takes this long; one that does is taken for gone.
TIMEOUT_S = 30.0
#: A pipeline is sent once it has this many bytes: enough to make the round trip cheap.
PIPELINE_BYTES = 128 * 1024
#: How often the target is asked, while it is written to, whether it has become a replica.
_IDENTITY_EVERY_S = 1.0

#: Commands that empty databases, and the mark with them.
_EMPTYING = (b"FLUSHALL", b"FLUSHDB")


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
            from kevy_ring.replica.upstream_url import parse_upstream
            from kevy_ring.shard.sinks.redis.target import Target
            from kevy_ring.shard.sinks.redis.target_guard import TargetGuard

            self.url = parse_upstream(url)
        except ImportError as error:
            raise missing_extra("redis", "redis") from error
        parts = urlsplit(url)
        named = "db" in parse_qs(parts.query) or (parts.scheme != "unix" and parts.path not in ("", "/"))
        #: The one database that is the replica; None: all of the server's.
        self.only_db: int | None = self.url.db if named else None
        self.in_transaction = False
        self.refusals = Refusals(self.url.redacted)
        self.guard = TargetGuard(self.url, upstream, only_db=self.only_db, options=options)
        self._users = TargetUsers(self.url.redacted, run=options.run, only_db=self.only_db)
        self._import_mode = ImportModeSwitch(self.url.redacted, is_wanted=options.target_import_mode)
        #: Keys that the snapshot skipped, and that the target lacks.
        self.skipped = SkippedKeys()
        self._new_target = Target
        self._timeout_s = timeout_s
        self._target: Target | None = None
        self._is_claimed = False
        self._identity_at = time.monotonic()
        # The database that the stream has selected, in the target's numbers: at its last frame, and when that was sent.
        self._db = self._sent_db = 0
        self._pipeline = CommandPipeline()
        self.guard.ask_upstream()
        self.reconnect()
        try:
            self._users.check(self._live())
            self.guard.check_keys(self._live())
            self._live().ask(b"SELECT", b"%d" % self._db)
        except BaseException:
            self._live().close()
            raise

    @property
    def restores_at_close(self) -> bool:
        """True where ``close`` puts something back that this object has changed for all users of the server."""
        return self._import_mode.restores

    def connect(self) -> Target:
        """Another connection to the server. Raises TargetRefused where it may not be written to any more."""
        target = self._plain_connection()
        try:
            self.guard.check_identity(target)
            self._users.introduce(target)
            become_import_source(target)
        except BaseException:
            target.close()
            raise
        return target

    def reconnect(self) -> None:
        """Start a stream anew: no transaction, and the stream's database 0."""
        self.in_transaction = False
        self._pipeline = CommandPipeline()
        # One after the other: a moment without a connection would look like the end of this run.
        before, self._target = self._target, self.connect()
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
            self.connect().close()

    def apply(self, offset: int, argv: Sequence[BytesLike]) -> None:
        # A single event may not leave views behind, so nothing waits for the next one.
        self._append(offset, [bytes(argument) for argument in argv])
        self._send()

    def apply_batch(self, batch: Batch) -> None:
        try:
            for offset, argv in owned_frames(batch):
                self._append(offset, argv)
                if self._pipeline.size_bytes >= PIPELINE_BYTES:
                    self._send()
            self._send()
        finally:
            self._pipeline = CommandPipeline()

    def load(self, snapshot: Snapshot) -> None:
        load_by_stage(self, snapshot)

    def stage(self) -> RedisStage:
        from kevy_ring.shard.sinks.redis.stage import RedisStage

        return RedisStage(self)

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
        target.send(ours.wire(), ours.commands)

    def close(self) -> None:
        target, self._target = self._target, None
        if target is not None:
            try:
                target.settle()
            finally:
                target.close()
                self._import_mode.switch_back(self._plain_connection, self.guard.home)

    def prepare(self, target: Target) -> None:
        """Look at the target again, on another connection to it, before a snapshot is staged or replaces anything."""
        self._live().settle()
        self.guard.check_identity(target)
        self.guard.check_keys(target)
        if not self.guard.is_written:
            target.ask_all([b"SELECT", b"%d" % self.guard.home], *self.guard.claim_commands(renew=False))

    @property
    def skipped_keys(self) -> list[SkippedKey]:
        """The keys that the snapshot skipped, and that were neither deleted nor rewritten since."""
        return self.skipped.listed()

    def _claim(self, *, renew: bool) -> None:
        target, guard = self._live(), self.guard
        self._import_mode.switch_on(target, guard, renew=renew)
        commands = guard.claim_commands(renew=renew) if renew or not guard.is_written else []
        target.ask_all([b"SELECT", b"%d" % guard.home], *commands, [b"SELECT", b"%d" % self._sent_db])
        self._is_claimed = True

    def _append(self, offset: int, argv: list[bytes]) -> None:
        if not self.skipped:
            self._append_admitted(offset, argv)
            return
        commands, refusal = self.skipped.admit(argv)
        if refusal is not None:
            self.refusals.add(offset, argv[0], refusal)
        for command in commands:
            self._append_admitted(offset, command)

    def _append_admitted(self, offset: int, argv: list[bytes]) -> None:
        if argv[0] in WATCHED:
            self._append_watched(offset, argv[0].upper(), argv)
        else:
            self._pipeline.append(offset, argv)

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
        if name in _EMPTYING or (name == b"SWAPDB" and len(argv) == 3):
            self._append_with_mark(offset, name, argv)
            return
        self._pipeline.append(offset, argv)
        if name == b"MULTI":
            self.in_transaction = True
        elif name in (b"EXEC", b"DISCARD"):
            self.in_transaction = False
        elif name == b"SELECT" and len(argv) == 2 and argv[1].isdigit():
            self._db = int(argv[1])

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
        elif name in _EMPTYING:
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
        if not pipeline.commands:
            return
        if not self._is_claimed:
            self._claim(renew=False)
        wire, commands = pipeline.wire(), pipeline.commands
        if MARK in wire:
            pipeline = self._without_marks(pipeline)
            wire, commands = pipeline.wire(), pipeline.commands
        if adds_keys and self.guard.ahead(pipeline.argument_count):
            ours = CommandPipeline()
            self._append_own(ours, [self.guard.update_command()])
            wire, commands = ours.wire() + wire, ours.commands + commands
        self._live().send(wire, commands)
        self._sent_db = self._db

    def _without_marks(self, pipeline: CommandPipeline) -> CommandPipeline:
        """``pipeline`` without the mark of the server that is followed. Raises TargetRefused for the sink's own id."""
        kept = CommandPipeline()
        for offset, argv in pipeline:
            if offset is None:
                kept.append(None, argv)
                continue
            self.guard.check_copy(argv)
            left = without_mark(argv)
            if left is not None:
                kept.append(offset, left)
            elif argv[0].upper() not in (b"SET", b"MSET", b"DEL", b"UNLINK"):
                self.refusals.add(offset, argv[0], f"not sent: {MARK.decode()} is the sink's own key")
        return kept

    def _plain_connection(self) -> Target:
        return self._new_target(self.url, self.refusals, timeout_s=self._timeout_s)

    def _live(self) -> Target:
        if self._target is None:
            raise SinkError(self.url.redacted, reason="io", detail="the sink is closed")
        return self._target
