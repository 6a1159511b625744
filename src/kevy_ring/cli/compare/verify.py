"""Compares a replica with its upstream key by key, even while writes continue."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from kevy_ring.cli import figures
from kevy_ring.cli.compare.difference import Difference, is_same
from kevy_ring.cli.compare.key_source import KeySource
from kevy_ring.replica.snapshots.entry import Entry
from kevy_ring.shard.sinks.redis.target_mark import is_mark
from kevy_ring.shard.snapshot import SkippedKey

#: How many differences are named.
NAMED = 10
#: Before each round of reading differing keys again, wait this long for the stream to bring their changes.
ROUNDS_S = (0.4, 0.6, 1.0, 2.0, 3.0)

Name = tuple[int, bytes]


@dataclass(slots=True)
class Verification:
    """The result of a comparison. The fields count keys.

    ``compared``: equal keys, and ``by_type`` the same by type. ``unreadable``: keys whose values cannot be read, by
    type. ``skipped``: keys that the snapshot skipped, by type; they are not compared. ``restless``: keys that the
    upstream changed in every round, so that they could not be compared. ``reread``: keys that differed first and were
    equal after the stream had brought the change.
    """

    differences: list[Difference] = field(default_factory=list)
    different: int = 0
    compared: int = 0
    by_type: Counter[str] = field(default_factory=Counter)
    unreadable: Counter[str] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)
    restless: int = 0
    reread: int = 0
    seconds: float = 0.0

    @property
    def is_equal(self) -> bool:
        return not self.different

    @property
    def not_compared(self) -> str:
        """Which keys were not compared, as text; empty: all keys, except restless ones, were."""
        kinds = [(kind, number, "skipped by the snapshot") for kind, number in sorted(self.skipped.items())]
        kinds += [(kind, number, "a value that cannot be read") for kind, number in sorted(self.unreadable.items())]
        said = [f"{figures.plural(number, 'key')} of type {kind} ({why})" for kind, number, why in kinds]
        return ", ".join(said)

    def add_equal(self, entry: Entry | None) -> None:
        """Count a key that is equal on both sides. None: it is gone on both sides."""
        if entry is None:
            return
        if entry.value is None:
            self.unreadable[entry.type] += 1
        else:
            self.compared += 1
            self.by_type[entry.type] += 1

    def add_different(self, difference: Difference) -> None:
        self.different += 1
        if len(self.differences) < NAMED:
            self.differences.append(difference)

    def __iadd__(self, other: Verification) -> Verification:
        self.differences = (self.differences + other.differences)[:NAMED]
        self.different += other.different
        self.compared += other.compared
        self.by_type += other.by_type
        self.unreadable += other.unreadable
        self.skipped += other.skipped
        self.restless += other.restless
        self.reread += other.reread
        self.seconds += other.seconds
        return self

    def __str__(self) -> str:
        if self.different:
            keys = "1 key differs" if self.different == 1 else f"{figures.count(self.different)} keys differ"
            return f"{keys} between the upstream and the replica"
        are = "is" if self.compared == 1 else "are"
        return f"{figures.plural(self.compared, 'key')} {are} equal in type, value and expiry"


def compare(
    upstream: KeySource,
    replica: KeySource,
    *,
    is_final: bool,
    settle: Callable[[float], None] = time.sleep,
    pulse: Callable[[], None] = lambda: None,
    rounds_s: Sequence[float] = ROUNDS_S,
    skipped: Callable[[], Iterable[SkippedKey]] = lambda: (),
) -> Verification:
    """Compare all keys of all databases except the ``skipped`` ones. ``skipped`` is called after the replica was read.

    ``is_final``: nothing changes any more, so a key that differs is different. Otherwise a key that differs is read
    again on both sides, after ``settle(seconds)`` has let the replica apply what was on its way. It counts as different
    if the upstream's value did not change between two readings and the replica's, read between them, is another. It
    counts as restless if the upstream's value keeps changing. ``pulse`` is called often, and may raise to end the
    comparison.
    """
    began = time.monotonic()
    result = Verification()
    suspects = _first_look(upstream, replica, result, pulse)
    for db, key, kind in skipped():
        result.skipped[kind] += 1
        suspects.pop((db, key), None)
    if is_final:
        for name, (ours, theirs) in suspects.items():
            result.add_different(Difference(*name, ours, theirs))
    else:
        before = {name: ours for name, (ours, _) in suspects.items()}
        if before:
            _look_again(upstream, replica, before, result, settle=settle, rounds_s=rounds_s)
    result.seconds = time.monotonic() - began
    return result


def _slack_ms(upstream: KeySource, replica: KeySource) -> int:
    return max(upstream.expiry_slack_ms, replica.expiry_slack_ms)


def _first_look(
    upstream: KeySource, replica: KeySource, result: Verification, pulse: Callable[[], None]
) -> dict[Name, tuple[Entry | None, Entry | None]]:
    """Read all keys once, count the equal ones, and return the others."""
    suspects: dict[Name, tuple[Entry | None, Entry | None]] = {}
    for db in sorted({*upstream.databases(), *replica.databases()}):
        theirs: dict[bytes, Entry] = {}
        for page in replica.pages(db):
            theirs |= {key: entry for key, entry in page.items() if not is_mark(key)}
            pulse()
        seen: set[bytes] = set()
        for page in upstream.pages(db):
            pulse()
            for key, ours in page.items():
                if key in seen or is_mark(key):
                    continue
                seen.add(key)
                other = theirs.pop(key, None)
                if is_same(ours, other, _slack_ms(upstream, replica)):
                    result.add_equal(ours if other is not None else None)
                else:
                    suspects[db, key] = ours, other
        for key, other in theirs.items():
            if not is_same(None, other, _slack_ms(upstream, replica)):
                suspects[db, key] = None, other
    return suspects


def _look_again(
    upstream: KeySource,
    replica: KeySource,
    before: dict[Name, Entry | None],
    result: Verification,
    *,
    settle: Callable[[float], None],
    rounds_s: Sequence[float],
) -> None:
    """Read keys again in rounds. ``before``: the keys, with the upstream's last value."""
    steady: dict[Name, Difference] = {}
    for wait_s in rounds_s:
        settle(wait_s)
        theirs = _read(replica, before)
        ours = _read(upstream, before)
        slack_ms = _slack_ms(upstream, replica)
        steady = {}
        for name in list(before):
            mine, other = ours.get(name), theirs.get(name)
            if is_same(mine, other, slack_ms):
                del before[name]
                result.reread += 1
                result.add_equal(mine if other is not None else None)
            else:
                if is_same(before[name], mine, slack_ms):
                    steady[name] = Difference(*name, mine, other)
                before[name] = mine
        if not before:
            break
    result.restless += len(before) - len(steady)
    for difference in steady.values():
        result.add_different(difference)


def _read(source: KeySource, names: dict[Name, Entry | None]) -> dict[Name, Entry]:
    by_db: dict[int, list[bytes]] = {}
    for db, key in names:
        by_db.setdefault(db, []).append(key)
    return {(db, key): entry for db, keys in by_db.items() for key, entry in source.read(db, keys).items()}
