"""A connection to a Redis target: sends pipelines of RESP, and counts and checks the replies."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, cast

from hiredis import ProtocolError, Reader
from redis import exceptions

from kevy_ring.errors import EventRefused, SinkError
from kevy_ring.replica.protocols.resp import encode_command
from kevy_ring.shard.sinks.redis.command_pipeline import CommandPipeline
from kevy_ring.shard.sinks.redis.sent_history import SentHistory, errors_in
from kevy_ring.shard.sinks.refusals import Refusals

if TYPE_CHECKING:
    from kevy_ring.replica.upstream_url import UpstreamUrl

_RECEIVE_BYTES = 256 * 1024
#: Bytes of one ``sendall``, because the time limit of the connection is for one call.
_SEND_BYTES = 1024 * 1024
#: The reader returns this while the next reply is not whole. None and False are replies.
_NOT_YET = object()
#: Types of replies that are not errors and contain none.
_PLAIN = frozenset((bytes, int, type(None)))

#: Errors about the state of the server, not about the command: the server did not take it.
_NOT_TAKEN = frozenset(
    (
        *("ASK", "BUSY", "CLUSTERDOWN", "LOADING", "MASTERDOWN", "MISCONF", "MOVED"),
        *("NOAUTH", "NOPERM", "NOREPLICAS", "OOM", "READONLY"),
    )
)


class Target:
    """One connection. At most one pipeline waits for replies, while the caller fills the next one.

    Every method raises SinkError if the server cannot be reached, does not answer in time, or does not take a command.
    The connection cannot be used after that.
    """

    def __init__(
        self, url: UpstreamUrl, refusals: Refusals, *, timeout_s: float, is_one_database: bool = False
    ) -> None:
        self._name = url.redacted
        self._url = url
        self._refusals = refusals
        self._connection = cast(Any, url.redis_connection(timeout_s))
        self._sent = CommandPipeline()
        self.history = SentHistory(is_one_database=is_one_database)
        self._broken: SinkError | EventRefused | None = None
        try:
            self._connection.connect()
        except (exceptions.AuthenticationError, exceptions.AuthorizationError, exceptions.ResponseError) as error:
            raise self._refused(str(error)) from None
        except (exceptions.RedisError, OSError) as error:
            raise self._lost(error) from None
        self._socket: socket.socket = self._connection._sock

    def ask(self, *command: bytes) -> Any:
        """Send one command and return its reply. An error reply raises SinkError (``"refused"``)."""
        return self.ask_all(list(command))[0]

    def ask_all(self, *commands: list[bytes]) -> list[Any]:
        """Send some commands at once and return their replies. The first error among them raises SinkError."""
        self.settle()
        replies: list[Any] = []
        refused: SinkError | None = None
        try:
            self._connection.send_packed_command([encode_command(*command) for command in commands], check_health=False)
            for _ in commands:
                try:
                    replies.append(self._connection.read_response(disable_decoding=True))
                except exceptions.ResponseError as error:
                    refused = refused or self._refused(str(error))
        except (exceptions.RedisError, OSError) as error:
            raise self._lost(error) from None
        if refused is not None:
            raise refused
        return replies

    def send(self, pipeline: CommandPipeline, *, db: int = 0, is_open: bool = False) -> None:
        """Wait for the replies to the pipeline before, and send this one. The target owns it from now on.

        ``db``: the database that is selected before it, for the refusals. ``is_open``: it ends inside a transaction.
        """
        self.settle()
        self.history.begin(pipeline, db, is_open=is_open)
        wire = memoryview(pipeline.wire)
        try:
            for start in range(0, len(wire), _SEND_BYTES):
                self._socket.sendall(wire[start : start + _SEND_BYTES])
        except OSError as error:
            raise self._lost(error) from None
        self._sent = pipeline

    def settle(self) -> list[str]:
        """Wait for all replies. Counts refused commands, and returns their error texts."""
        if self._broken is not None:
            raise self._broken
        sent, self._sent = self._sent, CommandPipeline()
        reader = Reader(notEnoughData=_NOT_YET)
        refused: list[str] = []
        answered = 0
        while answered < len(sent):
            try:
                piece = self._socket.recv(_RECEIVE_BYTES)
                reader.feed(piece)
                replies = list(iter(reader.gets, _NOT_YET))
            except (OSError, ProtocolError) as error:
                raise self._lost(error) from None
            if not piece:
                raise self._lost(ConnectionResetError("the server closed the connection"))
            if not _PLAIN.issuperset(map(type, replies)):
                refused += self._note_errors(sent, answered, replies)
            answered += len(replies)
        return refused

    def _note_errors(self, sent: CommandPipeline, first: int, replies: list[Any]) -> Iterator[str]:
        """Count the errors among some replies. ``first``: the number of the first reply."""
        for number, reply in enumerate(replies, first):
            errors = list(errors_in(reply))
            if not errors:
                continue
            offset, argv = sent.command(number)
            for text in errors:
                if text.partition(" ")[0] in _NOT_TAKEN or _is_misplaced(argv[0], text):
                    self._broken = self._refused(text)
                    raise self._broken
            self._note(number, offset, argv, reply, errors)
            yield from errors

    def _note(self, number: int, offset: int | None, argv: list[bytes], reply: Any, errors: list[str]) -> None:
        try:
            if argv[0].upper() == b"EXEC" and (lost := self.history.lost_in(number, reply, errors[0])) is not None:
                self._refusals.refuse(offset, 0, argv, lost)
                return
            db = self.history.refused(number)
            for text in errors:
                self._refusals.refuse(offset, db, argv, text)
        except EventRefused as stop:
            self._broken = stop
            raise

    def close(self) -> None:
        """Drop the connection; a second call does nothing."""
        self._connection.disconnect()
        # Without this, redis-py would connect again by itself, to another database and without the transaction.
        self._broken = self._broken or SinkError(self._name, reason="io", detail="this connection was closed")

    def _refused(self, text: str) -> SinkError:
        return SinkError(self._name, reason="refused", detail=self._url.scrub(text))

    def _lost(self, error: Exception) -> SinkError:
        late = isinstance(error, TimeoutError | exceptions.TimeoutError)
        number = error.errno if isinstance(error, OSError) else 0
        # Keep the error: without their replies it is unknown whether the server took the last commands.
        lost = SinkError(
            self._name, reason="timeout" if late else "io", detail=self._url.scrub(str(error)), errno=number or 0
        )
        self._broken = lost
        return lost


def _is_misplaced(name: bytes, text: str) -> bool:
    """Whether an error means that later commands go to a wrong database. It may be inside the reply to an EXEC."""
    return name.upper() == b"SELECT" or "DB index is out of range" in text
