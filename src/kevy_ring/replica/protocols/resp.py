"""RESP: the only writer and the only reader in Python, with named limits and strict numbers.

The writer is ``append_command``, ``encode_command`` and ``encode_bulk``. The reader is ``Intake``: bytes go in with
``feed``, in any pieces, and come out as lines, bulk strings and commands. None means that more bytes are needed. Input
that can never become valid raises RemoteProtocolError, before more is held than the limits allow.
The wire format is the one of https://redis.io/docs/latest/develop/reference/protocol-spec/.
"""

from __future__ import annotations

from collections.abc import Sequence

from kevy_ring.errors import RemoteProtocolError
from kevy_ring.events import BytesLike

MAX_BULK_BYTES = 512 << 20  # Redis' proto-max-bulk-len: a client of the upstream cannot write a larger one
MAX_ARGUMENTS = 1 << 20  # Redis' own bound on a multi-bulk header
MAX_COMMAND_BYTES = 1 << 30  # Redis' client-query-buffer-limit; it also fits a record's end positions (u32)
MAX_LINE_BYTES = 64 << 10  # Redis' bound on an inline line; only error lines come near it
MAX_NUMBER_LINE_BYTES = 32  # a marker and the 20 digits of a u64, with room for a readable error
MAX_OFFSET = 2**63 - 1  # both upstreams keep offsets in an i64
MAX_GENERATION = 2**64 - 1  # kevy: any u64

CRLF = b"\r\n"
NEWLINE = b"\n"
_SHOWN_BYTES = 64  # of an invalid line in an error's text

# Nearly every line of a count or a length is one of these. One lookup replaces the formatting.
_COUNT_LINES = [b"*%d\r\n" % n for n in range(32)]
_BULK_LINES = [b"$%d\r\n" % n for n in range(512)]
# The same for reading: one lookup replaces the checks and the conversion.
_SMALL_BULK = {b"$%d" % n: n for n in range(256)}
_SMALL_COUNT = {b"*%d" % n: n for n in range(1, 32)}
_LONGEST_SMALL = len(b"$255\r\n")


def append_command(parts: list[bytes], arguments: Sequence[bytes]) -> None:
    """Append a command's wire form to ``parts``, which the caller joins: one part, and three for each argument.

    The arguments are not copied. So a pipeline of commands is copied only once, by its ``b"".join(parts)``.
    """
    count = len(arguments)
    parts.append(_COUNT_LINES[count] if count < len(_COUNT_LINES) else b"*%d\r\n" % count)
    for argument in arguments:
        length = len(argument)
        parts += (_BULK_LINES[length] if length < len(_BULK_LINES) else b"$%d\r\n" % length, argument, CRLF)


def encode_command(*arguments: bytes) -> bytes:
    """A command as RESP clients send it: a multi-bulk of its arguments."""
    parts: list[bytes] = []
    append_command(parts, arguments)
    return b"".join(parts)


def encode_bulk(body: bytes) -> bytes:
    """One bulk string."""
    return b"$%d\r\n%b\r\n" % (len(body), body)


def parse_decimal(digits: bytes, low: int, high: int) -> int | None:
    """``digits`` as an integer in ``low..high``; None for anything else.

    Only the canonical form is valid: no sign, no blank, no leading zero. With a second spelling of a length, two
    parsers could disagree about where a frame ends.
    """
    if not digits.isdigit() or len(digits) > 20 or (digits[0] == 0x30 and len(digits) > 1):
        return None
    number = int(digits)
    return number if low <= number <= high else None


def bulk_ahead(data: BytesLike, low: int, high: int) -> tuple[int, int] | None:
    """The sizes of head and body of the bulk string at the start of ``data``, which is not taken.

    (0, 0) while its first line is incomplete; None if it is no bulk string of ``low..high`` bytes.
    """
    line_bytes = len(b"$%d\r\n" % high)
    start = bytes(data[:line_bytes])
    line, found, _ = start.partition(CRLF)
    if not start.startswith(b"$"):
        return None
    if not found:
        return (0, 0) if len(start) < line_bytes else None
    length = parse_decimal(line[1:], low, high)
    return (len(line) + 2, length) if length is not None else None


def printable(line: bytes) -> str:
    """``line`` for an error's text: cut, with escapes for bytes that are not UTF-8."""
    return line[:_SHOWN_BYTES].decode("utf-8", "backslashreplace") + ("..." if len(line) > _SHOWN_BYTES else "")


class Intake:
    """The received bytes that are not parsed yet, and an incomplete command.

    ``piece`` and ``at`` are for the owner's hot loop: the present bytes and the index of the next one. After each
    ``feed`` that returned True, the owner takes what is complete, then calls ``settle``.
    """

    __slots__ = ("_argv", "_base", "_held", "_left", "_mark", "_room", "_want", "_want_line", "at", "piece")

    def __init__(self) -> None:
        self.piece = b""
        self.at = 0
        self._base = 0  # position in the stream of piece[0]
        self._mark = 0  # index of the last token taken, for errors
        self._held = bytearray()  # grows in place, so that a stream in tiny pieces costs no more than its bytes
        self._want = 0  # bytes that must be held before more can be parsed...
        self._want_line = False  # ...or, if true, a newline, whichever comes first
        self._argv: list[bytes] = []
        self._left = 0  # arguments that are missing from _argv
        self._room = 0  # bytes that these may have together

    @property
    def position(self) -> int:
        """Bytes of the stream consumed so far."""
        return self._base + self.at

    @property
    def received(self) -> int:
        """Bytes of the stream received so far, parsed or not."""
        return self._base + len(self.piece) + len(self._held)

    @property
    def pending(self) -> bool:
        """True when a unit has begun and is incomplete."""
        return self.at < len(self.piece) or bool(self._held) or self._left > 0

    @property
    def command_open(self) -> bool:
        """True when a command's count was taken, but not all of its arguments."""
        return self._left > 0

    def feed(self, data: bytes) -> bool:
        """Add received bytes. True when there may be enough to parse more."""
        held = self._held
        if not held:
            self.piece = data
            return bool(data)
        held += data
        if len(held) < self._want and not (self._want_line and NEWLINE in data):
            return False
        self.piece = bytes(held)
        held.clear()
        return True

    def settle(self) -> None:
        """Keep the bytes that could not be parsed yet."""
        if self.at < len(self.piece):
            self._held += memoryview(self.piece)[self.at :]
        self._base += self.at
        self.piece = b""
        self.at = 0

    def skip(self, count: int) -> None:
        """Count bytes that were consumed without this object."""
        self._base += count

    def give_back(self) -> int:
        """Forget the bytes that are not parsed, and return how many they are. Only between two units."""
        rest = len(self.piece) - self.at
        self.piece = self.piece[: self.at]
        return rest

    def drop(self) -> None:
        """Free all bytes, after a violation."""
        self._base = self.received
        self.piece = b""
        self.at = 0
        self._held = bytearray()
        self._argv = []

    def violation(self, detail: str) -> RemoteProtocolError:
        """The error for the last token."""
        return RemoteProtocolError(detail, at=self._base + self._mark)

    def peek(self) -> int | None:
        """The next byte, not taken; None when there is none."""
        self._mark = self.at
        return self.piece[self.at] if self.at < len(self.piece) else None

    def skip_newlines(self) -> int:
        """Take bare newlines (keep-alives). Returns how many."""
        start = self.at
        while self.piece.startswith(NEWLINE, self.at):
            self.at += 1
        return self.at - start

    def take_line(self, limit: int = MAX_LINE_BYTES) -> bytes | None:
        """A line of at most ``limit`` bytes, without its CRLF; None while it is incomplete."""
        at = self._mark = self.at
        end = self.piece.find(CRLF, at, at + limit + 2)
        if end < 0:
            if len(self.piece) - at >= limit + 2:
                raise self.violation(f"a line of more than {limit} bytes")
            self._want = limit + 2
            self._want_line = True
            return None
        self.at = end + 2
        return self.piece[at:end]

    def take_inline(self, limit: int) -> bytes | None:
        """A line that ends with LF or CRLF, of less than ``limit`` bytes; None while it is incomplete."""
        at = self._mark = self.at
        end = self.piece.find(NEWLINE, at, at + limit)
        if end < 0:
            if len(self.piece) - at >= limit:
                raise self.violation(f"a line of {limit} bytes or more")
            self._want = limit
            self._want_line = True
            return None
        self.at = end + 1
        return self.piece[at:end].removesuffix(b"\r")

    def take_number(self, marker: bytes, low: int, high: int) -> int | None:
        """A line of one ``marker`` byte and a number in ``low..high``; None while it is incomplete."""
        self._mark = self.at
        if self.at < len(self.piece) and not self.piece.startswith(marker, self.at):
            raise self.violation(f"{printable(self.piece[self.at : self.at + 1])!r} instead of {marker.decode()!r}")
        line = self.take_line(MAX_NUMBER_LINE_BYTES)
        if line is None:
            if self._mark == len(self.piece):
                self._want = 0  # the next byte may already be invalid
            return None
        number = parse_decimal(line[1:], low, high)
        if number is None:
            raise self.violation(f"{printable(line)!r} is not {marker.decode()!r} and a number from {low} to {high}")
        return number

    def take_bulk(self, low: int, high: int) -> bytes | None:
        """A bulk string of ``low..high`` bytes; None while it is incomplete. Refuses a wrong length before the body."""
        start = self.at
        length = self.take_number(b"$", low, high)
        if length is None:
            return None
        end = self.at + length
        if end + 2 > len(self.piece):
            self.at = start
            self._want = end + 2 - start
            self._want_line = False
            return None
        if not self.piece.startswith(CRLF, end):
            raise self.violation(f"a bulk string of {length} bytes does not end where its length says")
        bulk = self.piece[self.at : end]
        self.at = end + 2
        return bulk

    def take_command(self) -> list[bytes] | None:
        """A multi-bulk of 1 to MAX_ARGUMENTS bulk strings, each owned; None while it is incomplete.

        Complete arguments are taken as they come, so a command in many pieces is never parsed twice.
        """
        left = self._left
        if not left:
            count = self._take_count()
            if count is None:
                return None
            left = count
            self._argv = []
            self._room = MAX_COMMAND_BYTES
        piece = self.piece
        at = self.at
        argv = self._argv
        room = self._room
        while left:
            end = piece.find(CRLF, at, at + _LONGEST_SMALL)
            length = _SMALL_BULK.get(piece[at:end]) if end > 0 else None
            if length is not None and length <= room and piece[(stop := end + 2 + length) : stop + 2] == CRLF:
                argv.append(piece[end + 2 : stop])
                room -= length
                at = stop + 2
            else:
                self.at = at
                bulk = self.take_bulk(0, min(MAX_BULK_BYTES, room))
                if bulk is None:
                    self._left = left
                    self._room = room
                    return None
                argv.append(bulk)
                room -= len(bulk)
                at = self.at
            left -= 1
        self.at = at
        self._left = 0
        return argv

    def _take_count(self) -> int | None:
        end = self.piece.find(CRLF, self.at, self.at + _LONGEST_SMALL)
        count = _SMALL_COUNT.get(self.piece[self.at : end]) if end > 0 else None
        if count is None:
            return self.take_number(b"*", 1, MAX_ARGUMENTS)
        self.at = end + 2
        return count
