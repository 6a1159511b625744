"""When a fleet replaces a process that ended, and when it gives up."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from fleet_shards import QuickBackoff, failing_shard, recording_shard
from kevy_ring.replica.backoff import Backoff
from kevy_ring.replica.fleet import Fleet, FleetEnd, FleetEvent, FleetEventKind, Role
from kevy_ring.replica.fleet.restart_plan import FAILED, REFUSED, WINDOW_S, RestartPlan
from kevy_ring.replica.options import FollowOptions
from kevy_ring.testing import EmbeddedPrimary


def wait_until(condition: Callable[[], bool], step: Callable[[float], None]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline, "not in time"
        step(0.05)


@pytest.fixture
def primary() -> Iterator[EmbeddedPrimary]:
    with EmbeddedPrimary.start(keys=3, ops=10, auto_live=False) as started:
        yield started


def plan(most: int | None = 100) -> RestartPlan:
    return RestartPlan(Backoff(), most)


def test_only_the_same_words_without_a_long_life_between_them_are_a_row() -> None:
    failures = plan()

    def fail(at: float, why: str, lived_s: float = 1.0) -> str | None:
        if why:
            failures.said(Role.SHARD, FAILED, why)
        failures.died(Role.SHARD, lived_s, now=at)
        return failures.gave_up

    assert [fail(at, "no space") for at in (0, 10)] == [None, None]
    assert fail(20, "another error") is None
    assert [fail(at, "no space") for at in (30, 40)] == [None, None]
    assert fail(50, "no space", lived_s=60) is None
    assert fail(120, "no space") is None
    assert [fail(at, "") for at in (130, 140, 150, 160)] == [None] * 4  # it was killed and said nothing
    assert [fail(at, "no space") for at in (170, 180)] == [None, None]
    assert fail(200, "no space") == "its process failed 3 times in a row for the same reason: no space"


def test_restarts_are_counted_for_each_process_and_within_ten_minutes() -> None:
    restarts = plan(2)
    assert all(restarts.died(Role.SHARD, 60, now=at) for at in (0, 1))
    assert all(restarts.died(Role.RUNNER, 60, now=at) for at in (2, 3))
    assert all(restarts.died(Role.SHARD, 60, now=WINDOW_S * n) for n in (2, 3, 4))
    assert restarts.died(Role.SHARD, 60, now=WINDOW_S * 4 + 1)
    assert not restarts.died(Role.SHARD, 60, now=WINDOW_S * 4 + 2)
    assert restarts.gave_up == "its shard process ended 3 times within 10 minutes (--max-restarts 2)"


def test_a_refusal_is_final_also_without_a_limit() -> None:
    refused = plan(None)
    for at in range(10):
        refused.said(Role.SHARD, FAILED, "no space")
        assert refused.died(Role.SHARD, 1, now=at)
    refused.said(Role.SHARD, REFUSED, "it is the followed server")
    assert not refused.died(Role.SHARD, 1, now=20)
    assert refused.gave_up == "it is the followed server"


def test_a_limit_below_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="max_restarts must not be below 0, not -1"):
        FollowOptions(max_restarts=-1)


@pytest.mark.parametrize(("most", "starts"), [(0, 1), (2, 3)])
def test_a_fleet_gives_up_a_shard_that_ends_again_and_again(primary: EmbeddedPrimary, most: int, starts: int) -> None:
    events: list[FleetEvent] = []
    with Fleet(primary.url, failing_shard, max_restarts=most, on_event=events.append, backoff=QuickBackoff) as fleet:
        assert fleet.run(tick_s=0.05) is FleetEnd.FAILED
    assert len([e for e in events if e.kind is FleetEventKind.STARTED and e.role is Role.SHARD]) == starts
    times = f"{starts} time{'s' * (starts > 1)}"
    words = f"shard 0: its shard process ended {times} within 10 minutes (--max-restarts {most})"
    assert fleet.failure == words
    assert [str(e) for e in events if e.kind is FleetEventKind.GAVE_UP] == [words]


def test_a_partner_that_ends_with_a_dead_process_is_no_restart_of_its_own(
    primary: EmbeddedPrimary, tmp_path: Path
) -> None:
    shard = partial(recording_shard, tmp_path, patient=True)
    with Fleet(primary.url, shard, max_restarts=1, backoff=QuickBackoff) as fleet:
        wait_until(lambda: fleet.status()[0].link_state.is_following, fleet.step)
        first = fleet.status()[0].shard_pid
        assert first
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: fleet.status()[0].shard_pid not in (None, first), fleet.step)
        wait_until(lambda: fleet.status()[0].link_state.is_following, fleet.step)
        assert fleet.failure is None
        second = fleet.status()[0].shard_pid
        assert second
        os.kill(second, signal.SIGKILL)
        wait_until(lambda: fleet.failure is not None, fleet.step)
        wait_until(lambda: fleet.status()[0].runner_pid is None, fleet.step)
