"""Tells the view, once, what a fleet and its shard processes report, and keeps it for the outcome."""

from __future__ import annotations

import time
from collections.abc import Sequence

from kevy_ring.cli.ingest.cluster_look import ClusterLook
from kevy_ring.cli.ingest.progress import ShardProgress
from kevy_ring.cli.redaction import without_secrets
from kevy_ring.cli.views.view import View
from kevy_ring.inbox.header_words import LinkState
from kevy_ring.replica.fleet import FleetEvent, FleetEventKind
from kevy_ring.replica.fleet.restart_plan import FAILED, REFUSED
from kevy_ring.replica.protocol import FullSyncReason
from kevy_ring.replica.upstream_url import UpstreamUrl
from kevy_ring.shard.shard_process import STACK

#: The same trouble with a link is reported again after this long.
_REPEAT_S = 30.0
_TROUBLE = (LinkState.WAITING, LinkState.REFUSED)


class Narrator:
    """Tells ``view`` what happens, each thing once.

    ``failures``: the last reason that each shard's process gave. ``refused``: for each upstream that can never be
    followed as it is, the reason. ``trouble``: the last trouble of each link.
    """

    def __init__(self, view: View, upstreams: Sequence[UpstreamUrl]) -> None:
        self.failures: dict[int, str] = {}
        self.refused: dict[int, str] = {}
        self.trouble: dict[int, str] = {}
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
            self._view.note(f"shard {shard} failed: {text}", is_bad=True)
        elif topic == REFUSED:
            self.failures[shard] = text
        elif topic == STACK:
            # A process that fails again often fails in the same way. Show each stack once.
            if text not in self._stacks:
                self._stacks.add(text)
                self._view.note(text.rstrip(), is_bad=True)
        else:
            self._view.note(f"shard {shard}: {text}")

    def happened(self, event: FleetEvent) -> None:
        """Take an event of the fleet."""
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
