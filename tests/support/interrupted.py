"""Inboxes with a signal handler that raises at random moments: a program, and functions for tests.

    python tests/support/interrupted.py --inboxes 1000

Each inbox is used as in an application: single sends, lists, chunks written in place, clones, a flush, a close or no
close. A timer sends SIGALRM after 0.1 to 3 ms, and the exception of its handler may leave every call at any byte code.
Events that a call accepted must arrive once and in order. Events of an interrupted call may arrive. The receiver sees
the end of every inbox. Callbacks and log handlers raise too.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
import logging
import random
import signal
import sys
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from kevy_ring import ClosedError, Frame, ReplicaInboxReceiver, ReplicaInboxSender, RoleTaken, SnapshotChunk
from kevy_ring.ring import Consumer, Producer, Ring
from kevy_ring.ring.segment import Segment

CAPACITY = 1 << 14
SILENCE_S = 30.0  # an inbox that gives nothing for this long is stuck
USE_S = 0.01


class Interrupted(BaseException):
    """The exception of the handler, in the role of a KeyboardInterrupt or a test's timeout."""


class Timer:
    """Sends signals at random moments while it runs. ``count``: how often the handler raised."""

    def __init__(self, chance: random.Random, shortest_s: float = 0.0001, longest_s: float = 0.003) -> None:
        self._chance = chance
        self._between = shortest_s, longest_s
        self._is_on = False
        self.count = 0
        signal.signal(signal.SIGALRM, self._handle)

    def _handle(self, number: int, frame: object) -> None:
        if self._is_on:
            self.count += 1
            self._arm()
            raise Interrupted

    def _arm(self) -> None:
        signal.setitimer(signal.ITIMER_REAL, self._chance.uniform(*self._between))

    def run(self, body: Callable[[], object]) -> bool:
        """Call ``body`` under the signals. False: a signal interrupted it."""
        try:
            try:
                self._is_on = True
                self._arm()
                body()
                return True
            except (Interrupted, SystemExit):
                return False
            finally:
                self._is_on = False
        except Interrupted:  # the signal came between the last two lines
            return False
        finally:
            self._is_on = False
            signal.setitimer(signal.ITIMER_REAL, 0)


class RaisingHandler(logging.Handler):
    """A log handler that fails."""

    def emit(self, record: logging.LogRecord) -> None:
        raise SystemExit("of a handler of the log")


@dataclass
class Inbox:
    """One ring: the numbers that were tried, those that were certainly accepted, and those that arrived."""

    ring: Ring
    receiver: ReplicaInboxReceiver
    sender: ReplicaInboxSender | None
    accepted: list[int] = field(default_factory=list)
    next_number: int = 0
    arrived: list[int] = field(default_factory=list)
    role_taken: int = 0
    lost_by_close: int = 0

    def number(self) -> int:
        self.next_number += 1
        return self.next_number


def send_one(inbox: Inbox, sender: ReplicaInboxSender) -> None:
    number = inbox.number()
    sender.send(Frame(number, [b"SET", b"k", bytes(200)]))
    inbox.accepted.append(number)


def send_list(inbox: Inbox, sender: ReplicaInboxSender) -> None:
    numbers = [inbox.number() for _ in range(50)]
    sender.send_many([Frame(number, [b"SET", b"k", bytes(100)]) for number in numbers])
    inbox.accepted.extend(numbers)


def send_mixed(inbox: Inbox, sender: ReplicaInboxSender) -> None:
    """Send a list with chunks among the frames."""
    numbers = [inbox.number() for _ in range(10)]
    sender.send_many([Frame(n, (b"A", bytearray(b"x"))) if n % 2 else SnapshotChunk(b"%d" % n) for n in numbers])
    inbox.accepted.extend(numbers)


def write_chunk(inbox: Inbox, sender: ReplicaInboxSender) -> None:
    """Write a chunk in place, small (in C) or large (in Python). Half of the grants are left by an exception."""
    number = inbox.number()
    words = b"%d" % number
    length = 64 if number % 2 else (1 << 21)
    with sender.reserve_chunk(length) as grant:
        grant.view[: len(words)] = words
        grant.commit(len(words))
    inbox.accepted.append(number)


def use_clone(inbox: Inbox, sender: ReplicaInboxSender) -> None:
    with sender.clone() as clone:
        send_one(inbox, clone)


def flush(inbox: Inbox, sender: ReplicaInboxSender) -> None:
    sender.flush(0.002)


STEPS = (send_one, send_one, send_list, send_mixed, write_chunk, use_clone, flush)


def callback(overflow: object) -> None:
    raise SystemExit("of a callback")


def use(inbox: Inbox, chance: random.Random) -> None:
    """Use a sender as an application does. A signal may interrupt each step."""
    until = time.monotonic() + USE_S
    while time.monotonic() < until:
        try:
            assert inbox.sender is not None
            chance.choice(STEPS)(inbox, inbox.sender)
        except (Interrupted, SystemExit):  # raised by the timer, raised by a callback
            continue


def close(inbox: Inbox) -> None:
    """Repeat the call until no signal interrupts it."""
    while True:
        try:
            assert inbox.sender is not None
            inbox.lost_by_close += inbox.sender.close(timeout=60)
            return
        except (Interrupted, SystemExit):
            continue


def drop(inbox: Inbox) -> None:
    """Drop the sender without a close, with events in its overflow."""
    inbox.sender = None


def one_inbox(chance: random.Random, timer: Timer) -> Inbox:
    """Make, use and end an inbox."""
    ring = Ring.create(CAPACITY)
    inbox = Inbox(ring, ReplicaInboxReceiver.attach(ring.name), unclaimed(ring))
    assert inbox.sender is not None
    if chance.random() < 0.5:
        inbox.sender.watch_overflow(20_000, 1_000, callback)
    reader = threading.Thread(target=read_to_the_end, args=(inbox,), daemon=True)
    reader.start()
    try:
        while not timer.run(lambda: use(inbox, chance)):
            pass
        with contextlib.suppress(SystemExit):
            send_one(inbox, inbox.sender)  # without signals: the handle must still work
    except RoleTaken:
        inbox.role_taken += 1
    ending = chance.choice((close, drop))
    if not timer.run(lambda: ending(inbox)) and ending is close:
        ending(inbox)
    inbox.sender = None
    gc.collect()
    reader.join()
    return inbox


def unclaimed(ring: Ring) -> ReplicaInboxSender:
    """A handle that takes its role at its first use, while signals come."""
    return ReplicaInboxSender(Segment.attach(ring.name))


def number_of(event: object) -> int:
    """The number that a frame or a chunk bears."""
    if isinstance(event, Frame):
        return event.offset
    assert isinstance(event, SnapshotChunk)
    return int(bytes(event.data))


def read_to_the_end(inbox: Inbox) -> None:
    """Receive in a thread, because signal handlers run only in the main thread."""
    receiver, last = inbox.receiver, time.monotonic()
    while time.monotonic() - last < SILENCE_S and not receiver.sender_gone:
        with receiver.drain() as batch:
            numbers = [number_of(event) for event in batch]
        if numbers:
            inbox.arrived.extend(numbers)
            last = time.monotonic()
        else:
            receiver.wait(0.05)


def verdict(inbox: Inbox) -> dict[str, int]:
    """``stuck``: the end was not reached. ``lost``: accepted and missing. No number may come twice or out of order."""
    arrived = Counter(inbox.arrived)
    return {
        "stuck": int(not inbox.receiver.sender_gone),
        "lost": inbox.lost_by_close + sum(1 for number in inbox.accepted if not arrived[number]),
        "twice": sum(1 for count in arrived.values() if count > 1),
        "out_of_order": int(inbox.arrived != sorted(inbox.arrived)),
        "role_taken": inbox.role_taken,
        "accepted": len(inbox.accepted),
        "arrived": len(inbox.arrived),
    }


def torment(inboxes: int, seed: int) -> dict[str, int]:
    """Use ``inboxes`` inboxes one after the other. Returns the sums over all of them."""
    chance = random.Random(seed)
    timer = Timer(chance)
    totals: Counter[str] = Counter()
    handler = RaisingHandler()
    logging.getLogger("kevy_ring").addHandler(handler)
    gc.freeze()  # later collections look only at objects that are made from here on
    sys.unraisablehook = lambda unraisable: totals.update(["unraisable"])  # a signal interrupted a destructor
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            for _ in range(inboxes):
                inbox = one_inbox(chance, timer)
                totals.update(verdict(inbox))
                with contextlib.suppress(ClosedError):
                    inbox.receiver.close()
                inbox.ring.close()
    finally:
        sys.unraisablehook = sys.__unraisablehook__
        gc.unfreeze()
        logging.getLogger("kevy_ring").removeHandler(handler)
    return {"inboxes": inboxes, "interruptions": timer.count, **totals}


#: Ways to take a role: a handle, and its first use.
FIRST_USES: dict[type[Any], Callable[[Any], object]] = {
    ReplicaInboxSender: lambda sender: sender.send(Frame(1, [b"x"])),
    ReplicaInboxReceiver: lambda receiver: receiver.try_recv(),
    Producer: lambda producer: producer.try_write(b"x"),
    Consumer: lambda consumer: consumer.try_read(),
}


def claim(rings: int, seed: int) -> dict[str, int]:
    """Interrupt the first use of every kind of handle at a random moment, and then repeat it."""
    chance = random.Random(seed)
    timer = Timer(chance, 0.00002, 0.0006)
    totals: Counter[str] = Counter()
    for number in range(rings):
        kind = list(FIRST_USES)[number % len(FIRST_USES)]
        with Ring.create(CAPACITY) as ring, kind(Segment.attach(ring.name)) as handle:
            timer.run(lambda handle=handle, kind=kind: FIRST_USES[kind](handle))  # type: ignore[misc]
            before = claims_of(ring)
            try:
                FIRST_USES[kind](handle)
                totals["claimed_again"] += before > 0 and claims_of(ring) != before
            except RoleTaken:
                totals["role_taken"] += 1
    return {"rings": rings, "interruptions": timer.count, "role_taken": 0, "claimed_again": 0, **totals}


def claims_of(ring: Ring) -> int:
    """The number of times that a role of the ring was taken."""
    stats = ring.stats()
    return stats.producer.epoch + stats.consumer.epoch


def main() -> int:
    """Print the sums as JSON. Returns 1 if an event is stuck, lost, doubled or out of order."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--inboxes", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    totals, claims = torment(chosen.inboxes, chosen.seed), claim(chosen.inboxes, chosen.seed)
    print(json.dumps({"python": sys.version.split()[0], "inboxes": totals, "claims": claims}))
    failures = [totals[what] for what in ("stuck", "lost", "twice", "out_of_order", "role_taken")]
    return int(any(failures) or claims["role_taken"] > 0)


if __name__ == "__main__":
    sys.exit(main())
