"""PSYNC, the replication of Redis and Valkey: handshake, RDB, and a command stream counted in bytes.

Source: https://redis.io/docs/latest/operate/oss_and_stack/management/replication/ and the servers' own replication.c.
"""

from __future__ import annotations

from kevy_ring.errors import RemoteProtocolError, UpstreamRefused
from kevy_ring.events import Frame, ReplicaApply, SnapshotBegin, SnapshotChunk, SnapshotEnd
from kevy_ring.replica.protocol import ResumePoint
from kevy_ring.replica.protocols import redis_states as table
from kevy_ring.replica.protocols.conversation import Conversation
from kevy_ring.replica.protocols.rdb_position import rdb_position
from kevy_ring.replica.protocols.rdb_transfer import RdbTransfer, take_rdb_header
from kevy_ring.replica.protocols.resp import MAX_OFFSET, encode_command, parse_decimal, printable
from kevy_ring.replica.refusal import (
    checked_command,
    refusal_as_sync,
    refusal_of_reply,
    refusal_of_scheme,
    refusal_of_sentinel,
)

MAX_INFO_BYTES = 1 << 20  # of the reply to INFO sentinel: some hundred bytes for each watched primary
_TLS_ALERT = 0x15  # the first byte of the record that a TLS server sends to refuse input

_S, _T = table.RedisState, table.RedisToken
_REPLY_TOKENS = {b"+FULLRESYNC": _T.FULL_RESYNC, b"+CONTINUE": _T.CONTINUE}
_LINK_COMMANDS = frozenset((b"PING", b"REPLCONF", b"SELECT"))  # they concern the link, not the keyspace
_LONGEST_LINK_COMMAND = max(map(len, _LINK_COMMANDS))


class RedisProtocol(Conversation[table.RedisState, table.RedisToken]):
    """A replica's side of one PSYNC link; see ReplicationProtocol.

    ``listening_port``: the port that the primary shows for this replica (0: none). ``username``, ``password``: for
    AUTH after PING; omit the password on a link that is authenticated already. ``psync_command``: the server's name of
    PSYNC. Raises ValueError for a ``resume`` that cannot come from a PSYNC link, and for an invalid command name.

    Redis and Valkey answer a renamed PSYNC as SYNC: they send an RDB at once. Then the history and offset are read from
    the RDB, and every link begins with a full sync.
    """

    def __init__(
        self,
        *,
        listening_port: int = 0,
        resume: ResumePoint | None = None,
        username: str | None = None,
        password: str | None = None,
        psync_command: str = "PSYNC",
    ) -> None:
        super().__init__(name="redis", start=_S.PING, failed=_S.FAILED, end=_T.END, transitions=table.TRANSITIONS)
        if resume is not None and not table.is_psync_point(resume):
            raise ValueError(f"{resume} cannot come from a PSYNC link")
        self.replication_id = resume.upstream_id if resume else ""
        self.db = resume.db if resume else 0
        self.received_offset = resume.offset if resume else None
        self._before_stream = 0  # offset of the stream minus position on this link
        self._sync_offset = 0  # of the RDB
        self._getack_offset: int | None = None
        self._rdb: RdbTransfer | None = None
        self._user = username or ""
        self._psync = checked_command(psync_command)
        self._unplaced: list[ReplicaApply] | None = None  # events of an RDB whose position is not known yet
        self._knows_replconf = True
        self._refused: UpstreamRefused | None = None  # raised after INFO sentinel is answered
        self._requests = table.requests(self._psync, resume, listening_port, username, password)
        self._outgoing.append(self._requests[_S.PING])

    @property
    def resume_point(self) -> ResumePoint | None:
        if self.received_offset is None or self.received_offset >= MAX_OFFSET:
            return None
        return ResumePoint(self.replication_id, self.received_offset, self.db)

    @property
    def upstream_id(self) -> str:
        return self.replication_id

    @property
    def upstream_offset(self) -> int | None:
        """See ReplicationProtocol. It is the offset of all received bytes, parsed or not."""
        if self.state in table.SYNCING:
            return self._sync_offset
        return self._before_stream + self._intake.received if self.state in table.LIVE else self.received_offset

    @property
    def next_offset(self) -> int:
        return self._before_stream + self._intake.position

    def acknowledge(self, applied_offset: int | None) -> bytes:
        """See ReplicationProtocol. A shard that has applied the last event also acknowledges the PINGs after it."""
        getack_offset, self._getack_offset = self._getack_offset, None
        self.getack_pending = False
        if self.state not in table.SYNCING + table.LIVE:
            return b""
        acknowledged = 0
        if applied_offset is not None and self.received_offset is not None:
            all_applied = self.last_event_offset is not None and applied_offset >= self.last_event_offset
            acknowledged = self.received_offset if all_applied else min(applied_offset, self.received_offset)
            if getack_offset is not None:
                acknowledged = min(acknowledged, getack_offset)
        return encode_command(b"REPLCONF", b"ACK", b"%d" % acknowledged)

    def frames_scanned(self, consumed_bytes: int, frames: int, last_offset: int) -> None:
        if not self.frame_run_ready or frames < 1 or last_offset != self.next_offset + consumed_bytes:
            raise ValueError(f"{frames} frames up to {last_offset} cannot follow {self.next_offset} now")
        self._intake.skip(consumed_bytes)
        self.received_offset = self.last_event_offset = last_offset

    @property
    def _between_frames(self) -> bool:
        return self.state is _S.STREAM

    def _step(self, events: list[ReplicaApply], *, one: bool) -> bool:
        if self.state is _S.RDB:
            return self._take_rdb(events)
        if self._intake.command_open:
            return self._take_commands(events, one)
        if self.state in table.NEWLINES_ALLOWED:
            newlines = self._intake.skip_newlines()
            self._before_stream -= newlines
            # A primary that will begin a full sync later sends one a second instead of a reply to PSYNC.
            self.is_preparing = self.is_preparing or (newlines > 0 and self.state is _S.PSYNC)
        mark = self._intake.peek()
        if mark is None:
            return False
        if mark == ord("*"):
            self._move(_T.COMMAND)
            return self._take_commands(events, one)
        if mark == ord("$"):
            return self._take_info() if self.state is _S.INFO else self._take_rdb_header(events)
        if mark in b"+-":
            return self._take_reply()
        if mark == _TLS_ALERT and not self._intake.position:
            raise UpstreamRefused("it answers with a TLS alert", refusal_of_scheme("redis"))
        raise self._intake.violation(f"byte {mark:#04x} in state {self.state.name}")

    def _take_reply(self) -> bool:
        line = self._intake.take_line()
        if line is None:
            return False
        name, *fields = line.split(b" ")
        token = _REPLY_TOKENS.get(name, _T.REFUSAL if name.startswith(b"-") else _T.REPLY)
        self._allow(token, f"{printable(line)!r}")
        if token is _T.REFUSAL:
            self._take_error(line)
        elif token is _T.REPLY:
            self._send_next_request()
        else:
            self._take_sync_agreement(token, line, fields)
        return True

    def _take_error(self, line: bytes) -> None:
        reply = line[1:].decode("utf-8", "backslashreplace")
        is_unknown = "unknown command" in reply.lower()
        if table.is_tolerated(self.state, line, logs_in=_S.AUTH in self._requests):
            self._knows_replconf = self._knows_replconf and not is_unknown
            self._send_next_request()
            return
        command = self._psync.decode() if self.state is _S.PSYNC else self.state.name
        refused = self._refused or UpstreamRefused(reply, refusal_of_reply(reply, user=self._user, command=command))
        if self.state is not _S.PSYNC or self._knows_replconf or not is_unknown:
            raise refused
        # No primary lacks both commands, but a Sentinel does. Its INFO names the primary that it watches.
        self._refused = refused
        self._move(_T.UNKNOWN)
        self._outgoing.append(encode_command(b"INFO", b"sentinel"))

    def _take_info(self) -> bool:
        assert self._refused is not None
        info = self._intake.take_bulk(0, MAX_INFO_BYTES)
        if info is None:
            return False
        self._move(_T.BULK)
        raise UpstreamRefused(self._refused.reply, refusal_of_sentinel(info) or self._refused.refusal)

    def _send_next_request(self) -> None:
        self._move(_T.REPLY)
        if self.state not in self._requests:
            self._move(_T.REPLY)
        self._outgoing.append(self._requests[self.state])

    def _take_sync_agreement(self, token: table.RedisToken, line: bytes, fields: list[bytes]) -> None:
        history = fields[0].decode("ascii", "replace") if fields else ""
        known = table.is_history(history)
        offset = parse_decimal(fields[1], 0, MAX_OFFSET) if len(fields) == 2 else None
        if token is _T.FULL_RESYNC and known and offset is not None:
            self._promised_snapshot()
            self.replication_id = history
            self._sync_offset = offset
        elif token is _T.CONTINUE and self.received_offset is not None and (not fields or (known and len(fields) == 1)):
            self.synced = "partial"
            self.replication_id = history or self.replication_id
            self._before_stream = self.received_offset - self._intake.position
        else:
            raise self._intake.violation(f"{printable(line)!r} does not answer the request")
        self._move(token)
        self.established = True

    def _promised_snapshot(self) -> None:
        self.synced = "full"
        self.received_offset = None
        self.snapshot_pending = True

    def _take_rdb_header(self, events: list[ReplicaApply]) -> bool:
        as_sync = self.state is _S.PSYNC and self._psync.upper() != b"PSYNC"
        token = _T.AS_SYNC if as_sync else _T.RDB_HEADER
        self._allow(token)
        rdb = take_rdb_header(self._intake)
        if rdb is None:
            return False
        self._move(token)
        if as_sync:
            self._promised_snapshot()
            self.established = True
            events = self._unplaced = []
        self._rdb = rdb
        self.snapshot_total = rdb.length
        self.in_snapshot = True
        self.snapshot_bytes = 0
        events.append(SnapshotBegin())
        return True

    def _take_rdb(self, events: list[ReplicaApply]) -> bool:
        intake, rdb = self._intake, self._rdb
        assert rdb is not None
        intake.at = rdb.feed(intake.piece, intake.at, events if self._unplaced is None else self._unplaced)
        if self._unplaced is not None:
            self._place(events)
        self.snapshot_bytes = rdb.passed_bytes
        if not rdb.finished:
            return False
        self._move(_T.RDB_END)
        self._rdb = None
        self.in_snapshot = self.snapshot_pending = False
        self.db = 0
        self._before_stream = self._sync_offset - intake.position
        self.received_offset = self.last_event_offset = self._sync_offset
        events.append(SnapshotEnd(self._sync_offset))
        return True

    def _place(self, events: list[ReplicaApply]) -> None:
        """Read the position of an RDB after SYNC from its first chunk, and release the events that waited for it."""
        unplaced = self._unplaced
        if unplaced is None or len(unplaced) < 2:  # SnapshotBegin, and the first chunk
            return
        chunk = unplaced[1]
        found = rdb_position(bytes(chunk.data)) if isinstance(chunk, SnapshotChunk) else None
        if found is None or not table.is_history(found[0]):
            command = self._psync.decode()
            raise UpstreamRefused(f"{command} was answered as SYNC", refusal_as_sync(command))
        self.replication_id, self._sync_offset = found
        self._unplaced = None
        events += unplaced

    def _take_commands(self, events: list[ReplicaApply], one: bool) -> bool:
        """Take commands until the bytes or the run end; ``one``: at most one. False when more bytes are needed."""
        intake = self._intake
        take_command = intake.take_command
        before_stream = self._before_stream
        while True:
            argv = take_command()
            if argv is None:
                return False
            offset = before_stream + intake.position
            if offset > MAX_OFFSET:
                raise RemoteProtocolError(f"an offset beyond {MAX_OFFSET}", at=self._command_position)
            name = argv[0]
            if len(name) > _LONGEST_LINK_COMMAND or name.upper() not in _LINK_COMMANDS or self._passes_on(argv):
                events.append(Frame(offset, argv))
                self.last_event_offset = offset
            self.received_offset = offset
            if one:
                return True
            if intake.peek() != ord("*"):
                return True

    def _passes_on(self, argv: list[bytes]) -> bool:
        """Apply a command that concerns the link. Returns whether it also goes to the shard."""
        name, arguments = argv[0].upper(), argv[1:]
        if name == b"SELECT":
            db = parse_decimal(arguments[0], 0, table.MAX_DB) if len(arguments) == 1 else None
            if db is None:
                raise RemoteProtocolError("a SELECT without the number of a database", at=self._command_position)
            self.db = db
            return True
        if name == b"REPLCONF" and arguments and arguments[0].upper() == b"GETACK":
            self._getack_offset = self.received_offset
            self.getack_pending = True
        return False

    @property
    def _command_position(self) -> int:
        """The position on this link where the present command begins: the end of the last received one."""
        return (self.received_offset or 0) - self._before_stream
