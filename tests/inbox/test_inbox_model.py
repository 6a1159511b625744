"""The inbox and a deque agree after any sequence of send, drain, release and rewind."""

from __future__ import annotations

import sys
import time
import warnings
from collections import deque
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from kevy_ring import Frame, ReplicaApply, SnapshotBegin, SnapshotChunk, SnapshotEnd, replica_inbox_pair
from kevy_ring.inbox import encode_record

# The places of tail and head in the segment, from csrc/ring/layout.h.
TAIL_AT, HEAD_AT = 128, 256

arguments = st.one_of(st.binary(max_size=40), st.sampled_from([0, 500, 3000, 9000]).map(lambda size: b"z" * size))
offsets = st.integers(0, 2**64 - 1)
events = st.one_of(
    st.builds(Frame, offsets, st.lists(arguments, min_size=1, max_size=5)),
    st.builds(SnapshotChunk, arguments),
    st.builds(SnapshotEnd, offsets),
    st.just(SnapshotBegin()),
)


class InboxModel(RuleBasedStateMachine):
    """A ring of one page, so that nearly everything wraps, overflows or is cut into fragments."""

    def __init__(self) -> None:
        super().__init__()
        self.sender, self.receiver = replica_inbox_pair(4096)
        # Positions near the wrap of 64 bits, where a comparison instead of a difference would show.
        with Path("/dev/shm", self.sender.name).open("r+b", buffering=0) as segment:
            for word in (TAIL_AT, HEAD_AT):
                segment.seek(word)
                segment.write((2**64 - 64).to_bytes(8, sys.byteorder))
        self.model: deque[ReplicaApply] = deque()

    @rule(event=events)
    def send(self, event: ReplicaApply) -> None:
        self.sender.send(event)
        self.model.append(event)

    @rule(many=st.lists(events, max_size=20))
    def send_many(self, many: list[ReplicaApply]) -> None:
        self.sender.send_many(many)
        self.model.extend(many)

    @rule(data=st.binary(min_size=1, max_size=300))
    def reserve(self, data: bytes) -> None:
        with self.sender.reserve_chunk(300) as grant:
            grant.view[: len(data)] = data
            grant.commit(len(data))
        self.model.append(SnapshotChunk(data))

    @rule(limit=st.integers(1, 8), max_bytes=st.sampled_from([None, 1, 200, 5000]))
    def drain(self, limit: int, max_bytes: int | None) -> None:
        with self.receiver.drain(max_events=limit, max_bytes=max_bytes) as batch:
            assert len(batch) <= limit
            for i, event in enumerate(batch):
                assert event == self.model[i]
            # The records in the ring are the canonical records, so a digest of the bytes is a digest of the events.
            assert bytes(batch.buffer) == b"".join(encode_record(self.model[i]) for i in range(len(batch)))
        for _ in range(len(batch)):
            self.model.popleft()

    @rule(keep=st.integers(0, 5))
    def drain_and_fail_in_the_middle(self, keep: int) -> None:
        with pytest.raises(ZeroDivisionError), self.receiver.drain() as batch:
            for i, event in enumerate(batch):
                assert event == self.model[i]
                if i == keep:
                    _ = 1 / 0
            keep = 0
            _ = 1 / 0
        for _ in range(keep):
            self.model.popleft()

    @rule(upto=st.integers(0, 4))
    def release_a_part(self, upto: int) -> None:
        batch = self.receiver.drain(max_events=5)
        upto = min(upto, len(batch))
        owned = [batch.owned(i) for i in range(len(batch))]
        batch.release(upto=upto)
        assert owned[upto:] == [batch.owned(i) for i in range(upto, len(batch))]
        batch.release()
        for event in owned:
            assert event == self.model.popleft()

    @rule()
    def receive_one(self) -> None:
        # Not a precondition: the pump decides how much a drain finds, and a rule's choice must not depend on the pump.
        if self.model:
            assert self.receiver.recv(timeout=60) == self.model.popleft()

    @invariant()
    def nothing_is_in_the_overflow_while_the_model_is_empty(self) -> None:
        if not self.model:
            assert self.sender.overflow.events == 0

    def teardown(self) -> None:
        until = time.monotonic() + 60
        while self.model:
            assert time.monotonic() < until
            assert self.receiver.recv(timeout=60) == self.model.popleft()
        assert self.receiver.try_recv() is None
        self.receiver.close()
        with warnings.catch_warnings():
            warnings.simplefilter("error", ResourceWarning)
            self.sender.close()


InboxModel.TestCase.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
TestInboxAgainstADeque = InboxModel.TestCase
