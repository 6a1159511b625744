"""Opens and checks connections to a Redis target."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

from kevy_ring.replica.upstream_url import UpstreamUrl, parse_upstream
from kevy_ring.shard.sinks.options import SinkOptions
from kevy_ring.shard.sinks.redis.command_pipeline import CommandPipeline
from kevy_ring.shard.sinks.redis.import_mode import ImportModeSwitch, become_import_source
from kevy_ring.shard.sinks.redis.target import Target
from kevy_ring.shard.sinks.redis.target_guard import TargetGuard
from kevy_ring.shard.sinks.redis.target_mark import MARK, without_mark
from kevy_ring.shard.sinks.redis.target_users import TargetUsers
from kevy_ring.shard.sinks.refusals import Refusals


class TargetAccess:
    """Opens connections to the server at ``url``, and checks that the sink may write there.

    ``only_db``: the one database that is the replica; None: all databases of the server are. ``source_db``: the only
    database of the upstream that passes the filter; None: there is no such filter.
    """

    def __init__(
        self,
        url: str,
        upstream: UpstreamUrl | str,
        *,
        timeout_s: float,
        options: SinkOptions,
        refusals: Refusals | None = None,
    ) -> None:
        self.url = parse_upstream(url)
        parts = urlsplit(url)
        named = "db" in parse_qs(parts.query) or (parts.scheme != "unix" and parts.path not in ("", "/"))
        self.only_db: int | None = self.url.db if named else None
        self.source_db = options.filter.only_database
        self.refusals = refusals or Refusals(self.url.redacted)
        self.guard = TargetGuard(self.url, upstream, only_db=self.only_db, options=options)
        self.users = TargetUsers(self.url.redacted, run=options.run, only_db=self.only_db)
        self.import_mode = ImportModeSwitch(self.url.redacted, is_wanted=options.target_import_mode)
        self._timeout_s = timeout_s

    def connect(self) -> Target:
        """Open a connection to the server. Raises TargetRefused if this sink may not write to it."""
        target = self.connect_unchecked()
        try:
            self.guard.check_identity(target)
            self.users.introduce(target)
            become_import_source(target)
        except BaseException:
            target.close()
            raise
        return target

    def connect_unchecked(self) -> Target:
        """Open a connection without any check."""
        is_one = self.only_db is not None
        return Target(self.url, self.refusals, timeout_s=self._timeout_s, is_one_database=is_one)

    def prepare(self, target: Target) -> None:
        """Check the target again before a snapshot is staged or replaces anything. ``target``: a connection to it."""
        self.guard.check_identity(target)
        self.guard.check_keys(target)
        if not self.guard.is_written:
            target.ask_all([b"SELECT", b"%d" % self.guard.home], *self.guard.claim_commands(renew=False))

    def without_marks(self, pipeline: CommandPipeline) -> CommandPipeline:
        """``pipeline`` without the mark of the followed server. Raises TargetRefused for the sink's own id."""
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
                self.refusals.refuse(offset, 0, argv, f"not sent: {MARK.decode()} is the sink's own key")
        return kept
