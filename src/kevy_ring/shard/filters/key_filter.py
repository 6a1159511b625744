"""Which keys and commands a sink takes: one value, made once by the command and passed on unchanged."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache, reduce
from importlib import import_module

from kevy_ring.errors import SinkError
from kevy_ring.shard.filters.glob import glob_regex, literal_prefix
from kevy_ring.shard.filters.key_positions import is_known
from kevy_ring.shard.snapshot import shown_name

#: Whether a key passes: called with its database and its name.
KeyTest = Callable[[int, bytes], bool]
#: Called with a text, and optionally with the start and the end of a part of it. None: it does not match.
Matcher = Callable[..., object]
_NOT_WANTED = re.compile(rb"[^A-Za-z0-9_.|-]")


@dataclass(frozen=True, slots=True)
class KeyFilter:
    """The keys and the commands that a sink takes.

    ``databases``: only these; empty: all. ``keys``: globs as in Redis's KEYS, of which one must match; empty: all keys.
    ``exclude``: globs of which none may match. ``function``: ``"module:callable"`` (with dots for attributes), called
    with the database and the key as ``bytes``; the key passes if the result is true. It must always give the same
    answer for a key, and the sink stores only its name. ``commands``: only these commands of the stream (upper case);
    empty: all. ``commands`` does not concern the keys of a snapshot.

    A filter is False if everything passes. ``str`` is its canonical text, in the form of the command's options. Two
    filters are the same if their texts are.

        KeyFilter(databases={5}, keys=[b"user:*"], exclude=[b"user:tmp:*"])

    Raises ValueError for a number of a database below 0, an empty glob, a name of a command that no server has, and a
    ``function`` without a colon. A name with a dot is a module's, and is not checked.
    """

    databases: frozenset[int] = frozenset()
    keys: tuple[bytes, ...] = ()
    exclude: tuple[bytes, ...] = ()
    commands: frozenset[bytes] = frozenset()
    function: str = ""

    def __init__(
        self,
        databases: Iterable[int] = (),
        keys: Iterable[bytes] = (),
        exclude: Iterable[bytes] = (),
        commands: Iterable[bytes] = (),
        function: str = "",
    ) -> None:
        put = object.__setattr__
        put(self, "databases", frozenset(databases))
        put(self, "keys", tuple(sorted(set(keys))))
        put(self, "exclude", tuple(sorted(set(exclude))))
        put(self, "commands", frozenset(name.upper() for name in commands))
        put(self, "function", function)
        self._check()

    def _check(self) -> None:
        if any(db < 0 for db in self.databases):
            raise ValueError(f"a database has a number from 0 on, not {min(self.databases)}")
        if b"" in (*self.keys, *self.exclude):
            raise ValueError("a glob must not be empty: * matches every key")
        for name in sorted(self.commands):
            if _NOT_WANTED.search(name) or not name or not (b"." in name or is_known(name)):
                raise ValueError(f"no server has a command {name.decode('utf-8', 'backslashreplace')!r}")
        if self.function and not all(self.function.partition(":")):
            raise ValueError(f"{self.function!r} is not of the form MODULE:CALLABLE")

    def __bool__(self) -> bool:
        return bool(self.limits_keys or self.commands)

    @property
    def limits_keys(self) -> bool:
        """Whether some keys do not pass."""
        return bool(self.databases or self.limits_names)

    @property
    def limits_names(self) -> bool:
        """Whether some keys of a database that passes do not pass."""
        return bool(self.keys or self.exclude or self.function)

    @property
    def only_database(self) -> int | None:
        """The one database that passes; None: there are more."""
        return next(iter(self.databases)) if len(self.databases) == 1 else None

    def takes_database(self, db: int) -> bool:
        """Whether any key of database ``db`` may pass."""
        return not self.databases or db in self.databases

    def passes(self, db: int, key: bytes) -> bool:
        """Whether ``key`` of database ``db`` passes. Raises SinkError (``"load"``) if ``function`` raises."""
        return self.key_passes(db, key)

    @property
    def key_passes(self) -> KeyTest:
        """:meth:`passes` as a function that is fast for many keys. Raises as ``key_test``."""
        databases = self.databases
        wanted, unwanted, key_test = _tests_of(self)

        def passes(db: int, key: bytes) -> bool:
            return (
                (not databases or db in databases)
                and (wanted is None or wanted(key) is not None)
                and (unwanted is None or unwanted(key) is None)
                and (key_test is None or key_test(db, key))
            )

        return passes

    @property
    def matchers(self) -> tuple[Matcher | None, Matcher | None]:
        """``fullmatch`` of the expressions of ``keys`` and of ``exclude``; None: there are no such globs."""
        wanted, unwanted, _ = _tests_of(self)
        return wanted, unwanted

    @property
    def key_test(self) -> KeyTest | None:
        """The user's own function; None: there is none. Raises SinkError (``"load"``) if it cannot be found."""
        return _tests_of(self)[2]

    @property
    def prefix(self) -> bytes | None:
        """If the globs are only one text with a star at its end: this text. Else None."""
        is_one = len(self.keys) == 1 and not self.exclude
        return literal_prefix(self.keys[0]) if is_one else None

    def __str__(self) -> str:
        words = [f"--db {db}" for db in sorted(self.databases)]
        words += [f"--keys {_shown(glob)}" for glob in self.keys]
        words += [f"--exclude {_shown(glob)}" for glob in self.exclude]
        if self.commands:
            words.append("--commands " + ",".join(sorted(name.decode() for name in self.commands)))
        if self.function:
            words.append(f"--filter {shlex.quote(self.function)}")
        return " ".join(words)


#: Everything passes.
NO_FILTER = KeyFilter()


def _shown(glob: bytes) -> str:
    return shlex.quote(glob.decode("utf-8", "backslashreplace"))


@lru_cache(maxsize=64)
def _tests_of(chosen: KeyFilter) -> tuple[Matcher | None, Matcher | None, KeyTest | None]:
    key_test = _loaded(chosen.function) if chosen.function else None
    return _matcher(chosen.keys), _matcher(chosen.exclude), key_test


def _matcher(globs: tuple[bytes, ...]) -> Matcher | None:
    if not globs:
        return None
    return re.compile(b"|".join(b"(?:%b)" % glob_regex(glob) for glob in globs), re.DOTALL).fullmatch


def _loaded(path: str) -> KeyTest:
    module, _, names = path.partition(":")
    try:
        found = reduce(getattr, names.split("."), import_module(module))
    except (ImportError, AttributeError) as error:
        raise SinkError(f"--filter {path}", reason="load", detail=str(error)) from error
    if not callable(found):
        raise SinkError(f"--filter {path}", reason="load", detail=f"it is a {type(found).__name__} and not callable")
    call: KeyTest = found

    def test(db: int, key: bytes) -> bool:
        try:
            return bool(call(db, key))
        except Exception as error:
            detail = f"it raised {type(error).__name__}: {error} for key {shown_name(key)} in database {db}"
            raise SinkError(f"--filter {path}", reason="load", detail=detail) from error

    return test
