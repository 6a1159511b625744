"""Interrupt each call of a sender before each byte code in turn: accepted events arrive, and nothing is stuck."""

from __future__ import annotations

import contextlib
import gc
import itertools
import sys
import time
import warnings
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from kevy_ring import Frame, ReplicaInboxReceiver, ReplicaInboxSender, Ring, SnapshotBegin, SnapshotChunk
from kevy_ring.ring import Consumer, Producer
from kevy_ring.ring.segment import Segment

CAPACITY = 1 << 12
FULL = 60  # frames; the ring holds about half of them
STEPS_MAX = 5000
LARGE = (1 << 20) + 8


class Count(int):
    """A length that is not a plain int."""


class Interrupted(BaseException):
    """The exception of a signal handler."""


def is_interrupted(step: int, body: Callable[[], object]) -> bool:
    """Call ``body`` and raise before its byte code number ``step``. False: ``body`` has fewer byte codes."""
    passed = 0

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal passed
        if "kevy_ring" not in frame.f_code.co_filename:
            return None  # not inside the standard library: raising there could leave one of its locks held
        frame.f_trace_opcodes = True
        if event == "opcode":
            passed += 1
            if passed == step:
                raise Interrupted
        return trace

    before = sys.gettrace()
    with contextlib.suppress(Interrupted):
        sys.settrace(trace)
        try:
            body()
        finally:
            sys.settrace(before)
    return passed >= step


class Case:
    """An inbox, and a handle of it that may already have its role. Each event has its own number."""

    def __init__(self, capacity: int, *, has_role: bool, is_full: bool) -> None:
        self.ring = Ring.create(capacity)
        self.receiver = ReplicaInboxReceiver.attach(self.ring.name)
        self.sender: ReplicaInboxSender | None = ReplicaInboxSender(Segment.attach(self.ring.name))
        self.accepted: list[int] = []
        self.numbers = itertools.count(1)
        for _ in range(FULL if is_full else int(has_role)):
            self.send()

    def use(self) -> ReplicaInboxSender:
        assert self.sender is not None
        return self.sender

    def send(self, sender: ReplicaInboxSender | None = None) -> None:
        number = next(self.numbers)
        (sender or self.use()).send(Frame(number, [b"SET", b"key", bytes(50)]))
        self.accepted.append(number)

    def take_all(self, *, until_gone: bool) -> None:
        """All accepted events arrive in order. Events of an interrupted call may be among them."""
        arrived: list[int] = []
        until = time.monotonic() + 5
        while not (self.receiver.sender_gone if until_gone else set(self.accepted) <= set(arrived)):
            assert time.monotonic() < until, f"stuck: {len(arrived)} of {len(self.accepted)} arrived"
            self.receiver.wait(0.05)
            with self.receiver.drain() as batch:
                arrived += [event.offset for event in batch if isinstance(event, Frame)]
        assert [number for number in arrived if number in set(self.accepted)] == self.accepted

    def end(self) -> None:
        self.sender = None
        gc.collect()
        self.receiver.close()
        self.ring.close()


def chunk(case: Case, length: int, used: int = 1) -> None:
    with case.use().reserve_chunk(length) as grant:
        grant.view[:1] = b"x"
        grant.commit(used)


def leave_chunk(case: Case) -> None:
    with contextlib.suppress(ZeroDivisionError), case.use().reserve_chunk(100) as grant:
        view = grant.view
        raise ZeroDivisionError(view)


def clone(case: Case) -> None:
    case.use().clone().close()


def drop_clone(case: Case) -> None:
    case.use().clone()


def drop(case: Case) -> None:
    case.sender = None


#: These calls run in C. Python at most makes an event.
IN_C = {
    "send a marker",
    "send a mixed list",
    "chunk of a mebibyte",
    "chunk of nothing",
    "chunk left by an exception",
    "chunk in memory",
}

#: The call, whether the handle has its role before it, whether the ring is full, whether the call ends the handle.
CALLS: dict[str, tuple[Callable[[Case], object], bool, bool, bool]] = {
    "first send": (lambda case: case.send(), False, False, False),
    "first send of a list": (lambda case: case.use().send_many([Frame(0, [b"x"])]), False, False, False),
    "first flush": (lambda case: case.use().flush(0.001), False, False, False),
    "send a marker": (lambda case: case.use().send(SnapshotBegin()), True, True, False),
    "send a mixed list": (lambda case: case.use().send_many([SnapshotBegin(), SnapshotChunk(b"x")]), True, True, False),
    "chunk of a mebibyte": (lambda case: chunk(case, LARGE, Count(LARGE)), True, False, False),
    "chunk of nothing": (lambda case: chunk(case, 100, 0), True, False, False),
    "chunk left by an exception": (leave_chunk, True, False, False),
    "first chunk": (lambda case: chunk(case, 100), False, False, False),
    "chunk in memory": (lambda case: chunk(case, 100), True, True, False),
    "clone": (clone, True, True, False),
    "drop a clone": (drop_clone, True, True, False),
    "flush": (lambda case: case.use().flush(0.001), True, True, False),
    "watch": (lambda case: case.use().watch_overflow(100, 10, lambda moment: None), True, True, False),
    "fileno": (lambda case: case.use().fileno(), True, True, False),
    "close": (lambda case: case.use().close(timeout=0.05), True, False, True),
    "close while it is full": (lambda case: case.use().close(timeout=0.01), True, True, True),
    "close unused": (lambda case: case.use().close(), False, False, True),
    "drop": (drop, True, False, True),
    "drop while it is full": (drop, True, True, True),
}


@pytest.fixture(autouse=True, scope="module")
def traced_before() -> None:
    """Python 3.12 traces byte codes only from the second trace of a process."""
    with Ring.create(CAPACITY) as ring, ring.producer() as producer:
        is_interrupted(STEPS_MAX, lambda: producer.wait(timeout=0))


@pytest.mark.timeout(240)
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("call", CALLS)
def test_a_call_that_is_left_before_any_byte_code_loses_nothing_and_leaves_nothing_stuck(
    call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    body, has_role, is_full, ends = CALLS[call]
    monkeypatch.setattr(sys, "unraisablehook", lambda unraisable: None)
    gc.freeze()
    try:
        for step in range(1, STEPS_MAX):
            capacity = 1 << 22 if call == "chunk of a mebibyte" else CAPACITY
            case = Case(capacity, has_role=has_role, is_full=is_full)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ResourceWarning)
                was_interrupted = is_interrupted(step, lambda case=case: body(case))  # type: ignore[misc]
            check(case, ends=ends, loses=call == "close while it is full")
            case.end()
            if not was_interrupted:
                break
        assert step < 20 if call in IN_C else 20 < step < STEPS_MAX - 1
    finally:
        gc.unfreeze()


def grant(producer: Producer) -> None:
    """The first one, which is large."""
    lent = producer.try_reserve(LARGE)
    assert lent is not None
    with lent:
        lent.commit(LARGE)
    producer.publish()


USES: dict[str, tuple[type[Any], Callable[[Any], object]]] = {
    "producer": (Producer, lambda producer: producer.try_write(b"x")),
    "grant of a producer": (Producer, grant),
    "consumer": (Consumer, lambda consumer: consumer.try_read()),
    "receiver": (ReplicaInboxReceiver, lambda receiver: receiver.try_recv()),
    "mark of a receiver": (ReplicaInboxReceiver, lambda receiver: receiver.mark_applied(1)),
}


@pytest.mark.parametrize("use", USES)
def test_a_first_use_that_is_left_before_any_byte_code_can_be_made_again(use: str) -> None:
    kind, body = USES[use]
    for step in range(1, STEPS_MAX):
        with Ring.create(1 << 22) as ring:
            handle = kind(Segment.attach(ring.name))
            was_interrupted = is_interrupted(step, lambda handle=handle: body(handle))  # type: ignore[misc]
            gc.collect(0)
            body(handle)
            roles = ring.stats()
            assert roles.producer.epoch + roles.consumer.epoch == 1
            # A second close finishes an interrupted one.
            is_interrupted(step, handle.close)
            handle.close()
            kind(Segment.attach(ring.name)).close()
        if not was_interrupted:
            break
    assert 20 < step < STEPS_MAX - 1


def check(case: Case, *, ends: bool, loses: bool) -> None:
    """A handle that still works sends as before. A handle that ended has delivered what it accepted."""
    if not ends:
        case.send()
        case.take_all(until_gone=False)
        case.accepted.clear()
    elif loses:  # a close drops what does not fit in time; the next close finishes an interrupted one
        if case.sender is not None:
            case.sender.close(timeout=0)
        case.accepted.clear()
    had_role = case.ring.stats().producer.epoch > 0
    case.sender = None
    gc.collect()
    if had_role:
        case.take_all(until_gone=True)
