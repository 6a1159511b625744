"""What a replica says to a kevy primary: requests out of bytes, with limits against a hostile peer."""

from __future__ import annotations

#: A request line: kevy's own control lines are at most this long.
MAX_LINE_BYTES = 256
#: The longest request has six arguments; a few more leave room for an error reply instead of silence.
MAX_ARGUMENTS = 16
MAX_ARGUMENT_BYTES = 256


class RequestParser:
    """Bytes in, requests out: each a list of arguments, from a multi-bulk or from an inline line.

    After bytes that are no request, ``malformed`` says why and nothing more comes out. At most one request of the
    limits above is ever held.
    """

    def __init__(self) -> None:
        self.malformed: str | None = None
        self._held = bytearray()
        self._missing = 0
        self._arguments: list[bytes] = []

    def feed(self, data: bytes) -> list[list[bytes]]:
        """Take some bytes and return the requests that they complete."""
        self._held += data
        requests: list[list[bytes]] = []
        while self.malformed is None and self._step(requests):
            pass
        if self.malformed is not None:
            self._held.clear()
        return requests

    def _step(self, requests: list[list[bytes]]) -> bool:
        """Take one line, or one argument with its length line; False when bytes are missing or wrong."""
        end = self._held.find(b"\n", 0, MAX_LINE_BYTES)
        if end < 0:
            if len(self._held) >= MAX_LINE_BYTES:
                self.malformed = "an endless line"
            return False
        line = bytes(self._held[:end]).rstrip(b"\r")
        if self._missing:
            return self._argument(line, end + 1, requests)
        del self._held[: end + 1]
        if line.startswith(b"*"):
            self._missing = self._number(line, MAX_ARGUMENTS)
        elif line:
            requests.append(line.split())
        return self.malformed is None

    def _argument(self, line: bytes, start: int, requests: list[list[bytes]]) -> bool:
        length = self._number(line, MAX_ARGUMENT_BYTES) if line.startswith(b"$") else -1
        if length < 0:
            self.malformed = "an argument without its length"
            return False
        stop = start + length
        if len(self._held) < stop + 2:
            return False
        if self._held[stop : stop + 2] != b"\r\n":
            self.malformed = "an argument longer than its length"
            return False
        self._arguments.append(bytes(self._held[start:stop]))
        del self._held[: stop + 2]
        self._missing -= 1
        if not self._missing:
            requests.append(self._arguments)
            self._arguments = []
        return True

    def _number(self, line: bytes, limit: int) -> int:
        digits = line[1:]
        if not digits.isdigit() or len(digits) > 9 or int(digits) > limit:
            self.malformed = "a length or count out of range"
            return 0
        return int(digits)
