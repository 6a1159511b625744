"""A ring's header in sentences, and what is wrong with the ring."""

from __future__ import annotations

import time
from datetime import datetime
from math import isinf

from rich.text import Text

from kevy_ring.cli import figures
from kevy_ring.cli.rings.ring_text import overflow_text, purpose_text, role_text
from kevy_ring.cli.views.progress_table import link_label
from kevy_ring.inbox import Published
from kevy_ring.inbox.header_words import (
    ConsumerWord,
    LinkState,
    ProducerWord,
    how_far_behind,
    link_state,
    lost_offset,
    received_offset,
    upstream_offset,
)
from kevy_ring.replica.stall_watch import STALL_AFTER_S, is_full
from kevy_ring.ring import RingStats, RoleState, RoleStats, TimeInRing
from kevy_ring.ring.outside.leftovers import is_abandoned, is_unused
from kevy_ring.ring.outside.peek import Peek
from kevy_ring.ring.outside.process_state import ProcessState, process_state
from kevy_ring.ring.stats import header_fault

Fact = tuple[str, "Text | str"]


def ring_facts(
    stats: RingStats, published: Published | None, times: TimeInRing | None, cells: int | None = None
) -> list[Fact]:
    """A label and a text for each fact in the header. ``published`` and ``times``: None if they could not be read.

    ``cells``: the most that the purpose may take; None: all of it.
    """
    drained = "never" if stats.last_drain_age_s is None else f"{figures.seconds(stats.last_drain_age_s)} ago"
    facts: list[Fact] = [
        ("created", _created(stats)),
        ("capacity", f"{figures.size(stats.capacity)}, {figures.count(stats.used_bytes)} bytes in use "
                     f"({figures.percent(stats.used_bytes, stats.capacity)}), layout version {stats.version}"),
        ("positions", f"head {figures.count(stats.head)}, tail {figures.count(stats.tail)}"),
        ("producer", _role(stats.producer)),
        ("consumer", _role(stats.consumer)),
        ("written", f"{figures.plural(stats.events_in, 'record')}, {figures.size(stats.bytes_in)}, in "
                    f"{figures.plural(stats.publishes, 'publish', 'publishes')}; the ring was full "
                    f"{figures.plural(stats.full_hits, 'time')}, the consumer was woken "
                    f"{figures.plural(stats.data_wakes, 'time')}"),
        ("read", f"{figures.plural(stats.events_out, 'record')}, {figures.size(stats.bytes_out)}, in "
                 f"{figures.plural(stats.drains, 'drain')}; the producer was woken "
                 f"{figures.plural(stats.space_wakes, 'time')}; last drained {drained}"),
        ("overflow", _overflow(stats)),
    ]  # fmt: skip
    purpose = purpose_text(stats, cells)
    if purpose:
        facts.insert(0, ("purpose", purpose))
    facts += _times(times)
    facts += _resume_point(published)
    if stats.applied_offset is not None:
        facts.append(("applied", f"up to offset {figures.count(stats.applied_offset)}"))
    return facts + _replica_facts(stats)


def ring_faults(stats: RingStats, peek: Peek | None = None) -> list[str]:
    """What is wrong, one sentence each; empty: nothing was found. ``peek``: the records, if they were read too."""
    faults = []
    fault = header_fault(stats)
    if fault is not None:
        faults.append(f"corrupt: {fault}")
    elif peek is not None and peek.corrupt is not None:
        faults.append(f"corrupt at position {peek.corrupt_at}: {peek.corrupt}")
    if is_abandoned(stats):
        faults.append("abandoned: kevy-ring gc removes it")
    # A kept ring that no process uses waits for its service. The state of its roles and its link are no faults.
    waits = is_unused(stats) and stats.is_kept
    if not is_unused(stats):
        faults += _faults_of_roles(stats)
    late = stats.last_drain_age_s is not None and stats.last_drain_age_s >= STALL_AFTER_S
    if is_full(stats) and late and not waits:
        faults.append(f"the ring is full and was not drained for {figures.seconds(stats.last_drain_age_s)}")
    lost = lost_offset(stats)
    if lost is not None:
        faults.append(
            f"a dead shard had read only a part of the frame at offset {figures.count(lost)}: it needs a snapshot"
        )
    if not waits and link_state(stats) in (LinkState.WAITING, LinkState.REFUSED):
        faults.append("the runner has no link to its upstream")
    return faults


def _faults_of_roles(stats: RingStats) -> list[str]:
    faults = []
    for name, role in (("producer", stats.producer), ("consumer", stats.consumer)):
        if role.state is RoleState.DEAD:
            faults.append(f"the {name}, pid {role.pid}, died without closing")
        elif role.state is RoleState.ALIVE and process_state(role.pid) is ProcessState.STOPPED:
            faults.append(f"the {name}, pid {role.pid}, is stopped (SIGSTOP): kill -CONT {role.pid} continues it")
    if stats.used_bytes and stats.consumer.state is RoleState.CLOSED:
        faults.append("records wait, but the consumer has closed")
    return faults


def _created(stats: RingStats) -> str:
    try:
        made = f"{datetime.fromtimestamp(stats.created_unix_s).astimezone():%Y-%m-%d %H:%M:%S}"
    except (OverflowError, OSError, ValueError):  # not a date
        made = f"{stats.created_unix_s:g} s after 1970"
    age = figures.seconds(max(0.0, time.time() - stats.created_unix_s))
    return f"{made}, {age} ago, by process {stats.creator_pid}, {'alive' if stats.creator_alive else 'dead'}"


def _role(role: RoleStats) -> Text:
    if role.state is RoleState.VACANT:
        return role_text(role)
    doing = f", {process_state(role.pid).value}" if role.state is RoleState.ALIVE else ""
    return Text.assemble(role_text(role), f"{doing}, taken {figures.plural(role.epoch, 'time')}")


def _overflow(stats: RingStats) -> str:
    age = f", the oldest for {figures.seconds(stats.overflow_age_s)}" if stats.overflow_events else ""
    return f"{overflow_text(stats)} now{age}, at most {figures.size(stats.overflow_peak_bytes)} so far"


def _times(times: TimeInRing | None) -> list[Fact]:
    """The time from publish to release. Empty: the ring has released no measured record and holds none."""
    parts = []
    if times is not None and times.measured:
        median, most = (_bound(times.quantile(q)) for q in (0.5, 0.99))
        measured = figures.plural(times.measured, "measured record")
        parts.append(f"half within {median}, 99 % within {most}, of {measured}")
    if times is not None and times.oldest_age_s is not None:
        parts.append(f"the oldest measured record has waited for {figures.seconds(times.oldest_age_s)}")
    return [("in ring", "; ".join(parts))] if parts else []


def _bound(seconds: float | None) -> str:
    return "no bound" if seconds is None or isinf(seconds) else figures.moment(seconds)


def _resume_point(published: Published | None) -> list[Fact]:
    """Where a new sender would continue. Empty: the ring is not used for replication."""
    if published is None or not published.is_known:
        return []
    upstream = f" of upstream {figures.name(published.upstream_id)}" if published.upstream_id else ""
    if published.in_snapshot:
        return [("published", f"a snapshot{upstream} that has not ended: a new sender starts from the beginning")]
    what = "the snapshot that ends at" if published.after_snapshot else "the frame at"
    at = f"{what} offset {figures.count(published.offset)}{upstream}, database {published.db}"
    return [("published", f"up to {at}; a new sender continues after it")]


def _replica_facts(stats: RingStats) -> list[Fact]:
    """What a runner and a shard publish in the application words. Empty: they publish nothing."""
    producer, consumer = stats.producer_words, stats.consumer_words
    state, received, upstream = link_state(stats), received_offset(stats), upstream_offset(stats)
    behind = how_far_behind(stats)
    facts: list[Fact] = []
    if state is not LinkState.NONE:
        syncs = figures.plural(producer[ProducerWord.FULL_SYNCS], "full sync")
        parts = [
            link_label(state),
            f"{syncs}, {producer[ProducerWord.PARTIAL_SYNCS]} partial",
            figures.plural(producer[ProducerWord.RECONNECTS], "reconnect"),
        ]
        if received is not None:
            parts.append(f"received up to offset {figures.count(received)}")
        if behind is not None:
            parts.append(f"applied: {figures.count(behind)} behind" if behind else "all of it is applied")
        if upstream is not None:
            parts.append(f"the upstream is at {figures.count(upstream)}")
        facts.append(("runner", ", ".join(parts)))
    if consumer[ConsumerWord.FRAMES] or consumer[ConsumerWord.SNAPSHOTS]:
        snapshots = figures.plural(consumer[ConsumerWord.SNAPSHOTS], "snapshot")
        keys = figures.plural(consumer[ConsumerWord.ENTRIES], "key")
        facts.append(
            ("shard", f"{figures.plural(consumer[ConsumerWord.FRAMES], 'frame')} and {snapshots} ({keys}) applied")
        )
    return facts
