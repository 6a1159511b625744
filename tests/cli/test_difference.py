"""The words for a difference between two keyspaces."""

from __future__ import annotations

from typing import Any

import pytest

from kevy_ring.cli.compare.difference import Difference, is_same
from kevy_ring.replica.snapshots.entry import Entry, Stream, StreamGroup

STREAM = Stream((5, 0), (0, 0), 1, [(5, 0, [(b"f", b"v")])], [StreamGroup(b"g", (5, 0))])


@pytest.mark.parametrize(
    ("kind", "ours", "theirs", "words"),
    [
        ("string", b"a\x1b[31m", b"b", r"string 'a\x1b[31m' in the upstream, 'b' in the replica"),
        ("string", b"x" * 30 + b"1", b"x" * 30,
         "string of 31 bytes in the upstream, of 30 in the replica, different from byte 30 on"),
        ("hash", {b"f": b"1"}, {}, "hash, field 'f': '1' in the upstream, nothing in the replica"),
        ("hash", {b"f": b"1"}, {b"f": b"1", b"g": b""}, "hash, field 'g': nothing in the upstream, '' in the replica"),
        ("zset", {b"m": 1.5}, {b"m": 2.0}, "zset, member 'm': 1.5 in the upstream, 2.0 in the replica"),
        ("set", {b"a", b"b", b"c"}, {b"a"}, "set, 2 members missing in the replica, as 'b'"),
        ("set", {b"a"}, {b"a", b"b"}, "set, 1 member too many in the replica, as 'b'"),
        ("list", [b"a", b"b"], [b"a", b"c"], "list, element 1: 'b' in the upstream, 'c' in the replica"),
        ("list", [b"a"], [b"a", b"c"], "list of 1 elements in the upstream, 2 elements in the replica"),
        ("stream", STREAM, Stream((5, 0)),
         "stream of 1 entries up to 5-0 and 1 group in the upstream, 0 entries up to 5-0 and 0 groups in the replica"),
    ],
)  # fmt: skip
def test_the_first_part_that_differs_is_named(kind: str, ours: Any, theirs: Any, words: str) -> None:
    one, other = Entry(b"k", kind, ours), Entry(b"k", kind, theirs)
    assert not is_same(one, other, 0)
    assert Difference(0, b"k", one, other).text == words


def test_types_and_expiries_are_named() -> None:
    string, number = Entry(b"k", "string", b""), Entry(b"k", "list", [b""])
    assert Difference(3, b"k\xff", string, number).text == "the upstream has a string, the replica a list"
    assert str(Difference(3, b"k\xff", string, number)).startswith(r"key 'k\xff' in database 3: ")
    for ms, when in ((1_000, "expires 1970-01-01 00:00:01.000 UTC"), (2**63, f"expires at {2**63} ms")):
        words = Difference(0, b"k", string, Entry(b"k", "string", b"", ms)).text
        assert words == f"the upstream's string does not expire, the replica's {when}"


def test_streams_are_compared_by_what_every_server_tells() -> None:
    other = Stream((5, 0), (3, 3), 9, [(5, 0, [(b"f", b"v")])], [StreamGroup(b"g", (5, 0), [(b"c", 1)])])
    assert is_same(Entry(b"s", "stream", STREAM), Entry(b"s", "stream", other), 0)
