"""A link to a Redis or Valkey primary as a table: its states, their requests, and the tokens that are allowed."""

from __future__ import annotations

import re
from enum import Enum

from kevy_ring.replica.protocol import ResumePoint
from kevy_ring.replica.protocols.conversation import Transitions
from kevy_ring.replica.protocols.resp import MAX_OFFSET, encode_command

MAX_DB = 2**31 - 1  # the servers keep a database's number in an int
#: The newest version of Valkey whose snapshots are known here. Valkey 9 writes its own RDB only for a replica that says
#: such a version. For any other one it writes RDB 11, which cannot hold a hash whose fields expire: its child process
#: then fails. Other servers answer the option with an error. It is the last one, because they read them in order.
VALKEY_VERSION = b"9.0.0"
_REPLICATION_ID = re.compile(r"[0-9a-fA-F]{40}")


class RedisState(Enum):
    """The states of a link to a Redis or Valkey primary. The handshake waits for one reply at a time."""

    PING = "PING sent"
    AUTH = "AUTH sent"
    PORT = "REPLCONF listening-port sent"
    CAPA = "REPLCONF capa sent"
    PSYNC = "PSYNC sent"
    INFO = "PSYNC refused, INFO sentinel sent"
    RDB_AWAITED = "full sync promised, no RDB yet"
    RDB = "in the RDB"
    RDB_DONE = "RDB received, no command yet"
    STREAM = "in the command stream"
    ENDED = "ended between two commands"
    FAILED = "broken"


class RedisToken(Enum):
    """The units that a primary may send, and the end of the stream."""

    REPLY = "a reply"
    REFUSAL = "an error reply"
    UNKNOWN = "an error reply by a server that knows neither REPLCONF nor PSYNC"
    BULK = "a bulk string"
    FULL_RESYNC = "+FULLRESYNC"
    CONTINUE = "+CONTINUE"
    RDB_HEADER = "the RDB's header"
    AS_SYNC = "the RDB's header as the answer to a renamed PSYNC"
    RDB_END = "the end of the RDB"
    COMMAND = "a command"
    END = "the end of the stream"


_S, _T = RedisState, RedisToken
TRANSITIONS: Transitions[RedisState, RedisToken] = {
    _S.PING: {_T.REPLY: _S.AUTH, _T.REFUSAL: _S.FAILED},
    _S.AUTH: {_T.REPLY: _S.PORT, _T.REFUSAL: _S.FAILED},
    _S.PORT: {_T.REPLY: _S.CAPA, _T.REFUSAL: _S.FAILED},
    _S.CAPA: {_T.REPLY: _S.PSYNC, _T.REFUSAL: _S.FAILED},
    _S.PSYNC: {
        _T.FULL_RESYNC: _S.RDB_AWAITED,
        _T.CONTINUE: _S.STREAM,
        _T.AS_SYNC: _S.RDB,
        _T.UNKNOWN: _S.INFO,
        _T.REFUSAL: _S.FAILED,
    },
    _S.INFO: {_T.BULK: _S.FAILED, _T.REFUSAL: _S.FAILED},
    _S.RDB_AWAITED: {_T.RDB_HEADER: _S.RDB, _T.REFUSAL: _S.FAILED},
    _S.RDB: {_T.RDB_END: _S.RDB_DONE},
    _S.RDB_DONE: {_T.COMMAND: _S.STREAM, _T.END: _S.ENDED},
    _S.STREAM: {_T.COMMAND: _S.STREAM, _T.END: _S.ENDED},
    _S.ENDED: {},
    _S.FAILED: {},
}
SYNCING = (_S.RDB_AWAITED, _S.RDB)
LIVE = (_S.RDB_DONE, _S.STREAM)
# Keep-alives while the primary forks or ends its RDB. In the stream a newline would count as a byte of it.
NEWLINES_ALLOWED = (_S.PING, _S.AUTH, _S.PORT, _S.CAPA, _S.PSYNC, _S.RDB_AWAITED, _S.RDB_DONE)
# These errors do not refuse replication: an ACL may forbid PING to a replica, and old servers do not know capa. But
# without permission for REPLCONF there are no acknowledgements, and the primary ends the link sooner or later.
_TOLERATED_ERRORS: dict[RedisState, tuple[bytes, ...]] = {
    _S.PING: (b"-NOPERM", b"-ERR operation not permitted"),
    _S.PORT: (b"-ERR",),
    _S.CAPA: (b"-ERR",),
}


def is_tolerated(state: RedisState, error: bytes, *, logs_in: bool) -> bool:
    """Whether the handshake continues after an error reply. ``logs_in``: a login follows the PING."""
    tolerated = _TOLERATED_ERRORS.get(state, ())
    if state is _S.PING and logs_in:
        tolerated += (b"-NOAUTH",)
    return error.startswith(tolerated)


def is_history(text: str) -> bool:
    """Whether ``text`` can be a replication id."""
    return bool(_REPLICATION_ID.fullmatch(text))


def is_psync_point(point: ResumePoint) -> bool:
    """Whether ``point`` can come from a PSYNC link."""
    return is_history(point.upstream_id) and 0 <= point.offset < MAX_OFFSET and 0 <= point.db <= MAX_DB


def requests(
    psync: bytes, resume: ResumePoint | None, port: int, username: str | None, password: str | None
) -> dict[RedisState, bytes]:
    """The request whose reply each state waits for. The handshake skips a state without one."""
    history, offset = b"?", b"-1"
    if resume is not None:
        history, offset = resume.upstream_id.encode(), b"%d" % (resume.offset + 1)
    found = {
        _S.PING: encode_command(b"PING"),
        _S.PORT: encode_command(b"REPLCONF", b"listening-port", b"%d" % port),
        _S.CAPA: encode_command(b"REPLCONF", b"capa", b"eof", b"capa", b"psync2", b"version", VALKEY_VERSION),
        _S.PSYNC: encode_command(psync, history, offset),
    }
    if password is not None:
        user = [username.encode()] if username is not None else []
        found[_S.AUTH] = encode_command(b"AUTH", *user, password.encode())
    return found
