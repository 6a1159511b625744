"""The history and the offset of an RDB, from its first fields."""

from __future__ import annotations

from kevy_ring.replica.protocols.resp import MAX_OFFSET, parse_decimal

_MAGIC_BYTES = 9  # "REDIS" and four digits, or "VALKEY" and three
_AUX = 0xFA  # a name and a value follow
_INTEGERS = {0xC0: 1, 0xC1: 2, 0xC2: 4}  # a number of this many bytes in the place of a string


def rdb_position(head: bytes) -> tuple[str, int] | None:
    """The replication id and the offset in the fields of ``head``, the beginning of an RDB; None if they are missing.

    A primary writes them into every RDB that it makes for a replica.
    """
    fields: dict[bytes, bytes] = {}
    at = _MAGIC_BYTES
    while at < len(head) and head[at] == _AUX:
        name = _take_string(head, at + 1)
        value = _take_string(head, name[1]) if name is not None else None
        if name is None or value is None:
            break
        fields[name[0]], at = value
    history, offset = fields.get(b"repl-id"), parse_decimal(fields.get(b"repl-offset", b""), 0, MAX_OFFSET)
    if history is None or offset is None:
        return None
    return history.decode("ascii", "replace"), offset


def _take_string(head: bytes, at: int) -> tuple[bytes, int] | None:
    """A string of an RDB (a number as its digits) and the index after it; None if it is cut or compressed."""
    if at >= len(head):
        return None
    first = head[at]
    if first in _INTEGERS:
        end = at + 1 + _INTEGERS[first]
        number = int.from_bytes(head[at + 1 : end], "little", signed=True)
        return (b"%d" % number, end) if end <= len(head) else None
    if first < 0x40:
        start, length = at + 1, first
    elif first < 0x80:
        start, length = at + 2, (first & 0x3F) << 8 | (head[at + 1] if at + 1 < len(head) else 0)
    elif first == 0x80:
        start, length = at + 5, int.from_bytes(head[at + 1 : at + 5], "big")
    else:
        return None
    end = start + length
    return (head[start:end], end) if end <= len(head) else None
