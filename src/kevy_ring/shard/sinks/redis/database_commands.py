"""The rare commands of a stream that concern whole databases or the connection."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from kevy_ring.events import BytesLike
    from kevy_ring.inbox import Batch

#: Commands that empty databases, including the mark.
EMPTYING = frozenset((b"FLUSHALL", b"FLUSHDB"))
#: Commands that remove or move the mark, so the sink sends them together with commands that restore it.
MARK_MOVING = EMPTYING | {b"SWAPDB"}
#: Commands that name a database, or all of them. A replica in one database cannot take them as they are.
DATABASE_NAMING = MARK_MOVING | {b"SELECT", b"MOVE", b"COPY"}
#: Commands that the sink must look at.
WATCHED = DATABASE_NAMING | {b"MULTI", b"EXEC", b"DISCARD"}

# Each name fits into eight bytes, so that one comparison of integers finds it. A client may type a name in any case,
# and a primary passes it on as typed. Setting bit 5 makes upper case letters lower case, and no other byte a letter.
_WIDTH = 8
_BIT_5 = int.from_bytes(b" " * _WIDTH, "little")
_NAMES = {int.from_bytes(name.lower(), "little"): name for name in WATCHED}
_WANTED = np.array(list(_NAMES), "<u8")
#: By length of a name: which bits are the name's. A longer name than all of these has none.
_MASKS = np.array([*((1 << 8 * length) - 1 for length in range(_WIDTH + 1)), 0], "<u8")


def watched_frames(batch: Batch) -> list[tuple[int, bytes]]:
    """The number and the upper-case name of each frame whose command is one of :data:`WATCHED`, in order.

    ``batch`` holds only frames. The cost is a few numpy calls for a batch, and none for a frame.
    """
    # A payload begins at a multiple of eight bytes: the number of arguments, the end of each argument, the arguments.
    parts = np.frombuffer(batch.buffer, "<u4")
    payloads = batch.starts.astype(np.intp) // 4
    name_lengths = parts.take(payloads + 1, mode="clip")
    firsts = payloads + batch.argcs + 1
    names = parts.take(firsts + 1, mode="clip").astype("<u8") << np.uint64(32)
    names |= parts.take(firsts, mode="clip")
    names |= np.uint64(_BIT_5)
    names &= _MASKS.take(name_lengths, mode="clip")
    found = np.flatnonzero(np.isin(names, _WANTED))
    return [(number, _NAMES[name]) for number, name in zip(found.tolist(), names[found].tolist(), strict=True)]


def selected_database(argv: Sequence[BytesLike]) -> int | None:
    """The database that a SELECT names; None if it names none, so that the server refuses it."""
    number = bytes(argv[1]) if len(argv) == 2 else b""
    return int(number) if number.isdigit() else None


class OtherDatabase(Exception):
    """A command uses another database than the one that is replicated. ``database``: its argument."""

    def __init__(self, database: bytes) -> None:
        super().__init__(database)
        self.database = database


def in_one_database(name: bytes, argv: list[bytes], only_db: int, source_db: int | None = None) -> list[bytes] | None:
    """``argv`` for a replica of one database in database ``only_db``; None: the replica needs no command.

    ``source_db``: the only database of which a filter lets commands pass. None: there is no such filter, and database 0
    is replicated. The result touches no other database of the target. Raises OtherDatabase.
    """
    source = source_db or 0
    here = b"%d" % only_db
    if name == b"FLUSHALL":
        return [b"FLUSHDB", *argv[1:]]
    if name == b"SELECT" and len(argv) == 2:
        if source_db is not None and argv[1] != b"%d" % source:
            return None  # nothing passes before the next SELECT
        _refuse_others(source, argv[1])
        return [b"SELECT", here]
    if name == b"SWAPDB" and len(argv) == 3:
        _refuse_others(source, *argv[1:])
        return None
    if name == b"MOVE" and len(argv) == 3:
        _refuse_others(source, argv[2])
        return None
    if name == b"COPY":
        for at in range(3, len(argv) - 1):
            if argv[at].upper() == b"DB":
                _refuse_others(source, argv[at + 1])
                return [*argv[: at + 1], here, *argv[at + 2 :]]
    return argv


def _refuse_others(source_db: int, *databases: bytes) -> None:
    for database in databases:
        if database != b"%d" % source_db:
            raise OtherDatabase(database)
