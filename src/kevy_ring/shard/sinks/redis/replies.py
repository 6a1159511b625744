"""Replies as they arrive: how many there were, and which were errors; nothing else of them is kept."""

from __future__ import annotations

from kevy_ring.errors import RemoteProtocolError
from kevy_ring.replica.protocols.resp import printable


class ReplyScanner:
    """Counts whole RESP2 replies. ``complete``: how many so far."""

    def __init__(self) -> None:
        self.complete = 0
        self._held = b""
        #: Bytes of a bulk string still to come, and elements still to come of each open array.
        self._skip = 0
        self._open: list[int] = []

    def feed(self, piece: bytes) -> list[tuple[int, str]]:
        """Take some bytes; return (number of the reply, text) of each error in them.

        An error inside an array (of an EXEC) has the number of the whole. Raises RemoteProtocolError for what is no
        reply.
        """
        held = self._held + piece if self._held else piece
        # Nearly all replies to writes are lines of their own, and then counting the lines is all.
        if not self._skip and not self._open and b"$" not in held and b"*" not in held:
            return self._lines_only(held)
        errors: list[tuple[int, str]] = []
        at = self._scan(held, errors)
        self._held = held[at:]
        return errors

    def _lines_only(self, held: bytes) -> list[tuple[int, str]]:
        end = held.rfind(b"\r\n")
        if end < 0:
            self._held = held
            return []
        self._held = held[end + 2 :]
        lines = held[:end].split(b"\r\n")
        errors = []
        if not all(line.startswith((b"+", b":")) for line in lines):
            for at, line in enumerate(lines):
                if line[:1] == b"-":
                    errors.append((self.complete + at, line[1:].decode("utf-8", "replace")))
                elif line[:1] not in (b"+", b":"):
                    raise RemoteProtocolError(f"not a reply: {printable(line)}")
        self.complete += len(lines)
        return errors

    def _scan(self, held: bytes, errors: list[tuple[int, str]]) -> int:
        at = 0
        while True:
            if self._skip:
                taken = min(self._skip, len(held) - at)
                at += taken
                self._skip -= taken
                if self._skip:
                    return at
                self._done()
            end = held.find(b"\r\n", at)
            if end < 0:
                return at
            kind, line = held[at : at + 1], held[at + 1 : end]
            at = end + 2
            if kind == b"-":
                errors.append((self.complete, line.decode("utf-8", "replace")))
            elif kind in (b"$", b"*"):
                count = _count(line)
                if count > 0 or (count == 0 and kind == b"$"):
                    if kind == b"$":
                        self._skip = count + 2
                    else:
                        self._open.append(count)
                    continue
            elif kind not in (b"+", b":"):
                raise RemoteProtocolError(f"not a reply: {printable(held[at:])}")
            self._done()

    def _done(self) -> None:
        while self._open:
            self._open[-1] -= 1
            if self._open[-1]:
                return
            self._open.pop()
        self.complete += 1


def _count(line: bytes) -> int:
    try:
        count = int(line)
    except ValueError:
        count = -2
    if count < -1:
        raise RemoteProtocolError(f"not a length: {printable(line)}")
    return count
