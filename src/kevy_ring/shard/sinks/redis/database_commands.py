"""Commands of a stream that concern whole databases or the connection: rare, and the sink has to know of each."""

from __future__ import annotations

from itertools import product

_NAMES = (b"MULTI", b"EXEC", b"DISCARD", b"SELECT", b"FLUSHALL", b"FLUSHDB", b"SWAPDB", b"MOVE", b"COPY")


def _spellings(name: bytes) -> list[bytes]:
    return [bytes(letters) for letters in product(*zip(name, name.lower(), strict=True))]


#: Their names as a client may have typed them, which is how a primary passes them on. One look-up for each frame.
WATCHED = frozenset(spelling for name in _NAMES for spelling in _spellings(name))


class OtherDatabase(Exception):
    """A command uses a database other than 0, and the replica is of that one only. ``database``: as it is named."""

    def __init__(self, database: bytes) -> None:
        super().__init__(database)
        self.database = database


def in_one_database(name: bytes, argv: list[bytes], only_db: int) -> list[bytes] | None:
    """``argv`` for a replica of database 0 in database ``only_db``; None: nothing is to be done for it.

    It touches no other database, whatever the upstream did to its own. Raises OtherDatabase.
    """
    here = b"%d" % only_db
    if name == b"FLUSHALL":
        return [b"FLUSHDB", *argv[1:]]
    if name == b"SELECT" and len(argv) == 2:
        _refuse_others(argv[1])
        return [b"SELECT", here]
    if name == b"SWAPDB" and len(argv) == 3:
        _refuse_others(*argv[1:])
        return None
    if name == b"MOVE" and len(argv) == 3:
        _refuse_others(argv[2])
        return None
    if name == b"COPY":
        for at in range(3, len(argv) - 1):
            if argv[at].upper() == b"DB":
                _refuse_others(argv[at + 1])
                return [*argv[: at + 1], here, *argv[at + 2 :]]
    return argv


def _refuse_others(*databases: bytes) -> None:
    for database in databases:
        if database != b"0":
            raise OtherDatabase(database)
