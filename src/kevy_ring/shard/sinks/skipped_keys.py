"""The keys that a snapshot skipped. Commands on them are refused until the upstream deletes or replaces them.

The replica lacks such a key, so a command on it would make a wrong one: XADD to a skipped stream makes a shorter one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from kevy_ring.shard.filters.key_positions import counted_keys, named_keys
from kevy_ring.shard.snapshot import SkippedKey, shown_name

Name = tuple[int, bytes]


class OnSkippedKey(str):
    """Why a command was refused: it needs a key that a snapshot skipped."""

    __slots__ = ()


class Admitted(NamedTuple):
    """The commands to apply in place of one command. ``refusal``: why it is not applied as it is, or None."""

    commands: list[list[bytes]]
    refusal: OnSkippedKey | None = None


class SkippedKeys:
    """Marks on keys, by database and name. False if there is no mark; then ``admit`` need not be called.

    ``db``: the database of the next command. While there are marks, ``admit`` must get every command of the stream, in
    order, and keeps ``db`` up to date.
    """

    __slots__ = ("_changed", "_types", "db")

    def __init__(self, keys: Iterable[SkippedKey] = (), db: int = 0) -> None:
        self.db = db
        self._types: dict[Name, str] = {(key.db, key.key): key.type for key in keys}
        self._changed: set[Name] = set()

    def __bool__(self) -> bool:
        return bool(self._types)

    def __len__(self) -> int:
        return len(self._types)

    def listed(self) -> list[SkippedKey]:
        """All marks."""
        return [SkippedKey(db, key, kind) for (db, key), kind in self._types.items()]

    def mark(self, db: int, key: bytes, kind: str) -> None:
        """Mark a key: the replica does not have it as the upstream does."""
        self._types[db, key] = kind
        self._changed.add((db, key))

    def take_changed(self) -> tuple[list[SkippedKey], list[Name]]:
        """The marks that were set since the last call, and the names of the marks that were removed."""
        changed, self._changed = self._changed, set()
        types = self._types
        return [SkippedKey(*name, types[name]) for name in changed if name in types], [
            name for name in changed if name not in types
        ]

    @property
    def has_changed(self) -> bool:
        """Whether a mark was set or removed since the last ``take_changed``."""
        return bool(self._changed)

    def admit(self, argv: list[bytes]) -> Admitted:
        """What to apply for one command of the stream. Sets and removes the marks that the command changes."""
        name = argv[0].upper()
        rule = _RULES.get(name)
        if rule is not None:
            return rule(self, argv)
        for key in named_keys(argv):
            if (self.db, key) in self._types:
                return self._refused([], key)
        return Admitted([argv])

    def _refused(self, commands: list[list[bytes]], key: bytes) -> Admitted:
        kind = self._types.get((self.db, key), "a skipped key")
        words = f"the replica lacks {shown_name(key)} ({kind}), which the snapshot skipped"
        return Admitted(commands, OnSkippedKey(words))

    def _clear(self, db: int, key: bytes) -> None:
        if self._types.pop((db, key), None) is not None:
            self._changed.add((db, key))

    def _clear_all(self, dbs: Callable[[int], bool]) -> None:
        for db, key in [name for name in self._types if dbs(name[0])]:
            self._clear(db, key)

    # One method for each kind of command that removes or moves marks.

    def _select(self, argv: list[bytes]) -> Admitted:
        if len(argv) == 2 and argv[1].isdigit():
            self.db = int(argv[1])
        return Admitted([argv])

    def _flush_database(self, argv: list[bytes]) -> Admitted:
        self._clear_all(lambda db: db == self.db)
        return Admitted([argv])

    def _flush_all(self, argv: list[bytes]) -> Admitted:
        self._clear_all(lambda db: True)
        return Admitted([argv])

    def _swap_databases(self, argv: list[bytes]) -> Admitted:
        if len(argv) == 3 and argv[1].isdigit() and argv[2].isdigit():
            one, other = int(argv[1]), int(argv[2])
            to = {one: other, other: one}
            moved = [key for key in self.listed() if key.db in to]
            self._clear_all(lambda db: db in to)
            for db, key, kind in moved:
                self.mark(to[db], key, kind)
        return Admitted([argv])

    def _delete(self, argv: list[bytes]) -> Admitted:
        for key in argv[1:]:
            self._clear(self.db, key)
        return Admitted([argv])

    def _set(self, argv: list[bytes]) -> Admitted:
        if len(argv) < 3 or (self.db, argv[1]) not in self._types:
            return Admitted([argv])
        options = {option.upper() for option in argv[3:]}
        if b"KEEPTTL" in options:
            # The command keeps the expiry, which the replica does not know.
            return self._refused([], argv[1])
        self._clear(self.db, argv[1])
        # The upstream has the key, so the condition XX is true there.
        return Admitted([[*argv[:3], *(option for option in argv[3:] if option.upper() not in (b"XX", b"GET"))]])

    def _set_whole(self, argv: list[bytes]) -> Admitted:
        for key in argv[1:2]:
            self._clear(self.db, key)
        return Admitted([argv])

    def _set_many(self, argv: list[bytes]) -> Admitted:
        for key in argv[1::2]:
            self._clear(self.db, key)
        return Admitted([argv])

    def _restore(self, argv: list[bytes]) -> Admitted:
        if b"REPLACE" in {option.upper() for option in argv[4:]}:
            self._clear(self.db, argv[1])
        elif (self.db, argv[1]) in self._types:
            return self._refused([], argv[1])  # the upstream has the key, and refuses this too
        return Admitted([argv])

    def _store(self, argv: list[bytes], to: int, sources: Sequence[bytes]) -> Admitted:
        for source in sources:
            if (self.db, source) in self._types:
                # The result depends on the skipped key, so the replica does not know it either.
                kind = self._types[self.db, source]
                self.mark(self.db, argv[to], kind)
                return self._refused([[b"DEL", argv[to]]], source)
        self._clear(self.db, argv[to])
        return Admitted([argv])

    def _store_first(self, argv: list[bytes]) -> Admitted:
        return self._store(argv, 1, argv[2:]) if len(argv) > 2 else Admitted([argv])

    def _store_of_one(self, argv: list[bytes]) -> Admitted:
        return self._store(argv, 1, argv[2:3]) if len(argv) > 2 else Admitted([argv])

    def _store_counted(self, argv: list[bytes]) -> Admitted:
        return self._store(argv, 1, counted_keys(argv, 2) or ()) if len(argv) > 3 else Admitted([argv])

    def _combine_bits(self, argv: list[bytes]) -> Admitted:
        return self._store(argv, 2, argv[3:]) if len(argv) > 3 else Admitted([argv])

    def _sort(self, argv: list[bytes]) -> Admitted:
        words = [word.upper() for word in argv]
        for option in (b"STORE", b"STOREDIST"):
            if option in words[2:-1]:
                return self._store(argv, words.index(option, 2) + 1, argv[1:2])
        return Admitted([argv])

    def _rename(self, argv: list[bytes]) -> Admitted:
        if len(argv) != 3:
            return Admitted([argv])
        kind = self._types.get((self.db, argv[1]))
        if kind is None:
            if argv[0].upper() == b"RENAME":
                self._clear(self.db, argv[2])
            return Admitted([argv])
        refused = self._refused([[b"DEL", argv[2]]], argv[1])
        self._clear(self.db, argv[1])
        self.mark(self.db, argv[2], kind)
        return refused

    def _copy(self, argv: list[bytes]) -> Admitted:
        words = [word.upper() for word in argv]
        to = self.db
        if b"DB" in words[3:-1]:
            number = argv[words.index(b"DB", 3) + 1]
            to = int(number) if number.isdigit() else to
        if len(argv) < 3:
            return Admitted([argv])
        kind = self._types.get((self.db, argv[1]))
        if kind is None:
            if b"REPLACE" in words[3:]:
                self._clear(to, argv[2])
            return Admitted([argv])
        self.mark(to, argv[2], kind)
        return self._refused(self._delete_in(to, argv[2]), argv[1])

    def _move(self, argv: list[bytes]) -> Admitted:
        kind = self._types.get((self.db, argv[1])) if len(argv) == 3 and argv[2].isdigit() else None
        if kind is None:
            return Admitted([argv])
        refused = self._refused([], argv[1])
        self._clear(self.db, argv[1])
        self.mark(int(argv[2]), argv[1], kind)
        return refused

    def _delete_in(self, db: int, key: bytes) -> list[list[bytes]]:
        if db == self.db:
            return [[b"DEL", key]]
        return [[b"SELECT", b"%d" % db], [b"DEL", key], [b"SELECT", b"%d" % self.db]]


_RULES: dict[bytes, Callable[[SkippedKeys, list[bytes]], Admitted]] = {
    b"SELECT": SkippedKeys._select,
    b"FLUSHDB": SkippedKeys._flush_database,
    b"FLUSHALL": SkippedKeys._flush_all,
    b"SWAPDB": SkippedKeys._swap_databases,
    b"DEL": SkippedKeys._delete,
    b"UNLINK": SkippedKeys._delete,
    b"SET": SkippedKeys._set,
    b"SETEX": SkippedKeys._set_whole,
    b"PSETEX": SkippedKeys._set_whole,
    b"MSET": SkippedKeys._set_many,
    b"RESTORE": SkippedKeys._restore,
    b"RESTORE-ASKING": SkippedKeys._restore,
    b"RENAME": SkippedKeys._rename,
    b"RENAMENX": SkippedKeys._rename,
    b"COPY": SkippedKeys._copy,
    b"MOVE": SkippedKeys._move,
    b"SORT": SkippedKeys._sort,
    b"GEORADIUS": SkippedKeys._sort,
    b"GEORADIUSBYMEMBER": SkippedKeys._sort,
    b"BITOP": SkippedKeys._combine_bits,
    b"ZRANGESTORE": SkippedKeys._store_of_one,
    b"GEOSEARCHSTORE": SkippedKeys._store_of_one,
    **dict.fromkeys((b"SINTERSTORE", b"SUNIONSTORE", b"SDIFFSTORE"), SkippedKeys._store_first),
    **dict.fromkeys((b"ZINTERSTORE", b"ZUNIONSTORE", b"ZDIFFSTORE"), SkippedKeys._store_counted),
}
