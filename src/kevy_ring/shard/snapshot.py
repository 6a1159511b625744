"""One whole snapshot: its facts, and its entries if the sink did not take them while they arrived."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Literal, NamedTuple

from kevy_ring.replica.snapshots.entry import Entry

SnapshotFormat = Literal["kevysnap", "rdb"]

#: At most this many things of a kind are named; all are counted.
NAMED_MAX = 20
_NAME_BYTES = 60


class SkippedKey(NamedTuple):
    """A key of a snapshot whose value its decoder cannot read. ``type``: as the TYPE command says."""

    db: int
    key: bytes
    type: str


@dataclass(frozen=True, slots=True)
class LeftOut:
    """What the decoder leaves out of a snapshot, by name.

    ``keys``: the values of modules. ``functions``: libraries. ``restores``: for a key, by database and name, the
    RESTORE that writes its value, if it was asked for.
    """

    keys: tuple[SkippedKey, ...] = ()
    functions: tuple[bytes, ...] = ()
    restores: Mapping[tuple[int, bytes], tuple[bytes, ...]] = field(default_factory=dict, compare=False, repr=False)

    def words(self) -> list[str]:
        """Each kind in words, with up to :data:`NAMED_MAX` names."""
        by_type: dict[str, list[SkippedKey]] = {}
        for key in self.keys:
            by_type.setdefault(key.type, []).append(key)
        said = [_counted(len(keys), f"key of type {kind}", _names(keys)) for kind, keys in sorted(by_type.items())]
        if self.functions:
            said.append(_counted(len(self.functions), "function library", map(shown_name, self.functions)))
        return said


def _names(keys: Iterable[SkippedKey]) -> Iterator[str]:
    return (shown_name(key.key) + (f" in database {key.db}" if key.db else "") for key in keys)


def _counted(count: int, what: str, names: Iterable[str]) -> str:
    many = {"key ": "keys ", "library": "libraries"}
    if count != 1:
        for one, several in many.items():
            what = what.replace(one, several, 1)
    named = ", ".join(islice(names, NAMED_MAX))
    return f"{count:,} {what} ({named}{', ...' if count > NAMED_MAX else ''})"


def shown_name(name: bytes) -> str:
    """A key's name for a message: quoted, and cut if it is long."""
    text = name[:_NAME_BYTES].decode("utf-8", "backslashreplace")
    return repr(text) + ("..." if len(name) > _NAME_BYTES else "")


@dataclass(slots=True)
class Snapshot:
    """The argument of :meth:`Sink.load` and :meth:`Stage.commit` at the end of a snapshot.

    Iterating yields each held entry once and drops it here, so that memory never holds the entries twice. ``count`` is
    the number of entries of the whole snapshot, held here or not. ``format``: kevysnap or rdb. ``ack_offset`` is what
    the upstream sent; ``applied_offset`` is the same position as the offset of a last applied frame. ``skipped``: how
    many keys the decoder left out (values of modules in an RDB), None if it does not know. ``left_out`` names these
    keys and what else was left out. ``size_bytes``: of the body.
    """

    format: SnapshotFormat
    ack_offset: int
    size_bytes: int
    count: int
    skipped: int | None = 0
    held: deque[Entry] = field(default_factory=deque, repr=False)
    left_out: LeftOut = LeftOut()

    @property
    def applied_offset(self) -> int | None:
        """The offset of the last frame that the snapshot contains, None before the first.

        A kevy primary acknowledges with the offset of the NEXT frame, Redis with the bytes already in.
        """
        if self.format == "rdb":
            return self.ack_offset
        return self.ack_offset - 1 if self.ack_offset else None

    def __len__(self) -> int:
        return self.count

    def __bool__(self) -> bool:
        return True

    def __iter__(self) -> Iterator[Entry]:
        held = self.held
        while held:
            yield held.popleft()
