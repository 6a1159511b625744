"""One look at a batch finds the same commands for whole databases as a look at every name."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kevy_ring import Frame, ReplicaInboxReceiver, ReplicaInboxSender
from kevy_ring.shard.sinks.redis.database_commands import WATCHED, selected_database, watched_frames

Pair = tuple[ReplicaInboxSender, ReplicaInboxReceiver]


def found_in(pair: Pair, commands: list[list[bytes]]) -> list[tuple[int, bytes]]:
    sender, receiver = pair
    sender.send_many([Frame(offset, argv) for offset, argv in enumerate(commands)])
    while not len(batch := receiver.drain(len(commands))):
        assert receiver.wait(20)  # wait for the pump: a frame may be larger than the ring
    with batch:
        assert len(batch) == len(commands)
        return watched_frames(batch)


def expected_of(commands: list[list[bytes]]) -> list[tuple[int, bytes]]:
    return [(number, argv[0].upper()) for number, argv in enumerate(commands) if argv[0].upper() in WATCHED]


def test_each_name_is_found_in_every_spelling_and_with_any_number_of_arguments(pair: Pair) -> None:
    for name in sorted(WATCHED):
        spellings = [bytes(letters) for letters in product(*zip(name, name.lower(), strict=True))]
        commands = [[spelling, *([b"x"] * (number % 9))] for number, spelling in enumerate(spellings)]
        assert found_in(pair, commands) == [(number, name) for number in range(len(spellings))]


@pytest.mark.parametrize("name", sorted(WATCHED))
def test_what_only_resembles_a_name_is_not_found(pair: Pair, name: bytes) -> None:
    longer = [name + byte for byte in (b"\x00", b" ", b"x", b"x" * 300)]
    changed = [name[:at] + bytes([byte]) + name[at + 1 :] for at in range(len(name)) for byte in (0, name[at] ^ 0x80)]
    # The arguments have no gap between them, so a name and its argument may together look like another name.
    split = [[name[:at], name[at:]] for at in range(len(name))]
    assert found_in(pair, [*([each, b"0"] for each in longer + changed), *split, [name[:-1]], [b""]]) == []


names = st.one_of(st.binary(max_size=10), st.sampled_from(sorted(WATCHED)).map(bytes.lower), st.sampled_from([b"SET"]))


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(names, st.lists(st.binary(max_size=12), max_size=5)), min_size=1, max_size=30))
def test_a_batch_is_looked_at_as_name_by_name(pair: Pair, commands: list[tuple[bytes, list[bytes]]]) -> None:
    sent = [[name, *rest] for name, rest in commands]
    assert found_in(pair, sent) == expected_of(sent)


def test_a_frame_larger_than_the_ring_is_looked_at_too(pair: Pair) -> None:
    assert found_in(pair, [[b"FlushAll", bytes(200_000)]]) == [(0, b"FLUSHALL")]


def test_a_select_that_names_no_database_selects_none() -> None:
    assert selected_database([b"SELECT", memoryview(b"12")]) == 12
    assert [selected_database(argv) for argv in ([b"SELECT"], [b"SELECT", b"-1"], [b"SELECT", b"1", b"2"])] == [
        None
    ] * 3
