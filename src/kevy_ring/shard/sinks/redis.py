"""A sink that is another Redis server: frames are forwarded as RESP in pipelines, snapshots swapped in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

from kevy_ring.errors import SinkError
from kevy_ring.events import BytesLike
from kevy_ring.shard.extras import missing_extra
from kevy_ring.shard.owned_frames import owned_frames
from kevy_ring.shard.sinks.refusals import Refusals
from kevy_ring.shard.sinks.sink import load_by_stage
from kevy_ring.shard.sinks.skipped_keys import SkippedKeys
from kevy_ring.shard.snapshot import SkippedKey, Snapshot

if TYPE_CHECKING:
    from kevy_ring.inbox import Batch
    from kevy_ring.shard.sinks.redis_stage import RedisStage
    from kevy_ring.shard.sinks.target import Target

#: No step of an honest server's takes this long; one that does is taken for gone.
TIMEOUT_S = 30.0
#: A pipeline is sent once it has this many bytes: enough to make the round trip cheap.
PIPELINE_BYTES = 128 * 1024

_CRLF = b"\r\n"
#: ``$<length>`` lines ready made: nearly every argument has one of these lengths.
_HEADS = [b"$%d\r\n" % length for length in range(512)]


class RedisSink:
    """Forwards frames to the server at ``url`` and replaces its keys when a snapshot is whole.

    A URL without a database makes the whole server the replica: databases keep their numbers and a snapshot replaces
    all of them. With a database (``redis://host:port/3``) only that one is the replica, of the upstream's database 0.

    ``refusals`` counts the commands that the server answered with an error. An error that means that the server did
    not take the command (read-only, out of memory, ...) raises SinkError instead, and so does a lost connection: what
    was on its way may then be taken twice, since the shard goes on from the last offset that it marked.
    """

    durable = True

    def __init__(self, url: str, *, timeout_s: float = TIMEOUT_S) -> None:
        try:
            from kevy_ring.replica.upstream_url import parse_upstream
            from kevy_ring.shard.sinks.target import Target

            self.url = parse_upstream(url)
        except ImportError as error:
            raise missing_extra("redis", "redis") from error
        parts = urlsplit(url)
        named = "db" in parse_qs(parts.query) or (parts.scheme != "unix" and parts.path not in ("", "/"))
        #: The one database that is the replica; None: all of the server's.
        self.only_db: int | None = self.url.db if named else None
        self.in_transaction = False
        self.refusals = Refusals(self.url.redacted)
        #: Keys that the snapshot skipped, and that the target lacks.
        self.skipped = SkippedKeys()
        self._new_target = Target
        self._timeout_s = timeout_s
        self._target: Target | None = None
        self._parts: list[BytesLike] = []
        self._commands: list[tuple[int | None, bytes]] = []
        self._part_bytes = 0
        self.reconnect()

    def connect(self) -> Target:
        """Another connection to the server."""
        return self._new_target(self.url, self.refusals, timeout_s=self._timeout_s)

    def reconnect(self) -> None:
        """Start a stream anew: no transaction, and the stream's database 0."""
        self.in_transaction = False
        self._clear()
        if self._target is not None:
            self._target.close()
        self._target = self.connect()
        if self.only_db:
            self._target.ask(b"SELECT", b"%d" % self.only_db)

    def apply(self, offset: int, argv: Sequence[BytesLike]) -> None:
        # A single event may not leave views behind, so nothing waits for the next one.
        self._append(offset, argv)
        self._send()

    def apply_batch(self, batch: Batch) -> None:
        try:
            for offset, argv in owned_frames(batch):
                self._append(offset, argv)
                if self._part_bytes >= PIPELINE_BYTES:
                    self._send()
            self._send()
        finally:
            self._clear()

    def load(self, snapshot: Snapshot) -> None:
        load_by_stage(self, snapshot)

    def stage(self) -> RedisStage:
        from kevy_ring.shard.sinks.redis_stage import RedisStage

        return RedisStage(self)

    def flush(self) -> None:
        self._live().settle()

    def close(self) -> None:
        target, self._target = self._target, None
        if target is not None:
            try:
                target.settle()
            finally:
                target.close()

    @property
    def skipped_keys(self) -> list[SkippedKey]:
        """The keys that the snapshot skipped, and that were neither deleted nor rewritten since."""
        return self.skipped.listed()

    def _append(self, offset: int, argv: Sequence[BytesLike]) -> None:
        if not self.skipped:
            self._append_admitted(offset, argv)
            return
        owned = [bytes(item) for item in argv]
        commands, refusal = self.skipped.admit(owned)
        if refusal is not None:
            self.refusals.add(offset, owned[0], refusal)
        for command in commands:
            self._append_admitted(offset, command)

    def _append_admitted(self, offset: int, argv: Sequence[BytesLike]) -> None:
        name = bytes(argv[0])
        if len(argv) <= 2:
            argv = self._follow(name.upper(), argv)
        parts = self._parts
        parts.append(b"*%d\r\n" % len(argv))
        for argument in argv:
            length = len(argument)
            parts.append(_HEADS[length] if length < len(_HEADS) else b"$%d\r\n" % length)
            parts.append(argument)
            parts.append(_CRLF)
            self._part_bytes += length
        self._commands.append((offset, name))

    def _follow(self, name: bytes, argv: Sequence[BytesLike]) -> Sequence[BytesLike]:
        """Keep track of what a command does to the connection; returns what is sent for it."""
        if name == b"MULTI":
            self.in_transaction = True
        elif name in (b"EXEC", b"DISCARD"):
            self.in_transaction = False
        elif name == b"SELECT" and self.only_db is not None and len(argv) == 2:
            if bytes(argv[1]) != b"0":
                detail = f"the upstream uses database {bytes(argv[1])!r}; a URL without a database takes them all"
                raise SinkError(self.url.redacted, reason="refused", detail=detail)
            return [b"SELECT", b"%d" % self.only_db]
        return argv

    def _send(self) -> None:
        if self._commands:
            wire, commands = b"".join(self._parts), self._commands
            self._clear()
            self._live().send(wire, commands)

    def _clear(self) -> None:
        self._parts = []
        self._commands = []
        self._part_bytes = 0

    def _live(self) -> Target:
        if self._target is None:
            raise SinkError(self.url.redacted, reason="io", detail="the sink is closed")
        return self._target
