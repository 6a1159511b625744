"""Bodies of KEVYSNAP and entries for them."""

from __future__ import annotations

from kevy_ring.replica.snapshots.entry import Entry
from places import DATA

FIELDS_EXPIRE = [
    Entry(b"h", "hash", {b"a": b"1", b"b": b"2", b"c": b"3"}, None, 0, {b"a": 1_796_342_936_601, b"c": 4}),
    Entry(b"plain", "hash", {b"a": b"1"}, 5),
    Entry(b"s", "string", b"v"),
]


def body_of_kevy_5_4() -> bytes:
    """The snapshot of version 6 that a real kevy 5.4 sent."""
    wire = (DATA / "kevy-5.4-snapshot-6.bin").read_bytes()
    start = wire.index(b"KEVYSNAP")
    length = int(wire[wire.rindex(b"$", 0, start) + 1 : start].strip())
    return wire[start : start + length]
