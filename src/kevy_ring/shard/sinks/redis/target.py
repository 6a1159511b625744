"""A Redis server that is written to: pipelines of raw RESP out, replies counted and checked."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, cast

from hiredis import ProtocolError, Reader, ReplyError
from redis import exceptions

from kevy_ring.errors import SinkError
from kevy_ring.replica.protocols.resp import encode_command
from kevy_ring.shard.sinks.redis.command_pipeline import CommandPipeline
from kevy_ring.shard.sinks.refusals import Refusals

if TYPE_CHECKING:
    from kevy_ring.replica.upstream_url import UpstreamUrl

_RECEIVE_BYTES = 256 * 1024
#: The time limit of a connection is for one call of ``sendall``, however many bytes that has.
_SEND_BYTES = 1024 * 1024
#: What the reader answers while the next reply is not whole. None and False are replies.
_NOT_YET = object()
#: Types of replies that are no error and hold none.
_PLAIN = frozenset((bytes, int, type(None)))

#: Errors that are about the server's state and not about the command: it did not take what it should have.
_NOT_TAKEN = frozenset(
    (
        *("ASK", "BUSY", "CLUSTERDOWN", "LOADING", "MASTERDOWN", "MISCONF", "MOVED"),
        *("NOAUTH", "NOPERM", "NOREPLICAS", "OOM", "READONLY"),
    )
)


class Target:
    """One connection. At most one pipeline is on its way; the next one is made meanwhile.

    Every method raises SinkError once the server cannot be reached, does not answer in time, or does not take what it
    is sent; the connection is of no use then.
    """

    def __init__(self, url: UpstreamUrl, refusals: Refusals, *, timeout_s: float) -> None:
        self._name = url.redacted
        self._url = url
        self._refusals = refusals
        self._connection = cast(Any, url.redis_connection(timeout_s))
        self._sent = CommandPipeline()
        self._broken: SinkError | None = None
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

    def send(self, pipeline: CommandPipeline) -> None:
        """Send a pipeline, after the replies to the one before. It belongs to the target from now on."""
        self.settle()
        wire = memoryview(pipeline.wire)
        try:
            for start in range(0, len(wire), _SEND_BYTES):
                self._socket.sendall(wire[start : start + _SEND_BYTES])
        except OSError as error:
            raise self._lost(error) from None
        self._sent = pipeline

    def settle(self) -> list[str]:
        """Wait for every reply that is due. Refused commands are counted; returns what they were answered."""
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
        """Count the errors among some replies, of which ``first`` is the number of the first one."""
        for number, reply in enumerate(replies, first):
            for text in _errors_in(reply):
                offset, name = sent.command(number)
                if text.partition(" ")[0] in _NOT_TAKEN or _is_misplaced(name, text):
                    self._broken = self._refused(text)
                    raise self._broken
                self._refusals.add(offset, name, text)
                yield text

    def close(self) -> None:
        """Drop the connection; a second call does nothing."""
        self._connection.disconnect()
        # redis-py would connect anew by itself, to another database and with no transaction.
        self._broken = self._broken or SinkError(self._name, reason="io", detail="this connection was closed")

    def _refused(self, text: str) -> SinkError:
        return SinkError(self._name, reason="refused", detail=self._url.scrub(text))

    def _lost(self, error: Exception) -> SinkError:
        late = isinstance(error, TimeoutError | exceptions.TimeoutError)
        number = error.errno if isinstance(error, OSError) else 0
        # Kept: replies that will never come are no proof that their commands were taken, however often one asks.
        self._broken = SinkError(
            self._name, reason="timeout" if late else "io", detail=self._url.scrub(str(error)), errno=number or 0
        )
        return self._broken


def _errors_in(reply: Any) -> Iterator[str]:
    """The errors that a reply is or holds: those of a transaction are inside the reply to its EXEC."""
    if isinstance(reply, ReplyError):
        yield str(reply)
    elif isinstance(reply, list):
        for each in reply:
            yield from _errors_in(each)


def _is_misplaced(name: bytes, text: str) -> bool:
    """Whether what follows an error would go into another database than it should. It may be one inside an EXEC."""
    return name.upper() == b"SELECT" or "DB index is out of range" in text
