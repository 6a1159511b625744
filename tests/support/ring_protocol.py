"""The steps of the C core on shared words, with their memory orders, for the explorer to try.

Each program has the name of the function that it follows. `Core.order` gives an access the order of the C code, or the
weaker one of a mutant. `Core.moved` says which step a mutant moves. Positions are numbers of records, and one step is
one access of a word. Private state of a side is a variable here too.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from functools import partial
from operator import lt
from typing import Any

from memory_explorer import Explorer
from weak_memory import Step, Wrong, exchange, load, read, store, write

Steps = Generator[Step, Any, Any]


@dataclass(frozen=True)
class Core:
    weak: tuple[str, str] = ("", "")
    move: str = ""

    def order(self, access: str, order: str) -> str:
        return self.weak[1] if access == self.weak[0] else order

    def moved(self, move: str) -> bool:
        return move == self.move


def must(condition: bool, wrong: str) -> None:
    if not condition:
        raise Wrong(wrong)


# Bytes and positions: a ring with room for two records. Four records pass through it in two publishes.

ROOM, RECORDS = 2, 4


def write_records(core: Core) -> Steps:
    staged = head = 0
    while staged < RECORDS:
        if staged - head == ROOM:  # kr_producer_room()
            head = yield load("head", core.order("room reads head", "acquire"), until=partial(lt, head))
        if core.moved("tail_before_the_bytes"):
            yield store("tail", staged + 1, core.order("publish stores tail", "seq_cst"))
        yield write(f"record {staged % ROOM}", staged)
        staged += 1
        if staged % 2 == 0 or staged - head == ROOM:  # kr_producer_publish_locked()
            yield store("tail", staged, core.order("publish stores tail", "seq_cst"))


def drain_records(core: Core) -> Steps:
    drained = 0
    while drained < RECORDS:
        tail = yield load("tail", core.order("drain reads tail", "acquire"), until=partial(lt, drained))
        if core.moved("head_before_the_reading"):
            yield store("head", tail, "seq_cst")
        while drained < tail:
            record = yield read(f"record {drained % ROOM}")
            must(record == drained, "a record is torn, lost or doubled")
            drained += 1
        yield store("head", drained, core.order("release stores head", "seq_cst"))  # kr_consumer_release()


def bytes_and_positions(core: Core) -> Explorer:
    return Explorer(
        {"tail": 0, "head": 0},
        {"record 0": None, "record 1": None},
        {"producer": partial(write_records, core), "consumer": partial(drain_records, core)},
    )


# Sleep and wake. The FIFO is 0 (empty) or 1. Its accesses are atomic, and the model assumes that they order nothing.


def ring_bell(bell: str) -> Step:
    return exchange(bell, lambda byte: 1, "relaxed")


def clear_bell(bell: str) -> Step:
    return exchange(bell, lambda byte: 0, "relaxed")


def sleep_on(bell: str) -> Step:
    return load(bell, "relaxed", until=bool)


def ring_data_bell(core: Core, request: int) -> Steps:
    reply = store("data_reply", request, core.order("reply", "release"))
    if core.moved("reply_before_the_byte"):
        yield reply
        yield ring_bell("data_bell")
        return
    yield ring_bell("data_bell")
    yield reply


def publish(core: Core, tail: int, reply: int) -> Steps:
    """kr_producer_publish_locked(), without the bytes. Returns the last request that it answered."""
    early = None
    if core.moved("request_read_before_tail_is_stored"):
        early = yield load("data_request", core.order("publish reads the request", "seq_cst"))
    yield store("tail", tail, core.order("publish stores tail", "seq_cst"))
    request = (
        early if early is not None else (yield load("data_request", core.order("publish reads the request", "seq_cst")))
    )
    if request != reply:
        yield from ring_data_bell(core, request)
    return request


def publish_each(core: Core, records: int) -> Steps:
    reply = 0
    for tail in range(1, records + 1):
        reply = yield from publish(core, tail, reply)


def arm(core: Core, request: int) -> Steps:
    """kr_consumer_arm(). Returns the new request."""
    honoured = core.moved("empties_without_asking_anew") and (yield load("data_reply", "acquire")) == request
    yield clear_bell("data_bell")
    if core.moved("empties_without_asking_anew") and request and not honoured:
        return request
    yield store("data_request", request + 1, core.order("arm stores the request", "seq_cst"))
    return request + 1


def look(core: Core, drained: int) -> Steps:
    return (yield load("tail", core.order("look reads tail", "seq_cst"))) != drained


def wait(core: Core, drained: int, request: int) -> Steps:
    """kr_consumer_wait(). Returns the last request made. If news wakes it, its byte stays for the next sleep."""
    if (yield from look(core, drained)):
        return request
    asleep = False
    while True:
        found = asleep and (yield from look(core, drained))
        if not found:
            if core.moved("look_before_the_request"):
                found = yield from look(core, drained)
                request = yield from arm(core, request)
            else:
                request = yield from arm(core, request)
                found = yield from look(core, drained)
            if core.moved("look_before_the_clearing"):
                yield clear_bell("data_bell")
        if found:
            return request
        yield sleep_on("data_bell")
        asleep = True


def wait_and_drain(core: Core, records: int) -> Steps:
    drained = request = 0
    while drained < records:
        request = yield from wait(core, drained, request)
        drained = yield load("tail", "acquire")


DATA = {"tail": 0, "data_request": 0, "data_reply": 0, "data_bell": 0}


def sleep_for_records(core: Core) -> Explorer:
    return Explorer(
        DATA, {}, {"producer": partial(publish_each, core, 3), "consumer": partial(wait_and_drain, core, 3)}
    )


def tend(core: Core, end: int, tail: int, request: int, rung: bool) -> Steps:
    """kr_consumer_tend(), for a descriptor of an event loop. Returns the request, and whether this side rang."""
    if end != tail:
        if (yield load("data_reply", core.order("tend reads the reply", "acquire"))) != request and not rung:
            yield ring_bell("data_bell")
            rung = True
        must((yield load("data_bell", "relaxed")) == 1, "the descriptor is silent while records wait")
        return request, rung
    request = yield from arm(core, request)
    if (yield load("tail", core.order("tend looks at tail", "seq_cst"))) != end:
        yield ring_bell("data_bell")
        return request, True
    return request, False


def watch_and_drain(core: Core, records: int) -> Steps:
    drained = request = 0
    if not core.moved("the_successor_trusts_the_doorbell"):  # kr_consumer_open()
        request = yield from arm(core, request)
    tail = yield load("tail", "acquire")
    request, rung = yield from tend(core, drained, tail, request, False)
    while drained < records:
        yield sleep_on("data_bell")
        tail = yield load("tail", "acquire")
        drained = min(drained + 1, tail)  # a budget of one record
        request, rung = yield from tend(core, drained, tail, request, rung)


def watched_descriptor(core: Core) -> Explorer:
    return Explorer(
        DATA, {}, {"producer": partial(publish_each, core, 2), "consumer": partial(watch_and_drain, core, 2)}
    )


# The other direction: the producer first needs more room than the next release gives, then less.


def arm_for_space(core: Core, wanted: int, request: int) -> Steps:
    """kr_producer_arm(). `wanted` is the head at which there is room. Returns the head that it saw."""
    early = None
    if core.moved("space_looked_at_before_the_request"):
        early = yield load("head", core.order("arm looks at head", "seq_cst"))
    if not core.moved("wanted_behind_the_request"):
        yield store("space_wanted", wanted, "relaxed")
    yield store("space_request", request, core.order("arm stores the space request", "seq_cst"))
    if core.moved("wanted_behind_the_request"):
        yield store("space_wanted", wanted, "relaxed")
    if early is not None:
        return early
    return (yield load("head", core.order("arm looks at head", "seq_cst")))


def wait_for_space(core: Core) -> Steps:
    """kr_producer_wait(): gives up a wait for the room of two records, and then waits for the room of one."""
    request = 1
    yield clear_bell("space_bell")
    head = yield from arm_for_space(core, 2, request)
    while head < 1:
        request += 1
        yield clear_bell("space_bell")
        head = yield from arm_for_space(core, 1, request)
        if core.moved("space_looked_at_before_the_clearing"):
            yield clear_bell("space_bell")
        if head < 1:
            yield sleep_on("space_bell")
            head = yield load("head", core.order("room reads head", "acquire"))
    yield write("record", "new")


def release_once(core: Core) -> Steps:
    """kr_consumer_release()."""
    yield read("record")
    reads_request = load("space_request", core.order("release reads the request", "seq_cst"))
    early = (yield reads_request) if core.moved("space_request_read_before_head_is_stored") else None
    yield store("head", 1, core.order("release stores head", "seq_cst"))
    request = early if early is not None else (yield reads_request)
    if request and (yield load("space_wanted", "relaxed")) <= 1:
        yield ring_bell("space_bell")
        yield store("space_reply", request, core.order("space reply", "release"))


def sleep_for_space(core: Core) -> Explorer:
    words = {"head": 0, "space_request": 0, "space_wanted": 0, "space_reply": 0, "space_bell": 0}
    return Explorer(
        words, {"record": "old"}, {"producer": partial(wait_for_space, core), "consumer": partial(release_once, core)}
    )


# Stamps: three pass through two slots. The record at position n is published at time n.

SLOTS, STAMPS = 2, 3


def publish_stamped(core: Core, stamps: int) -> Steps:
    for number in range(1, stamps + 1):
        if number > SLOTS:  # kr_stamp_make(), which makes no stamp if the slot is in use; this model waits for the slot
            yield load("head", "acquire", until=partial(lt, number - SLOTS - 1))
        slot = (number - 1) % SLOTS
        early = core.moved("tail_before_the_stamp")
        if early:
            yield store("tail", number, "seq_cst")
        yield store(f"place {slot}", number, "relaxed")
        yield store(f"moment {slot}", number, "relaxed")
        yield store("stamps", number, core.order("the number of stamps is stored", "release"))
        if not early:
            yield store("tail", number, "seq_cst")


def release_and_count(core: Core, stamps: int) -> Steps:
    """kr_consumer_drain() of all records, and kr_consumer_release() with kr_stamps_count()."""
    head = counted = 0
    while head < stamps:
        end = yield load("tail", "acquire", until=partial(lt, head))
        made = yield load("stamps", core.order("drain reads the number of stamps", "acquire"))
        if core.moved("head_before_the_stamps_are_counted"):
            yield store("head", end, "seq_cst")
        while counted < made:
            place = yield load(f"place {counted % SLOTS}", "relaxed")
            if place > end:
                break  # its record is still in the ring
            counted += 1
            must(place == counted, "a stamp is lost")
            must((yield load(f"moment {(counted - 1) % SLOTS}", "relaxed")) == place, "the time of another record")
        head = end
        yield store("head", head, "seq_cst")
    must(counted == stamps, "a stamp is lost")


def look_from_outside(core: Core) -> Steps:
    """kr_map_times(), at one slot."""
    head = yield load("head", "acquire")
    tail = yield load("tail", core.order("a look at the times reads tail", "acquire"))
    place = yield load("place 0", "relaxed")
    moment = yield load("moment 0", "relaxed")
    if head < place <= tail:
        must(moment >= place, "a record seems to wait longer than it does")


def release_each(stamps: int) -> Steps:
    for head in range(1, stamps + 1):
        yield load("tail", "acquire", until=partial(lt, head - 1))
        yield store("head", head, "seq_cst")


STAMP_WORDS = {"tail": 0, "head": 0, "stamps": 0, **{f"{word} {n}": 0 for word in ("place", "moment") for n in (0, 1)}}


def stamps_counted(core: Core) -> Explorer:
    programs = {
        "producer": partial(publish_stamped, core, STAMPS),
        "consumer": partial(release_and_count, core, STAMPS),
    }
    return Explorer(STAMP_WORDS, {}, programs)


def stamps_looked_at(core: Core) -> Explorer:
    return Explorer(
        STAMP_WORDS,
        {},
        {
            "producer": partial(publish_stamped, core, STAMPS),
            "consumer": partial(release_each, STAMPS),
            "outside": partial(look_from_outside, core),
        },
    )
