"""Parses a replica's requests to a kevy primary, with limits against a hostile peer."""

from __future__ import annotations

from kevy_ring.errors import RemoteProtocolError
from kevy_ring.replica.protocols.resp import Intake

#: kevy's own bound on a control line.
MAX_LINE_BYTES = 256
#: The longest valid request has six arguments. A slightly longer one is still parsed, for an error reply.
MAX_ARGUMENTS = 16
MAX_ARGUMENT_BYTES = 256


class RequestParser:
    """Bytes in, requests out. Each is a list of arguments, from a multi-bulk or an inline line.

    After invalid bytes, ``malformed`` is the reason, and no more requests come out. At most one request within the
    limits above is held.
    """

    def __init__(self) -> None:
        self.malformed: str | None = None
        self._intake = Intake()
        self._missing = 0
        self._arguments: list[bytes] = []

    def feed(self, data: bytes) -> list[list[bytes]]:
        """Take some bytes and return the requests that they complete."""
        requests: list[list[bytes]] = []
        if self.malformed is not None or not self._intake.feed(data):
            return requests
        try:
            while (request := self._take()) is not None:
                if request:
                    requests.append(request)
            self._intake.settle()
        except RemoteProtocolError as error:
            self.malformed = error.detail
            self._intake.drop()
        return requests

    def _take(self) -> list[bytes] | None:
        """The next request, empty for a blank line; None while it is incomplete."""
        intake = self._intake
        if not self._missing:
            mark = intake.peek()
            if mark is None:
                return None
            if mark != ord("*"):
                line = intake.take_inline(MAX_LINE_BYTES)
                return None if line is None else line.split()
            count = intake.take_number(b"*", 0, MAX_ARGUMENTS)
            if count is None:
                return None
            self._missing, self._arguments = count, []
        while self._missing:
            argument = intake.take_bulk(0, MAX_ARGUMENT_BYTES)
            if argument is None:
                return None
            self._arguments.append(argument)
            self._missing -= 1
        return self._arguments
