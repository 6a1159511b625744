"""The store reports the touched keys: rewriting only those keeps a copy equal to the store."""

from __future__ import annotations

import random
import time

import pytest

from kevy_ring.replica.snapshots.entry import Entry
from kevy_ring.shard.sinks.store.shortcut_probe import usable_shortcuts
from kevy_ring.shard.sinks.store.tracked_store import TrackedStore
from random_commands import random_command

State = dict[tuple[int, bytes], Entry]


def touched(store: TrackedStore) -> dict[int, tuple[set[bytes], bool]]:
    return {db: (set(keys), is_all) for db, keys, is_all in store.take_touched()}


def whole(store: TrackedStore) -> State:
    return {
        (db, key): entry
        for db in store.server.dbs
        for key in store.keys(db)
        if (entry := store.entry(db, key)) is not None
    }


def write_back(store: TrackedStore, state: State) -> None:
    """Rewrite the rows of the touched keys and no others, as the sqlite sink does."""
    for db, keys, is_all in store.take_touched():
        if is_all:
            for name in [name for name in state if name[0] == db]:
                del state[name]
        for key in store.keys(db) if is_all else keys:
            entry = store.entry(db, key)
            if entry is None:
                state.pop((db, key), None)
            else:
                state[db, key] = entry


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("has_shortcuts", [True, False])
def test_no_change_of_random_commands_is_missed(seed: int, has_shortcuts: bool) -> None:
    choose = random.Random(seed)
    store = TrackedStore(usable_shortcuts() if has_shortcuts else {})
    state: State = {}
    for number in range(1200):
        command = random_command(choose)
        rare = [
            *([b"SELECT", b"%d" % choose.randrange(3)], [b"SWAPDB", b"0", b"1"], [b"SWAPDB", b"2", b"7"]),
            *([b"FLUSHDB"], [b"PEXPIRE", b"k1", b"1"], [b"RENAME", b"k2", b"k3"], [b"DBSIZE"], [b"RANDOMKEY"]),
            [b"EVAL", b"redis.call('SET', KEYS[1], 'x') redis.call('DEL', 'k4')", b"1", b"k5"],
        ]
        if choose.random() < 0.1:
            command = choose.choice(rare)
        store.set_clock()
        store.run(command)
        if number % choose.randrange(1, 30) == 0:
            write_back(store, state)
            assert state == whole(store)
        if number % 400 == 0:
            time.sleep(0.003)
    write_back(store, state)
    assert state == whole(store)
    assert len(state) > 5


def test_only_what_a_command_took_is_touched() -> None:
    store = TrackedStore(usable_shortcuts())
    store.run([b"SET", b"a", b"1"])
    store.run([b"RPUSH", b"b", b"1"])
    assert touched(store) == {0: ({b"a", b"b"}, False)}
    assert touched(store) == {}
    store.run([b"RPUSH", b"b", b"2"])
    assert touched(store) == {0: ({b"b"}, False)}
    store.run([b"LRANGE", b"b", b"0", b"-1"])
    assert touched(store) == {0: ({b"b"}, False)}


def test_a_transaction_touches_at_its_exec() -> None:
    store = TrackedStore(usable_shortcuts())
    for command in (b"MULTI", b"SET a 1", b"RPUSH b 1"):
        store.run(command.split())
    assert touched(store) == {}
    store.run([b"EXEC"])
    assert touched(store) == {0: ({b"a", b"b"}, False)}


def test_flushing_and_swapping_touch_whole_databases() -> None:
    store = TrackedStore(usable_shortcuts())
    store.run([b"SET", b"a", b"1"])
    store.forget_touched()
    store.run([b"SWAPDB", b"0", b"4"])
    assert {db: is_all for db, (_, is_all) in touched(store).items()} == {0: True, 4: True}
    store.run([b"FLUSHALL"])
    assert {db: is_all for db, (_, is_all) in touched(store).items()} == {0: True, 4: True}
    assert whole(store) == {}


def test_a_swap_there_and_back_is_none() -> None:
    store = TrackedStore(usable_shortcuts())
    store.run([b"SET", b"a", b"1"])
    store.run([b"SWAPDB", b"0", b"4"])
    store.forget_touched()
    for _ in range(2):
        store.run([b"SWAPDB", b"0", b"4"])
    assert touched(store) == {}


def test_a_key_whose_time_has_come_goes_when_the_stream_says_so() -> None:
    store = TrackedStore(usable_shortcuts())
    store.put(Entry(b"old", "string", b"1", 1000))
    store.forget_touched()
    assert store.entry(0, b"old") == Entry(b"old", "string", b"1", 1000)
    store.set_clock()
    store.run([b"DBSIZE"])
    assert touched(store) == {}
    assert store.entry(0, b"old") is not None
    store.run([b"DEL", b"old"])
    assert touched(store) == {0: ({b"old"}, False)}
    assert store.entry(0, b"old") is None
