"""One key of a keyspace as a plain value, for snapshots and for comparing stores."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class StreamGroup:
    """A consumer group.

    ``consumers``: (name, seen at ms); ``pending``: (ms, seq, consumer, delivered at ms, deliveries).
    """

    name: bytes
    last_id: tuple[int, int]
    consumers: list[tuple[bytes, int]] = field(default_factory=list)
    pending: list[tuple[int, int, bytes, int, int]] = field(default_factory=list)


@dataclass(slots=True)
class Stream:
    """The value of a stream key. ``entries``: (ms, seq, [(field, value), ...]), as the primary sent them."""

    last_id: tuple[int, int] = (0, 0)
    max_deleted_id: tuple[int, int] = (0, 0)
    entries_added: int = 0
    entries: list[tuple[int, int, list[tuple[bytes, bytes]]]] = field(default_factory=list)
    groups: list[StreamGroup] = field(default_factory=list)


@dataclass(slots=True)
class Entry:
    """One key of a keyspace.

    ``type`` and ``value``: ``string`` bytes, ``hash`` dict of bytes to bytes, ``list`` list of bytes, ``set`` set of
    bytes, ``zset`` dict of bytes to float, ``stream`` :class:`Stream`. ``expires_at_ms``: absolute Unix milliseconds,
    None without an expiry, possibly in the past. ``field_expiries``: the same for the fields of a hash that have one,
    by field; None where there are none.
    """

    key: bytes
    type: str
    value: Any
    expires_at_ms: int | None = None
    db: int = 0
    field_expiries: dict[bytes, int] | None = None
