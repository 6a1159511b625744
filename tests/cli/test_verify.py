"""The comparison of two keyspaces while one or both may change."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

import pytest

from kevy_ring.cli.compare.verify import NAMED, Verification, compare
from kevy_ring.replica.snapshots.entry import Entry
from kevy_ring.shard.snapshot import SkippedKey

Keyspace = dict[bytes, Entry]


class Keys:
    """A key source of plain dictionaries by database; ``on_read`` is called after each ``read``."""

    def __init__(self, *databases: Keyspace, slack_ms: int = 0) -> None:
        self.at = dict(enumerate(databases))
        self.expiry_slack_ms = slack_ms
        self.on_read: Callable[[], None] = lambda: None

    def databases(self) -> list[int]:
        return [db for db, keyspace in self.at.items() if keyspace]

    def pages(self, db: int) -> Iterator[Keyspace]:
        for key, entry in list(self.at.get(db, {}).items()):
            yield {key: entry}

    def read(self, db: int, keys: Sequence[bytes]) -> Keyspace:
        found = {key: self.at[db][key] for key in keys if key in self.at.get(db, {})}
        self.on_read()
        return found


def strings(**values: str) -> Keyspace:
    return {key.encode(): Entry(key.encode(), "string", value.encode()) for key, value in values.items()}


def compare_moving(upstream: Keys, replica: Keys, settle: Callable[[float], None] = lambda _: None) -> Verification:
    return compare(upstream, replica, is_final=False, settle=settle, rounds_s=(1, 2, 3))


def test_what_is_the_same_on_both_sides_is_counted_by_type() -> None:
    both = strings(a="1", b="2") | {b"h": Entry(b"h", "hash", {b"f": b"v"})}
    found = compare(Keys(both, strings(c="3")), Keys(dict(both), strings(c="3")), is_final=True)
    assert found.is_equal
    assert (found.compared, dict(found.by_type)) == (4, {"string": 3, "hash": 1})
    assert str(found) == "4 keys are equal in type, value and expiry"


def test_missing_extra_and_changed_keys_are_told_in_every_database() -> None:
    upstream = Keys(strings(same="1", changed="1", missing="1"), strings(elsewhere="1"))
    replica = Keys(strings(same="1", changed="2", extra="1"))
    found = compare(upstream, replica, is_final=True)
    assert (found.different, found.compared) == (4, 1)
    assert {str(each) for each in found.differences} == {
        "key 'changed': string '1' in the upstream, '2' in the replica",
        "key 'missing': a string of the upstream that the replica lacks",
        "key 'extra': a string of the replica that the upstream lacks",
        "key 'elsewhere' in database 1: a string of the upstream that the replica lacks",
    }


def test_ten_differences_are_named_and_all_are_counted() -> None:
    found = compare(Keys(strings(**{f"k{n}": "1" for n in range(40)})), Keys(), is_final=True)
    assert (found.different, len(found.differences)) == (40, NAMED)


@pytest.mark.parametrize(("off_ms", "slack_ms", "is_equal"), [(0, 0, True), (1, 0, False), (5, 5, True), (6, 5, False)])
def test_expiries_are_equal_within_what_their_sources_can_tell(off_ms: int, slack_ms: int, is_equal: bool) -> None:
    far = 4_000_000_000_000
    one, other = Entry(b"k", "string", b"", far), Entry(b"k", "string", b"", far + off_ms)
    found = compare(Keys({b"k": one}, slack_ms=slack_ms), Keys({b"k": other}), is_final=True)
    assert found.is_equal is is_equal


def test_a_key_whose_time_has_come_may_be_gone_on_one_side() -> None:
    gone = Entry(b"k", "string", b"", int(time.time() * 1000) - 10)
    assert compare(Keys({b"k": gone}), Keys(), is_final=True).is_equal
    assert compare(Keys(), Keys({b"k": gone}), is_final=True).is_equal


def test_a_change_on_its_way_is_no_difference() -> None:
    upstream, replica = Keys(strings(k="new", gone="1")), Keys(strings(k="old", extra="1"))

    def arrive(seconds: float) -> None:
        replica.at[0] = dict(upstream.at[0])

    found = compare_moving(upstream, replica, arrive)
    assert found.is_equal
    assert (found.compared, found.reread, found.restless) == (2, 3, 0)


def test_a_key_that_stays_different_while_the_upstream_keeps_it_is_a_difference() -> None:
    waited: list[float] = []
    found = compare_moving(Keys(strings(k="1")), Keys(strings(k="2")), waited.append)
    assert (found.different, found.restless, waited) == (1, 0, [1, 2, 3])


def test_a_key_that_the_upstream_keeps_changing_is_left_open_and_told() -> None:
    upstream, replica = Keys(strings(hot="0")), Keys(strings(hot="behind"))
    turn = iter(range(100))
    upstream.on_read = lambda: upstream.at[0].update(strings(hot=str(next(turn) + 1)))
    found = compare_moving(upstream, replica)
    assert (found.different, found.restless) == (0, 1)


def test_types_whose_values_cannot_be_read_are_told_apart() -> None:
    both = {b"m": Entry(b"m", "ReJSON-RL", None)}
    found = compare(Keys(both), Keys(dict(both)), is_final=True)
    assert found.is_equal
    assert (found.compared, dict(found.unreadable)) == (0, {"ReJSON-RL": 1})


def test_what_the_pulse_raises_ends_the_comparison() -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compare(Keys(strings(a="1")), Keys(strings(a="1")), is_final=True, pulse=stop)


def test_comparisons_add_up() -> None:
    total = Verification()
    total += compare(Keys(strings(a="1", b="1")), Keys(strings(a="1")), is_final=True)
    total += compare(Keys(strings(a="1")), Keys(strings(a="1")), is_final=True)
    assert (total.compared, total.different, len(total.differences)) == (2, 1, 1)
    assert str(total) == "1 key differs between the upstream and the replica"


def test_keys_whose_time_has_come_on_both_sides_are_equal_whatever_is_left_of_them() -> None:
    past_ms = int(time.time() * 1000) - 1000
    one, other = Entry(b"k", "string", b"1", past_ms), Entry(b"k", "list", [b"2"], past_ms - 5000)
    assert compare(Keys({b"k": one}), Keys({b"k": other}), is_final=True).is_equal
    live = Entry(b"k", "list", [b"2"], past_ms + 1_000_000)
    assert not compare(Keys({b"k": one}), Keys({b"k": live}), is_final=True).is_equal


def test_keys_that_the_snapshot_skipped_are_not_compared_and_told() -> None:
    upstream = strings(a="1", b="1") | {b"x": Entry(b"x", "stream", None)}
    skipped = [SkippedKey(0, b"x", "stream")]
    found = compare(Keys(upstream), Keys(strings(a="1", b="2")), is_final=True, skipped=lambda: skipped)
    assert (found.different, found.compared, dict(found.skipped)) == (1, 1, {"stream": 1})
    assert found.not_compared == "1 key of type stream (skipped by the snapshot)"
    assert compare(Keys(strings(a="1")), Keys(strings(a="1")), is_final=True).not_compared == ""
