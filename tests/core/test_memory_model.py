"""The protocol of shared words under every behaviour that C11 allows, and the model itself under known verdicts.

The invariants I1 to I15 are those of docs/memory-model.md. The last table lists the mutants and the tests that find
each. `pytest -s tests/core/test_memory_model.py -k table` prints it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator
from functools import partial
from typing import Any

import pytest

import ring_protocol as ring
import ring_takeover as takeover
from memory_explorer import Explorer, Found
from places import ROOT
from ring_protocol import Core
from weak_memory import Step, exchange, load, read, store, write

ORDERS = ROOT / "csrc" / "tests" / "orders.sh"
FOUND_BY_RUNNING = ROOT / "csrc" / "tests" / "orders.txt"


# The model: litmus tests, each with the verdict of C11 on one outcome.

RLX, ACQ, REL, SC = "relaxed", "acquire", "release", "seq_cst"


def in_turn(*steps: Step) -> Generator[Step, Any, tuple[Any, ...]]:
    got: tuple[Any, ...] = ()
    for i in range(len(steps)):
        value = yield steps[i]
        if steps[i].kind in ("load", "read"):
            got = (*got, value)
    return got


def litmus(*threads: tuple[Step, ...]) -> Found:
    """Words x, y and z and the plain cell p, all 0 at first."""
    programs = {f"thread {i}": partial(in_turn, *steps) for i, steps in enumerate(threads)}
    return Explorer({"x": 0, "y": 0, "z": 0}, {"p": 0}, programs).run()


def add_one(word: str, order: str) -> Step:
    return exchange(word, lambda value: value + 1, order)


def message_passing(store_order: str, load_order: str) -> Found:
    return litmus((store("x", 1, RLX), store("y", 1, store_order)), (load("y", load_order), load("x", RLX)))


def store_buffering(store_order: str, load_order: str) -> Found:
    return litmus(
        (store("x", 1, store_order), load("y", load_order)), (store("y", 1, store_order), load("x", load_order))
    )


def load_buffering(load_order: str, store_order: str) -> Found:
    return litmus(
        (load("x", load_order), store("y", 1, store_order)), (load("y", load_order), store("x", 1, store_order))
    )


def coherent_reads(store_order: str, load_order: str) -> Found:
    return litmus(
        (store("x", 1, store_order), store("x", 2, store_order)), (load("x", load_order), load("x", load_order))
    )


def independent_reads(store_order: str, load_order: str) -> Found:
    return litmus(
        (store("x", 1, store_order),),
        (store("y", 1, store_order),),
        (load("x", load_order), load("y", load_order)),
        (load("y", load_order), load("x", load_order)),
    )


def write_to_read_causality(store_order: str, load_order: str) -> Found:
    return litmus(
        (store("x", 1, store_order),),
        (load("x", load_order), store("y", 1, store_order)),
        (load("y", load_order), load("x", RLX)),
    )


def three_in_a_chain(store_order: str, load_order: str) -> Found:
    return litmus(
        (store("x", 1, RLX), store("y", 1, store_order)),
        (load("y", load_order), store("z", 1, store_order)),
        (load("z", load_order), load("x", RLX)),
    )


def store_then_load(order: str, load_order: str) -> Found:
    return litmus((store("x", 1, order), store("y", 1, order)), (store("y", 2, order), load("x", load_order)))


def through_an_exchange(store_order: str, load_order: str) -> Found:
    return litmus(
        (store("x", 1, RLX), store("y", 1, store_order)), (add_one("y", RLX),), (load("y", load_order), load("x", RLX))
    )


def reordered_sc(store_order: str, load_order: str) -> Found:
    """Z6.U: the order of the sequentially consistent accesses against happens-before."""
    return litmus(
        (store("x", 1, SC), store("y", 1, store_order)),
        (exchange("y", lambda value: value + 1, SC), load("y", RLX)),
        (store("y", 3, SC), load("x", load_order)),
    )


WEAK_LITMUS: list[tuple[str, Callable[[str, str], Found], str, str, tuple[Any, ...]]] = [
    ("MP relaxed", message_passing, RLX, RLX, ((), (1, 0))),
    ("MP release and relaxed", message_passing, REL, RLX, ((), (1, 0))),
    ("MP relaxed and acquire", message_passing, RLX, ACQ, ((), (1, 0))),
    ("SB relaxed", store_buffering, RLX, RLX, ((0,), (0,))),
    ("SB release and acquire", store_buffering, REL, ACQ, ((0,), (0,))),
    ("SB seq_cst and acquire", store_buffering, SC, ACQ, ((0,), (0,))),
    ("SB release and seq_cst", store_buffering, REL, SC, ((0,), (0,))),
    ("IRIW relaxed", independent_reads, RLX, RLX, ((), (), (1, 0), (1, 0))),
    ("IRIW release and acquire", independent_reads, REL, ACQ, ((), (), (1, 0), (1, 0))),
    ("IRIW seq_cst and acquire", independent_reads, SC, ACQ, ((), (), (1, 0), (1, 0))),
    ("WRC relaxed", write_to_read_causality, RLX, RLX, ((), (1,), (1, 0))),
    ("ISA2 relaxed", three_in_a_chain, RLX, RLX, ((), (1,), (1, 0))),
    ("release sequence, relaxed", through_an_exchange, RLX, ACQ, ((), (1,), (2, 0))),
]
STRONG_LITMUS: list[tuple[str, Callable[[str, str], Found], str, str, tuple[Any, ...]]] = [
    ("MP release and acquire", message_passing, REL, ACQ, ((), (1, 0))),
    ("MP seq_cst", message_passing, SC, SC, ((), (1, 0))),
    ("SB seq_cst", store_buffering, SC, SC, ((0,), (0,))),
    ("CoRR relaxed", coherent_reads, RLX, RLX, ((), (2, 1))),
    ("CoRR relaxed, from the start", coherent_reads, RLX, RLX, ((), (1, 0))),
    ("IRIW seq_cst", independent_reads, SC, SC, ((), (), (1, 0), (1, 0))),
    ("WRC release and acquire", write_to_read_causality, REL, ACQ, ((), (1,), (1, 0))),
    ("ISA2 release and acquire", three_in_a_chain, REL, ACQ, ((), (1,), (1, 0))),
    ("release sequence", through_an_exchange, REL, ACQ, ((), (1,), (2, 0))),
    ("LB acquire and release", load_buffering, ACQ, REL, ((1,), (1,))),
]


@pytest.mark.parametrize(
    ("test", "store_order", "load_order", "outcome"),
    [row[1:] for row in WEAK_LITMUS],
    ids=[row[0] for row in WEAK_LITMUS],
)
def test_the_model_shows_what_c11_allows(
    test: Callable[[str, str], Found], store_order: str, load_order: str, outcome: Any
) -> None:
    assert outcome in test(store_order, load_order).outcomes


@pytest.mark.parametrize(
    ("test", "store_order", "load_order", "outcome"),
    [row[1:] for row in STRONG_LITMUS],
    ids=[row[0] for row in STRONG_LITMUS],
)
def test_the_model_never_shows_what_c11_forbids(
    test: Callable[[str, str], Found], store_order: str, load_order: str, outcome: Any
) -> None:
    found = test(store_order, load_order)
    assert found.wrong is None
    assert found.outcomes
    assert outcome not in found.outcomes


@pytest.mark.parametrize(("order", "allowed"), [(RLX, True), (REL, True), (SC, False)])
def test_two_stores_to_two_words_by_two_threads(order: str, allowed: bool) -> None:
    """2+2W: both words end with the store that its thread made first."""
    found = litmus((store("x", 1, order), store("y", 2, order)), (store("y", 1, order), store("x", 2, order)))
    assert ((1, 1) in {values[:2] for values in found.finals}) is allowed


@pytest.mark.parametrize(("order", "load_order", "allowed"), [(REL, ACQ, True), (REL, SC, True), (SC, SC, False)])
def test_a_store_that_comes_last_and_a_load_behind_it(order: str, load_order: str, allowed: bool) -> None:
    """R: the second store of y is last, and its thread still does not see x."""
    programs = store_then_load(order, load_order)
    ends = {results[1] for results, finals in programs.pairs if finals[1] == 2}
    assert ((0,) in ends) is allowed


def test_additions_are_atomic() -> None:
    found = litmus((add_one("x", RLX),), (add_one("x", RLX),))
    assert {values[0] for values in found.finals} == {2}


def test_a_plain_access_without_an_order_is_a_race() -> None:
    for store_order, load_order in ((RLX, ACQ), (REL, RLX)):
        found = litmus((write("p", 1), store("x", 1, store_order)), (load("x", load_order, until=bool), read("p")))
        assert found.wrong
    found = litmus((write("p", 1), store("x", 1, REL)), (load("x", ACQ, until=bool), read("p")))
    assert found.outcomes == {((), (1, 1))}


def test_a_wait_for_ever_is_found() -> None:
    assert litmus((load("x", RLX, until=bool),)).wrong == "thread 0 waits for x for ever"


def test_what_the_model_leaves_out() -> None:
    """C11 allows both; see the model's own text. No store of the ring depends on a relaxed load, and neither x86-64 nor
    aarch64 has the second."""
    assert ((1,), (1,)) not in load_buffering(RLX, RLX).outcomes
    assert ((), (1, 3), (0,)) not in reordered_sc(REL, SC).outcomes


# The protocol. I6, one byte for one request, is a matter of counting: csrc/tests/test_doorbell.c.

SCENARIOS: dict[str, Callable[[Core], Explorer]] = {
    "I1 I2 bytes and positions": ring.bytes_and_positions,
    "I3 sleep for records": ring.sleep_for_records,
    "I4 sleep for space": ring.sleep_for_space,
    "I5 watched descriptor": ring.watched_descriptor,
    "I7 the last record": takeover.the_last_record,
    "I8 one holder after another": takeover.one_holder_after_another,
    "I9 a new epoch": takeover.a_new_epoch,
    "I10 a new segment": takeover.a_new_segment,
    "I11 I12 resume after deaths": takeover.resume_after_deaths,
    "I13 a bell of the dead": takeover.a_bell_of_the_dead,
    "I14 stamps counted": ring.stamps_counted,
    "I15 stamps looked at": ring.stamps_looked_at,
}

MUTANTS: dict[str, tuple[str, Core]] = {
    # An order weakened.
    "publish_relaxed": ("I1", Core(("publish stores tail", RLX))),
    "publish_no_more_than_a_release": ("I3", Core(("publish stores tail", REL))),
    "request_read_as_acquire": ("I3", Core(("publish reads the request", ACQ))),
    "drain_reads_tail_relaxed": ("I1", Core(("drain reads tail", RLX))),
    "release_relaxed": ("I1", Core(("release stores head", RLX))),
    "release_no_more_than_a_release": ("I4", Core(("release stores head", REL))),
    "space_request_read_as_acquire": ("I4", Core(("release reads the request", ACQ))),
    "room_reads_head_relaxed": ("I1", Core(("room reads head", RLX))),
    "request_stored_relaxed": ("I3", Core(("arm stores the request", RLX))),
    "request_no_more_than_a_release": ("I3", Core(("arm stores the request", REL))),
    "look_reads_tail_as_acquire": ("I3", Core(("look reads tail", ACQ))),
    "tend_looks_as_acquire": ("I5", Core(("tend looks at tail", ACQ))),
    "tend_reads_the_reply_relaxed": ("I5", Core(("tend reads the reply", RLX))),
    "reply_relaxed": ("I5", Core(("reply", RLX))),
    "space_request_no_more_than_a_release": ("I4", Core(("arm stores the space request", REL))),
    "space_looked_at_as_acquire": ("I4", Core(("arm looks at head", ACQ))),
    "space_looked_at_relaxed": ("I4", Core(("arm looks at head", RLX))),
    "claim_given_up_relaxed": ("I7", Core(("holder gives the claim up", RLX))),
    "claim_read_relaxed": ("I7", Core(("look reads the claim", RLX))),
    "role_taken_relaxed": ("I8", Core(("taking the claim", RLX))),
    "epoch_stored_relaxed": ("I9", Core(("the epoch is stored", RLX))),
    "epoch_read_relaxed": ("I9", Core(("the epoch is read", RLX))),
    "magic_stored_relaxed": ("I10", Core(("the magic is stored", RLX))),
    "magic_read_relaxed": ("I10", Core(("the magic is read", RLX))),
    "stamps_stored_relaxed": ("I14", Core(("the number of stamps is stored", RLX))),
    "stamps_read_relaxed": ("I14", Core(("drain reads the number of stamps", RLX))),
    "times_read_tail_relaxed": ("I15", Core(("a look at the times reads tail", RLX))),
    # A step moved.
    "tail_before_the_bytes": ("I1", Core(move="tail_before_the_bytes")),
    "head_before_the_reading": ("I1", Core(move="head_before_the_reading")),
    "request_read_before_tail_is_stored": ("I3", Core(move="request_read_before_tail_is_stored")),
    "look_before_the_request": ("I3", Core(move="look_before_the_request")),
    "look_before_the_clearing": ("I3", Core(move="look_before_the_clearing")),
    "empties_without_asking_anew": ("I3", Core(move="empties_without_asking_anew")),
    "the_successor_trusts_the_doorbell": ("I5", Core(move="the_successor_trusts_the_doorbell")),
    "reply_before_the_byte": ("I5", Core(move="reply_before_the_byte")),
    "space_looked_at_before_the_request": ("I4", Core(move="space_looked_at_before_the_request")),
    "space_looked_at_before_the_clearing": ("I4", Core(move="space_looked_at_before_the_clearing")),
    "space_request_read_before_head_is_stored": ("I4", Core(move="space_request_read_before_head_is_stored")),
    "wanted_behind_the_request": ("I4", Core(move="wanted_behind_the_request")),
    "claim_after_the_tail": ("I7", Core(move="claim_after_the_tail")),
    "closed_before_the_last_publish": ("I7", Core(move="closed_before_the_last_publish")),
    "epoch_before_the_pid": ("I9", Core(move="epoch_before_the_pid")),
    "magic_before_the_geometry": ("I10", Core(move="magic_before_the_geometry")),
    "tail_before_the_resume_point": ("I11", Core(move="tail_before_the_resume_point")),
    "one_slot_for_the_resume_point": ("I11", Core(move="one_slot_for_the_resume_point")),
    "the_successor_writes_the_slot_it_found": ("I11", Core(move="the_successor_writes_the_slot_it_found")),
    "a_successor_does_not_ring": ("I13", Core(move="a_successor_does_not_ring")),
    "head_before_the_stamps_are_counted": ("I14", Core(move="head_before_the_stamps_are_counted")),
    "tail_before_the_stamp": ("I15", Core(move="tail_before_the_stamp")),
}

# Stronger than the protocol needs, because another access orders the same. docs/memory-model.md says which one.
SPARE: dict[str, tuple[str, Core]] = {
    "the stamp is stored": ("I11", Core(("the stamp is stored", RLX))),
    "the stamp is read": ("I11", Core(("finding reads the stamp", RLX))),
    "the stamp before the offset": ("I11", Core(move="the_stamp_first")),
    "the reply for space": ("I4", Core(("space reply", RLX))),
    "the claim looked at": ("I8", Core(("taking looks at the claim", RLX))),
    "the pid stored": ("I9", Core(("the pid is stored", RLX))),
    "the pid read": ("I9", Core(("the pid is read", RLX))),
}


def scenario_of(invariant: str) -> Callable[[Core], Explorer]:
    return next(make for name, make in SCENARIOS.items() if invariant in name.split())


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_protocol_holds(scenario: str) -> None:
    found = SCENARIOS[scenario](Core()).run()
    assert found.wrong is None
    assert found.outcomes


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_mutant_is_found(mutant: str) -> None:
    invariant, core = MUTANTS[mutant]
    assert scenario_of(invariant)(core).run().wrong


@pytest.mark.parametrize("order", SPARE)
def test_an_order_that_is_stronger_than_needed_may_be_weakened(order: str) -> None:
    """A failure here means that docs/memory-model.md states a wrong promise."""
    invariant, core = SPARE[order]
    assert scenario_of(invariant)(core).run().wrong is None


def found_by_running() -> dict[str, list[str]]:
    """Found by the thread sanitizer, by stress, or by a move or a death at every machine instruction."""
    rows = (line.split() for line in FOUND_BY_RUNNING.read_text(encoding="utf-8").splitlines() if line[:1] != "#")
    return {name: found for name, *found in rows}


def test_the_table_of_mutants() -> None:
    """csrc/tests/orders.sh makes the same mistakes in the C core, runs each, and records the tests that found it."""
    rows = found_by_running()
    print(f"\n{'mutant':44}{'explorer':10}{'TSan':8}{'stress':8}{'steps':8}deaths")
    for mutant, (invariant, core) in MUTANTS.items():
        explorer = "yes" if scenario_of(invariant)(core).run().wrong else "no"
        tsan, stress, steps, deaths = rows[mutant]
        print(f"{mutant:44}{explorer:10}{tsan:8}{stress:8}{steps:8}{deaths}")
        assert explorer == "yes"


def test_the_mutants_of_the_model_are_those_of_the_c_core() -> None:
    made = re.findall(r"^mutant (\w+) ", ORDERS.read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(made) == sorted(MUTANTS)
    assert sorted(found_by_running()) == sorted(MUTANTS)


def test_each_invariant_is_cited_by_a_test_and_each_citation_is_one() -> None:
    page = (ROOT / "docs" / "memory-model.md").read_text(encoding="utf-8")
    stated = set(re.findall(r"^\*\*(I\d+)\.", page, re.MULTILINE))
    tests = [*(ROOT / "tests").rglob("test_*.py"), *(ROOT / "csrc" / "tests").glob("test_*.c")]
    cited = {name for path in tests for name in re.findall(r"\bI\d+\b", path.read_text(encoding="utf-8"))}
    assert stated == cited
