"""How a loop over batches was left, on a Python with known byte code and on one with unknown byte code."""

from __future__ import annotations

import asyncio
import sys

import pytest

from kevy_ring import Frame, ReplicaInboxReceiver, replica_inbox_pair
from kevy_ring.ring import loop_exit


class Failed(Exception):
    """The exception of a loop's body."""


async def leave(receiver: ReplicaInboxReceiver, *, at: int, raises: bool) -> None:
    async for batch in receiver:
        for event in batch:
            if isinstance(event, Frame) and event.offset == at:
                if raises:
                    raise Failed
                return


async def leave_before_an_iteration(receiver: ReplicaInboxReceiver) -> None:
    async for _ in receiver:
        break


def left_after(how: str) -> list[int]:
    """The offsets that are drained again after a loop over the frames 0 to 4 was left at 3."""
    sender, receiver = replica_inbox_pair(1 << 14)
    with sender, receiver:
        sender.send_many([Frame(i, [b"PING"]) for i in range(5)])
        try:
            if how == "break outside an iteration":
                asyncio.run(leave_before_an_iteration(receiver))
            else:
                asyncio.run(leave(receiver, at=3, raises=how == "exception"))
        except Failed:
            pass
        with receiver.drain() as batch:
            return [event.offset for event in batch if isinstance(event, Frame)]


@pytest.mark.parametrize(
    ("how", "known", "unknown"),
    [
        ("break outside an iteration", [], [0, 1, 2, 3, 4]),
        ("return", [], [3, 4]),
        ("exception", [3, 4], [3, 4]),
    ],
)
def test_on_an_unknown_python_no_record_is_released_that_may_not_have_been_processed(
    monkeypatch: pytest.MonkeyPatch, how: str, known: list[int], unknown: list[int]
) -> None:
    if loop_exit.pops_of(sys.version_info[:2]):
        assert left_after(how) == known
    monkeypatch.setattr(loop_exit, "_POPS", loop_exit.pops_of((3, 99)))
    assert left_after(how) == unknown


def test_every_python_that_is_tested_is_known() -> None:
    assert all(loop_exit.pops_of((3, minor)) for minor in (11, 12, 13))
    assert not loop_exit.pops_of((3, 14))
