"""Tells the view, once, what a fleet and its shard processes report, and keeps it for the outcome."""

from __future__ import annotations

import time
from collections.abc import Sequence

from kevy_ring.cli.ingest.cluster_look import ClusterLook
from kevy_ring.cli.ingest.progress import ShardProgress
from kevy_ring.cli.redaction import without_secrets
from kevy_ring.cli.views.view import View
from kevy_ring.inbox.header_words import LinkState
from kevy_ring.replica.fleet import FleetEvent, FleetEventKind, Role
from kevy_ring.replica.protocol import FullSyncReason
from kevy_ring.replica.upstream_url import UpstreamUrl
from kevy_ring.shard.shard_process import FAILED, REFUSED, STACK

#: The same trouble with a link is reported again after this long.
_REPEAT_S = 30.0
#: A run ends when a shard's process failed so often in a row in the same way, also a run without an end: then a
#: supervisor sees the failure.
SAME_MAX = 3
#: A process that lived this long had got past the failure of the process before it.
STABLE_S = 10.0
_TROUBLE = (LinkState.WAITING, LinkState.REFUSED)


class Narrator:
    """Tells ``view`` what happens, each thing once.

    ``failures``: the last reason that each shard's process gave. ``refusal``: a reason that a new process cannot
    change. ``refused``: for each upstream that can never be followed as it is, the reason. ``trouble``: the last
    trouble of each link.
    """

    def __init__(self, view: View, upstreams: Sequence[UpstreamUrl]) -> None:
        self.failures: dict[int, str] = {}
        self.refusal: str | None = None
        self.refused: dict[int, str] = {}
        self.trouble: dict[int, str] = {}
        self.repeated = RepeatedFailures()
        self._view = view
        self._upstreams = upstreams
        self._stacks: set[str] = set()
        self._told: dict[int, tuple[str, float]] = {}
        self._synced: set[int] = set()  # shards that had a link in this run
        self._looks: list[ClusterLook] = []

    def said(self, shard: int, topic: str, words: str) -> None:
        """Take a report from the process of a shard."""
        text = without_secrets(words)
        if topic == FAILED:
            self.failures[shard] = text
            self.repeated.failed(shard, text)
            self._view.note(f"shard {shard} failed: {text}", is_bad=True)
        elif topic == REFUSED:
            self.failures[shard] = text
            self.refusal = self.refusal or f"shard {shard}: {text}"
        elif topic == STACK:
            # A process that fails again often fails in the same way. Show each stack once.
            if text not in self._stacks:
                self._stacks.add(text)
                self._view.note(text.rstrip(), is_bad=True)
        else:
            self._view.note(f"shard {shard}: {text}")

    def happened(self, event: FleetEvent) -> None:
        """Take an event of the fleet."""
        self._note_process(event)
        is_death = event.kind is FleetEventKind.EXITED and (event.exit_code or not event.expected)
        if is_death or event.kind in (FleetEventKind.RING, FleetEventKind.STALLED, FleetEventKind.DRAINED):
            self._view.note(without_secrets(str(event)), is_bad=event.kind is not FleetEventKind.DRAINED)
        elif event.kind is FleetEventKind.SYNCED:
            self._note_sync(event)
        elif event.kind is FleetEventKind.LINK and event.link_state in _TROUBLE:
            self._note_trouble(event)

    def looked(self, shards: Sequence[ShardProgress]) -> None:
        """Report links that have recovered, and the answers of upstreams that are nodes of a cluster."""
        for shard in shards:
            if shard.index in self._told and shard.link_state in (LinkState.STREAMING, LinkState.SNAPSHOT):
                del self._told[shard.index]
                self._view.note(f"shard {shard.index}: linked")
        for look in [look for look in self._looks if look.text is not None]:
            self._looks.remove(look)
            self._view.note(without_secrets(look.text or ""), is_bad=look.is_bad)

    def _note_process(self, event: FleetEvent) -> None:
        if event.role is Role.SHARD and event.kind is FleetEventKind.STARTED:
            self.repeated.started(event.shard, time.monotonic())
        elif event.role is Role.SHARD and event.kind is FleetEventKind.EXITED:
            self.repeated.ended(event.shard, time.monotonic())

    def _note_sync(self, event: FleetEvent) -> None:
        """Report each sync except a normal first one: full or partial, and why."""
        is_first = event.shard not in self._synced
        self._synced.add(event.shard)
        self.refused.pop(event.shard, None)
        self._told.pop(event.shard, None)
        if not is_first or event.full_reason is not FullSyncReason.FIRST:
            self._view.note(f"shard {event.shard}: linked, {without_secrets(event.text)}")
        upstream = self._upstreams[event.shard]
        if is_first and upstream.kind == "redis":
            self._looks.append(ClusterLook(upstream, self._upstreams))

    def _note_trouble(self, event: FleetEvent) -> None:
        self.trouble[event.shard] = event.text
        if event.refusal is not None and event.refusal.is_confirmed:
            upstream = self._upstreams[event.shard]
            self.refused[event.shard] = f"shard {event.shard}: {upstream} cannot be followed: {event.text}"
        said, at = self._told.get(event.shard, ("", 0.0))
        now = time.monotonic()
        if said != event.text or now - at >= _REPEAT_S:
            self._told[event.shard] = (event.text, now)
            self._view.note(f"shard {event.shard}: no link: {without_secrets(event.text)}", is_bad=True)


class RepeatedFailures:
    """Counts, for each shard, how often in a row its process ended for the same reason."""

    def __init__(self) -> None:
        self._started_at: dict[int, float] = {}
        self._said: dict[int, str] = {}
        self._rows: dict[int, tuple[str, int]] = {}

    def started(self, shard: int, now: float) -> None:
        """A new process of the shard runs; ``now``: seconds of a monotonic clock."""
        self._started_at[shard] = now
        self._said.pop(shard, None)

    def failed(self, shard: int, why: str) -> None:
        """The process reported why it ends."""
        self._said[shard] = why

    def ended(self, shard: int, now: float) -> None:
        """The process has ended. A process that was killed gave no reason, so its end starts a new count."""
        why = self._said.pop(shard, "")
        before, count = self._rows.get(shard, ("", 0))
        lived_s = now - self._started_at.get(shard, now)
        self._rows[shard] = (why, count + 1 if why == before and lived_s < STABLE_S else 1)

    def found(self) -> tuple[int, str] | None:
        """The first shard that failed SAME_MAX times in a row for the same reason, and the reason; None: no shard."""
        return next(((shard, why) for shard, (why, count) in self._rows.items() if why and count >= SAME_MAX), None)
