"""Counters do not fall, and hide nothing, when a process or a ring is replaced; and what only the fleet knows."""

from __future__ import annotations

import os
from dataclasses import replace

from prometheus_client import CollectorRegistry, generate_latest

from kevy_ring.errors import Refusal, RefusalKind
from kevy_ring.inbox.header_words import ConsumerWord, LinkState, ProducerWord
from kevy_ring.metrics import FleetCollector
from kevy_ring.metrics.carried_counts import CarriedCounts
from kevy_ring.metrics.figures import FIGURES
from kevy_ring.replica.fleet import FleetEvent, FleetEventKind, Role
from kevy_ring.ring import RingStats, RoleState, RoleStats
from progress_of import HEADER, progress_of

FULL_SYNCS = next(figure for figure in FIGURES if figure.name == "kevy_ring_syncs_total")
FRAMES = next(figure for figure in FIGURES if figure.name == "kevy_ring_frames_applied_total")
REFUSED = next(figure for figure in FIGURES if figure.name == "kevy_ring_commands_refused_total")
USED = next(figure for figure in FIGURES if figure.name == "kevy_ring_used_bytes")


def header(*, frames: int = 0, full_syncs: int = 0, refusals: int = 0, epoch: int = 1, made: float = 1.0) -> RingStats:
    producer, consumer = [0] * 16, [0] * 16
    producer[ProducerWord.LINK_STATE], producer[ProducerWord.FULL_SYNCS] = LinkState.STREAMING, full_syncs
    consumer[ConsumerWord.FRAMES], consumer[ConsumerWord.REFUSALS] = frames, refusals
    return replace(
        HEADER, producer_words=tuple(producer), consumer_words=tuple(consumer), created_unix_s=made,
        consumer=RoleStats(RoleState.ALIVE, os.getpid(), epoch), used_bytes=800,
    )  # fmt: skip


def test_one_full_sync_of_an_old_ring_and_one_of_the_new_are_two() -> None:
    counts = CarriedCounts()
    for stats in (header(full_syncs=1, refusals=3, frames=9), header(full_syncs=1, made=2.0)):
        counts.look(stats)
    assert dict(counts.values(FULL_SYNCS, stats)) == {("full",): 2, ("partial",): 0}
    assert dict(counts.values(REFUSED, stats)) == {(): 3}  # also while the new ring has no such figure yet
    assert dict(counts.values(USED, stats)) == {(): 800}
    counts.look(header(full_syncs=4, made=3.0))
    assert dict(counts.values(FULL_SYNCS, header(full_syncs=5, made=3.0))) == {("full",): 7, ("partial",): 0}


def test_a_new_shard_process_resets_no_count() -> None:
    counts = CarriedCounts()
    looks = [header(frames=100, refusals=2), header(frames=100, refusals=2, epoch=2), header(refusals=2, epoch=2)]
    for stats in [*looks, header(frames=5, refusals=3, epoch=2)]:
        counts.look(stats)
        assert dict(counts.values(FRAMES, stats))[()] >= 100
    assert dict(counts.values(FRAMES, stats)) == {(): 105}
    assert dict(counts.values(REFUSED, stats)) == {(): 3}  # the shard continues this count itself


def test_a_batch_that_was_rolled_back_is_not_taken_for_a_new_process() -> None:
    counts = CarriedCounts()
    for frames in (100, 90, 95):
        counts.look(stats := header(frames=frames))
    assert dict(counts.values(FRAMES, stats)) == {(): 95}


def test_a_ring_that_is_gone_is_forgotten() -> None:
    counts = CarriedCounts()
    counts.look(header(frames=1))
    counts.look(header(made=2.0))
    counts.forget_all_but([])
    assert dict(counts.values(FRAMES, header(frames=4, made=2.0))) == {(): 4}
    assert not counts._last


def link(state: LinkState, kind: RefusalKind | None = None, shard: int = 0) -> FleetEvent:
    refusal = Refusal(kind) if kind is not None else None
    return FleetEvent(FleetEventKind.LINK, shard, Role.RUNNER, 1, link_state=state, refusal=refusal)


def exposed(fleet: FleetCollector) -> dict[str, float]:
    registry = CollectorRegistry()
    registry.register(fleet)
    lines = [line for line in generate_latest(registry).decode().splitlines() if line[0] != "#"]
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines}


def test_each_refused_attempt_counts_once_by_its_reason_though_the_runner_repeats_it() -> None:
    fleet = FleetCollector()
    for _ in range(3):
        fleet.happened(link(LinkState.CONNECTING))
        fleet.happened(link(LinkState.HANDSHAKE))
        fleet.happened(link(LinkState.REFUSED, RefusalKind.LOGIN))
        fleet.happened(link(LinkState.REFUSED, RefusalKind.LOGIN))  # a minute later
    fleet.happened(link(LinkState.CONNECTING))
    fleet.happened(link(LinkState.WAITING))  # no refusal: the network
    fleet.happened(FleetEvent(FleetEventKind.STARTED, 0, Role.RUNNER, 1))
    fleet.looked([replace(progress_of(), runner_restarts=2, shard_restarts=1)])
    found, ring = exposed(fleet), HEADER.name
    assert found[f'kevy_ring_refusals_total{{reason="login",ring="{ring}"}}'] == 3
    assert sum(value for name, value in found.items() if "refusals" in name) == 3
    assert sum("refusals" in name for name in found) == len(RefusalKind)  # 0 too, so that the first one is an increase
    assert found[f'kevy_ring_restarts_total{{ring="{ring}",role="runner"}}'] == 2
    assert found[f'kevy_ring_restarts_total{{ring="{ring}",role="shard"}}'] == 1
    fleet.began()
    assert exposed(fleet) == {}
