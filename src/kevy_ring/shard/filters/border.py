"""Cuts a command down to the keys that pass a filter, or refuses it by name. It never lets half of an effect pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from kevy_ring.shard.filters.key_filter import KeyFilter
from kevy_ring.shard.filters.key_positions import SCRIPTS, counted_keys, keys_of
from kevy_ring.shard.snapshot import shown_name

#: What the columns tell of a frame. DROP: no key of it passes. TAKE: its only key passes if its database does. READ:
#: the whole command decides.
DROP, TAKE, READ = 0, 1, 2


class AcrossBorder(Exception):
    """A command that cannot be cut down. ``key``: one that decides it, if there is one; ``why``: the reason."""

    def __init__(self, why: str, key: bytes | None = None) -> None:
        super().__init__(why)
        self.why = why
        self.key = key


class Border:
    """The border between the keys that pass and all others.

    ``only_done``: the stream has only commands that have changed something, as that of Redis and of Valkey. So a
    RENAMENX in it has renamed. Without this, a command whose effect depends on keys on both sides is refused.
    """

    def __init__(self, chosen: KeyFilter, *, only_done: bool = True) -> None:
        self._filter = chosen
        self._only_done = only_done
        self._passes = chosen.key_passes

    def inside(self, db: int, argv: list[bytes]) -> list[bytes] | None:
        """The command for a store that holds only the keys that pass; None: it concerns none of them.

        ``db``: the database that is selected. Raises :class:`AcrossBorder`.
        """
        name = argv[0].upper()
        chosen = self._filter
        if chosen.commands and name not in chosen.commands:
            return None
        if not chosen.limits_keys:
            return argv
        rule = _RULES.get(name)
        if rule is not None:
            return rule(self, db, argv)
        keys = keys_of(name, argv)
        if keys is None:
            if chosen.limits_names:
                raise AcrossBorder("it is not known which of its arguments are keys")
            return argv if chosen.takes_database(db) else None
        if not keys:
            return None  # it concerns no key: PUBLISH, SCRIPT, FUNCTION, ...
        return argv if self._all_or_none(db, keys) else None

    def _all_or_none(self, db: int, keys: Sequence[bytes]) -> bool:
        passing = [self._passes(db, key) for key in keys]
        if all(passing):
            return True
        if any(passing):
            one, other = keys[passing.index(True)], keys[passing.index(False)]
            raise AcrossBorder(f"{shown_name(one)} passes the filter and {shown_name(other)} does not", other)
        return False

    # One method for each kind of command that has more than one key, or concerns more than keys.

    def _each(self, step: int, db: int, argv: list[bytes]) -> list[bytes] | None:
        """Each key with its values is alone: DEL, MSET."""
        kept = argv[:1]
        for at in range(1, len(argv), step):
            if self._passes(db, argv[at]):
                kept += argv[at : at + step]
        return kept if len(kept) > 1 else None

    def _each_if_new(self, db: int, argv: list[bytes]) -> list[bytes] | None:
        kept = self._each(2, db, argv)
        if kept is None or len(kept) == len(argv):
            return kept
        if not self._only_done:
            raise AcrossBorder("it depends on all of its keys, and some do not pass the filter")
        return [b"MSET", *kept[1:]]

    def _store(self, db: int, argv: list[bytes], to: bytes, sources: Sequence[bytes]) -> list[bytes] | None:
        """The command writes only the key ``to``, from the keys ``sources``."""
        if not self._passes(db, to):
            return None
        for source in sources:
            if not self._passes(db, source):
                raise self._lacks(source, to)
        return argv

    def _store_first(self, db: int, argv: list[bytes]) -> list[bytes] | None:
        self._need(argv, 3)
        return self._store(db, argv, argv[1], argv[2:])

    def _store_of_one(self, db: int, argv: list[bytes]) -> list[bytes] | None:
        self._need(argv, 3)
        return self._store(db, argv, argv[1], argv[2:3])

    def _store_counted(self, db: int, argv: list[bytes]) -> list[bytes] | None:
        sources = counted_keys(argv, 2)
        if sources is None:
            raise AcrossBorder("its number of keys is wrong")
        return self._store(db, argv, argv[1], sources)

    def _combine_bits(self, db: int, argv: list[bytes]) -> list[bytes] | None:
        self._need(argv, 4)
        return self._store(db, argv, argv[2], argv[3:])

    def _sort(self, db: int, argv: list[bytes]) -> list[bytes] | None:
        self._need(argv, 2)
        at, to, reads_others = 2, None, False
        while at < len(argv):
            option = argv[at].upper()
            value = argv[at + 1] if at + 1 < len(argv) else b""
            if option == b"STORE":
                to = value
            reads_others |= option in (b"BY", b"GET") and b"*" in value
            at += {b"STORE": 2, b"BY": 2, b"GET": 2, b"LIMIT": 3}.get(option, 1)
        if to is None:
            return argv if self._passes(db, argv[1]) else None
        if reads_others and self._filter.limits_names and self._passes(db, to):
            raise AcrossBorder("its BY and GET read keys that are not among its arguments", to)
        return self._store(db, argv, to, argv[1:2])

    def _search_around(self, first_option: int, db: int, argv: list[bytes]) -> list[bytes] | None:
        self._need(argv, 2)
        at, to = first_option, None
        while at < len(argv):
            option = argv[at].upper()
            if option in (b"STORE", b"STOREDIST") and at + 1 < len(argv):
                to = argv[at + 1]
            at += 2 if option in (b"STORE", b"STOREDIST", b"COUNT") else 1
        if to is None:
            return argv if self._passes(db, argv[1]) else None
        return self._store(db, argv, to, argv[1:2])

    def _copy(self, db: int, argv: list[bytes]) -> list[bytes] | None:
        self._need(argv, 3)
        words = [word.upper() for word in argv]
        to_db = db
        if b"DB" in words[3:-1]:
            to_db = self._database(argv[words.index(b"DB", 3) + 1])
        if not self._passes(to_db, argv[2]):
            return None
        if not self._passes(db, argv[1]):
            raise self._lacks(argv[1], argv[2])
        return argv

    def _rename(self, db: int, argv: list[bytes]) -> list[bytes] | None:
        self._need(argv, 3)
        is_sure = self._only_done or argv[0].upper() == b"RENAME"
        return self._moved(db, argv, (db, argv[2]), [b"DEL", argv[1]] if is_sure else None)

    def _move(self, db: int, argv: list[bytes]) -> list[bytes] | None:
        self._need(argv, 3)
        to = (self._database(argv[2]), argv[1])
        return self._moved(db, argv, to, [b"DEL", argv[1]] if self._only_done else None)

    def _move_element(self, db: int, argv: list[bytes]) -> list[bytes] | None:
        self._need(argv, 3)
        end = argv[3].upper() if argv[0].upper().endswith(b"LMOVE") and len(argv) > 3 else b"RIGHT"
        pop = {b"LEFT": b"LPOP", b"RIGHT": b"RPOP"}.get(end)
        is_sure = self._only_done and pop is not None
        return self._moved(db, argv, (db, argv[2]), [pop or b"", argv[1]] if is_sure else None)

    def _move_member(self, db: int, argv: list[bytes]) -> list[bytes] | None:
        self._need(argv, 4)
        if self._only_done and self._passes(db, argv[2]) and not self._passes(db, argv[1]):
            return [b"SADD", argv[2], argv[3]]  # the one move whose value the command names
        return self._moved(db, argv, (db, argv[2]), [b"SREM", argv[1], argv[3]] if self._only_done else None)

    def _moved(
        self, db: int, argv: list[bytes], to: tuple[int, bytes], removal: list[bytes] | None
    ) -> list[bytes] | None:
        """The command takes something from the key ``argv[1]`` to the key ``to``. ``removal``: only its first half."""
        leaves, arrives = self._passes(db, argv[1]), self._passes(*to)
        if leaves and arrives:
            return argv
        if arrives:
            raise self._lacks(argv[1], to[1])
        if not leaves:
            return None
        if removal is None:
            raise AcrossBorder("its effect depends on a key that does not pass the filter", to[1])
        return removal

    def _flush_database(self, db: int, argv: list[bytes]) -> list[bytes] | None:
        return argv if self._filter.takes_database(db) else None

    def _whole(self, db: int, argv: list[bytes]) -> list[bytes]:
        """It empties all databases, or slots of a cluster. A store with fewer keys has the same effect."""
        return argv

    def _swap_databases(self, db: int, argv: list[bytes]) -> list[bytes] | None:
        self._need(argv, 3)
        taken = [self._filter.takes_database(self._database(number)) for number in argv[1:3]]
        if not any(taken):
            return None
        if not all(taken):
            raise AcrossBorder("it swaps a database that passes the filter with one that does not")
        if self._filter.function:
            raise AcrossBorder("the filter's function may decide by the database, and this swaps two")
        return argv

    def _script(self, db: int, argv: list[bytes]) -> list[bytes] | None:
        raise AcrossBorder("it runs a script or moves keys to another server, so its effect is not known")

    def _lacks(self, source: bytes, to: bytes) -> AcrossBorder:
        why = f"{shown_name(to)} passes the filter and gets its value from {shown_name(source)}, which does not pass"
        return AcrossBorder(why, source)

    @staticmethod
    def _need(argv: list[bytes], count: int) -> None:
        if len(argv) < count:
            raise AcrossBorder(f"it has {len(argv) - 1} arguments, which are too few")

    @staticmethod
    def _database(number: bytes) -> int:
        if not number.isdigit():
            raise AcrossBorder(f"{number[:20]!r} is no number of a database")
        return int(number)


_Rule = Callable[[Border, int, list[bytes]], "list[bytes] | None"]


def _by(step: int) -> _Rule:
    return lambda border, db, argv: border._each(step, db, argv)


def _around(first_option: int) -> _Rule:
    return lambda border, db, argv: border._search_around(first_option, db, argv)


_RULES: dict[bytes, _Rule] = {
    **dict.fromkeys((b"DEL", b"UNLINK", b"TOUCH"), _by(1)),
    b"MSET": _by(2),
    **dict.fromkeys((b"JSON.MSET", b"TS.MADD"), _by(3)),
    b"MSETNX": Border._each_if_new,
    **dict.fromkeys((b"SINTERSTORE", b"SUNIONSTORE", b"SDIFFSTORE", b"PFMERGE"), Border._store_first),
    **dict.fromkeys((b"ZRANGESTORE", b"GEOSEARCHSTORE"), Border._store_of_one),
    **dict.fromkeys(
        (b"ZINTERSTORE", b"ZUNIONSTORE", b"ZDIFFSTORE", b"CMS.MERGE", b"TDIGEST.MERGE"), Border._store_counted
    ),
    b"BITOP": Border._combine_bits,
    b"SORT": Border._sort,
    b"GEORADIUS": _around(6),
    b"GEORADIUSBYMEMBER": _around(5),
    b"COPY": Border._copy,
    **dict.fromkeys((b"RENAME", b"RENAMENX"), Border._rename),
    b"MOVE": Border._move,
    **dict.fromkeys((b"LMOVE", b"BLMOVE", b"RPOPLPUSH", b"BRPOPLPUSH"), Border._move_element),
    b"SMOVE": Border._move_member,
    b"FLUSHDB": Border._flush_database,
    **dict.fromkeys((b"FLUSHALL", b"SFLUSH", b"TRIMSLOTS", b"CLUSTER"), Border._whole),
    b"SWAPDB": Border._swap_databases,
    **dict.fromkeys(SCRIPTS, Border._script),
    b"MIGRATE": Border._script,
}
#: The commands whose effect is not that of one key, the first argument, whatever their positions are.
RULED = frozenset(_RULES)
