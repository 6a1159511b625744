"""The steps of roles, deaths and successors with the memory orders of the C core, for the explorer to try."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from memory_explorer import DEAD, Explorer
from ring_protocol import DATA, Core, Steps, arm, must, publish, ring_bell, ring_data_bell, sleep_on, wait_and_drain
from weak_memory import exchange, load, read, store, write

CLOSED, HELD = -1, 7

# A process that sees a role given up also sees everything that the holder published.


def publish_and_close(core: Core) -> Steps:
    if not core.moved("closed_before_the_last_publish"):
        yield from publish(core, 1, 0)
    yield store("claim", CLOSED, core.order("holder gives the claim up", "release"))
    if core.moved("closed_before_the_last_publish"):
        yield from publish(core, 1, 0)
    yield ring_bell("data_bell")


def wait_until_gone(core: Core) -> Steps:
    """look() of kr_consumer_wait(), with the claim."""
    request, early = 0, -1
    while True:
        request = yield from arm(core, request)
        if core.moved("claim_after_the_tail"):
            early = yield load("tail", "seq_cst")
        gone = (yield load("claim", core.order("look reads the claim", "acquire"))) == CLOSED
        tail = early if core.moved("claim_after_the_tail") else (yield load("tail", "seq_cst"))
        if tail:
            return
        must(not gone, "the producer is said to be gone while a record waits")
        yield sleep_on("data_bell")


def the_last_record(core: Core) -> Explorer:
    threads = {"producer": partial(publish_and_close, core), "consumer": partial(wait_until_gone, core)}
    return Explorer({**DATA, "claim": HELD}, {}, threads)


def take_role(core: Core) -> Steps:
    """kr_role_take() of a role that was given up. The second process may have looked before the first took the role."""
    yield load("claim", core.order("taking looks at the claim", "acquire"), until=lambda word: word == CLOSED)
    yield exchange(
        "claim", lambda word: HELD, core.order("taking the claim", "acq_rel"), until=lambda word: word == CLOSED
    )
    words = yield read("the role's words")
    yield write("the role's words", words + 1)
    yield store("claim", CLOSED, core.order("holder gives the claim up", "release"))


def one_holder_after_another(core: Core) -> Explorer:
    return Explorer(
        {"claim": CLOSED},
        {"the role's words": 0},
        {"first": partial(take_role, core), "second": partial(take_role, core)},
    )


def announce(core: Core) -> Steps:
    """The end of kr_role_take()."""
    pid = store("pid", HELD, core.order("the pid is stored", "release"))
    epoch = store("epoch", 1, core.order("the epoch is stored", "release"))
    early = core.moved("epoch_before_the_pid")
    yield epoch if early else pid
    yield pid if early else epoch


def look_at_peer(core: Core) -> Steps:
    """kr_peer_look()."""
    if (yield load("epoch", core.order("the epoch is read", "acquire"))) == 1:
        must((yield load("pid", core.order("the pid is read", "acquire"))) == HELD, "a new epoch shows an old pid")


def a_new_epoch(core: Core) -> Explorer:
    return Explorer(
        {"pid": 0, "epoch": 0}, {}, {"holder": partial(announce, core), "peer": partial(look_at_peer, core)}
    )


def create(core: Core) -> Steps:
    magic = store("magic", 1, core.order("the magic is stored", "release"))
    if core.moved("magic_before_the_geometry"):
        yield magic
    yield write("geometry", 4096)
    if not core.moved("magic_before_the_geometry"):
        yield magic


def attach(core: Core) -> Steps:
    yield load("magic", core.order("the magic is read", "acquire"), until=bool)
    must((yield read("geometry")) == 4096, "the geometry is not there yet")


def a_new_segment(core: Core) -> Explorer:
    return Explorer({"magic": 0}, {"geometry": 0}, {"creator": partial(create, core), "other": partial(attach, core)})


# The resume point: two producers may die before any step. Each successor must find the point that belongs to the tail.

EVENTS = 2


def find_resume_point(core: Core, tail: int) -> Steps:
    """kr_note_find(). Returns the offset and the next slot to write."""
    offset, turn = 0, 0
    for slot in (0, 1):
        stamp = yield load(f"stamp {slot}", core.order("finding reads the stamp", "acquire"))
        if stamp == tail and tail:
            offset = yield load(f"offset {slot}", "relaxed")
            turn = slot if core.moved("the_successor_writes_the_slot_it_found") else 1 - slot
    return offset, turn


def write_resume_point(core: Core, offset: int, tail: int, turn: int) -> Steps:
    """kr_producer_publish_locked(), the part that writes the note."""
    stamp = store(f"stamp {turn}", tail, core.order("the stamp is stored", "release"))
    if core.moved("the_stamp_first"):
        yield stamp
    yield store(f"offset {turn}", offset, "relaxed")
    if not core.moved("the_stamp_first"):
        yield stamp


def produce_until_killed(core: Core, lives: int, events: int) -> Steps:
    """A producer that takes over from all that died before it, and continues where they stopped."""
    for life in range(1, lives + 1):
        yield load(f"claim {life}", "acquire", until=lambda word: word == DEAD)
    tail = yield load("tail", "acquire")
    offset, turn = yield from find_resume_point(core, tail)
    must(offset == tail, "the resume point is not that of the tail")
    for _ in range(events):
        tail, offset = tail + 1, offset + 1
        tail_is_stored = store("tail", tail, core.order("publish stores tail", "seq_cst"))
        if core.moved("tail_before_the_resume_point"):
            yield tail_is_stored
        yield from write_resume_point(core, offset, tail, turn)
        if not core.moved("tail_before_the_resume_point"):
            yield tail_is_stored
        turn = turn if core.moved("one_slot_for_the_resume_point") else 1 - turn


def resume_after_deaths(core: Core) -> Explorer:
    words: dict[str, Any] = {"tail": 0, "stamp 0": 0, "offset 0": 0, "stamp 1": 0, "offset 1": 0}
    words |= {"claim 1": HELD, "claim 2": HELD}
    lives: dict[str, Callable[[], Any]] = {
        "first": partial(produce_until_killed, core, 0, EVENTS + 1),
        "second": partial(produce_until_killed, core, 1, EVENTS),
        "third": partial(produce_until_killed, core, 2, 0),
    }
    return Explorer(words, {}, lives, mortal={"first": "claim 1", "second": "claim 2"})


# A producer dies anywhere in a publish. The consumer sleeps only on its FIFO, and the successor must wake it.


def publish_one(core: Core) -> Steps:
    yield from publish(core, 1, 0)


def take_over_and_publish(core: Core) -> Steps:
    """kr_producer_take(), and the records that the predecessor did not publish."""
    yield load("claim", "acquire", until=lambda word: word == DEAD)
    tail = yield load("tail", "acquire")
    reply = yield load("data_reply", "relaxed")
    if not core.moved("a_successor_does_not_ring"):
        reply = yield load("data_request", "seq_cst")
        yield from ring_data_bell(core, reply)
    if not tail:
        yield from publish(core, 1, reply)


def a_bell_of_the_dead(core: Core) -> Explorer:
    return Explorer(
        {**DATA, "claim": HELD},
        {},
        {
            "first": partial(publish_one, core),
            "second": partial(take_over_and_publish, core),
            "consumer": partial(wait_and_drain, core, 1),
        },
        mortal={"first": "claim"},
    )
