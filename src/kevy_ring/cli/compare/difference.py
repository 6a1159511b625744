"""A key that differs between the two sides, and the text that says how."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from kevy_ring.cli import figures
from kevy_ring.replica.snapshots.entry import Entry, Stream

_MISSING = object()
# If two values are equal for longer than this, their beginnings do not show the difference.
_SAME_START_BYTES = 20
# datetime cannot show a later time.
_LAST_YEAR_MS = 253_402_300_799_000


@dataclass(frozen=True, slots=True)
class Difference:
    """``upstream`` and ``replica`` are None if the key does not exist there."""

    db: int
    key: bytes
    upstream: Entry | None
    replica: Entry | None

    def __str__(self) -> str:
        where = f"key {figures.text(self.key)}" + (f" in database {self.db}" if self.db else "")
        return f"{where}: {self.text}"

    @property
    def text(self) -> str:
        """The difference, without the key's name."""
        if self.replica is None:
            assert self.upstream is not None
            return f"a {self.upstream.type} of the upstream that the replica lacks"
        if self.upstream is None:
            return f"a {self.replica.type} of the replica that the upstream lacks"
        if self.upstream.type != self.replica.type:
            return f"the upstream has a {self.upstream.type}, the replica a {self.replica.type}"
        if not is_same_value(self.upstream, self.replica):
            return _value_text(self.upstream, self.replica)
        ours, theirs = _expiry(self.upstream), _expiry(self.replica)
        return f"the upstream's {self.upstream.type} {ours}, the replica's {theirs}"


def is_same(one: Entry | None, other: Entry | None, slack_ms: int) -> bool:
    """Whether both sides of a key agree in type, value and expiry. Expiries may differ by ``slack_ms``.

    A key whose expiry has passed counts as gone, even if a server still holds it.
    """
    if one is None or other is None:
        left = one or other
        return left is None or is_expired(left, slack_ms)
    if is_expired(one, slack_ms) and is_expired(other, slack_ms):
        return True
    if one.type != other.type or not is_same_value(one, other):
        return False
    if one.expires_at_ms is None or other.expires_at_ms is None:
        return one.expires_at_ms is other.expires_at_ms
    return abs(one.expires_at_ms - other.expires_at_ms) <= slack_ms


def is_expired(entry: Entry, slack_ms: int) -> bool:
    """Whether the key's expiry has passed, by this machine's clock."""
    return entry.expires_at_ms is not None and entry.expires_at_ms <= time.time_ns() // 1_000_000 + slack_ms


def is_same_value(one: Entry, other: Entry) -> bool:
    """Whether the values are equal. Of streams: the entries, the last id and the groups, which every store can tell."""
    if isinstance(one.value, Stream) and isinstance(other.value, Stream):
        return _stream_facts(one.value) == _stream_facts(other.value)
    return bool(one.value == other.value)


def _stream_facts(stream: Stream) -> tuple[object, ...]:
    return stream.last_id, stream.entries, sorted((group.name, group.last_id) for group in stream.groups)


def _expiry(entry: Entry) -> str:
    if entry.expires_at_ms is None:
        return "does not expire"
    if not 0 <= entry.expires_at_ms <= _LAST_YEAR_MS:
        return f"expires at {entry.expires_at_ms} ms"
    at = datetime.fromtimestamp(entry.expires_at_ms / 1000, UTC)
    return f"expires {at:%Y-%m-%d %H:%M:%S}.{entry.expires_at_ms % 1000:03} UTC"


def _value_text(upstream: Entry, replica: Entry) -> str:
    ours, theirs = upstream.value, replica.value
    kind = upstream.type
    if isinstance(ours, bytes) and isinstance(theirs, bytes):
        return f"string {_sides(ours, theirs)}"
    if isinstance(ours, dict) and isinstance(theirs, dict):
        part = "field" if kind == "hash" else "member"
        for name in [*ours, *theirs]:
            mine, other = ours.get(name, _MISSING), theirs.get(name, _MISSING)
            if mine != other:
                return f"{kind}, {part} {figures.text(name)}: {_sides(mine, other)}"
    if isinstance(ours, set) and isinstance(theirs, set):
        return f"set, {_set_text(ours, theirs)}"
    if isinstance(ours, list) and isinstance(theirs, list):
        at = next((i for i, pair in enumerate(zip(ours, theirs, strict=False)) if pair[0] != pair[1]), None)
        if at is not None:
            return f"list, element {at}: {_sides(ours[at], theirs[at])}"
        return f"list of {_sides(f'{len(ours)} elements', f'{len(theirs)} elements')}"
    if isinstance(ours, Stream) and isinstance(theirs, Stream):
        return f"stream of {_sides(_stream_text(ours), _stream_text(theirs))}"
    return f"{kind} values that differ"


def _sides(ours: Any, theirs: Any) -> str:
    if isinstance(ours, bytes) and isinstance(theirs, bytes):
        pairs = enumerate(zip(ours, theirs, strict=False))
        at = next((at for at, (one, other) in pairs if one != other), min(len(ours), len(theirs)))
        if at > _SAME_START_BYTES:
            sizes = (
                f"of {figures.count(len(ours))} bytes in the upstream, of {figures.count(len(theirs))} in the replica"
            )
            return f"{sizes}, different from byte {figures.count(at)} on"
    return f"{_part(ours)} in the upstream, {_part(theirs)} in the replica"


def _set_text(ours: set[bytes], theirs: set[bytes]) -> str:
    missing, extra = sorted(ours - theirs), sorted(theirs - ours)
    if missing:
        return f"{figures.plural(len(missing), 'member')} missing in the replica, as {figures.text(missing[0])}"
    return f"{figures.plural(len(extra), 'member')} too many in the replica, as {figures.text(extra[0])}"


def _stream_text(stream: Stream) -> str:
    groups = figures.plural(len(stream.groups), "group")
    return f"{len(stream.entries)} entries up to {stream.last_id[0]}-{stream.last_id[1]} and {groups}"


def _part(value: Any) -> str:
    if value is _MISSING:
        return "nothing"
    return figures.text(value) if isinstance(value, bytes) else str(value)
