"""Tells the view, once, what a fleet and its shard processes report, and keeps it for the outcome."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from kevy_ring.cli.ingest.cluster_look import ClusterLook
from kevy_ring.cli.ingest.goal import WAITING_STAGE
from kevy_ring.cli.ingest.milestones import Milestones
from kevy_ring.cli.ingest.progress import ShardProgress
from kevy_ring.cli.log.note import COMMAND, Note
from kevy_ring.cli.redaction import without_secrets
from kevy_ring.cli.views.view import View
from kevy_ring.inbox.header_words import LinkState
from kevy_ring.replica.fleet import FleetEvent, FleetEventKind, Role
from kevy_ring.replica.fleet.restart_plan import FAILED, REFUSED
from kevy_ring.replica.protocol import FullSyncReason
from kevy_ring.replica.runner.runner import PREPARING
from kevy_ring.replica.upstream_url import UpstreamUrl
from kevy_ring.shard.shard_process import STACK

#: The same trouble with a link is reported again after this long.
_REPEAT_S = 30.0
#: The same as PREPARING, so short that it fits 80 cells with the time behind it.
_PREPARING_STAGE = "the upstream prepares the snapshot (repl-diskless-sync-delay: ~5 s)"
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
        self._pids: dict[tuple[int, Role], int] = {}
        self._preparing: set[int] = set()
        self._milestones = Milestones()

    def said(self, shard: int, topic: str, words: str) -> None:
        """Take a report from the process of a shard."""
        text = without_secrets(words)
        note = Note(text, logging.ERROR, topic, shard, process="shard", pid=self._pids.get((shard, Role.SHARD)))
        if topic == FAILED:
            self.failures[shard] = text
            self._view.tell(replace(note, text=f"failed: {text}", report=f"shard {shard} failed: {text}"))
        elif topic == REFUSED:
            self.failures[shard] = text
        elif topic == STACK:
            # A process that fails again often fails in the same way. Show each stack once.
            if text not in self._stacks:
                self._stacks.add(text)
                self._view.tell(replace(note, text=text.rstrip(), report=text.rstrip()))
        else:
            self._view.tell(replace(note, level=logging.WARNING, report=f"shard {shard}: {text}"))

    def happened(self, event: FleetEvent) -> None:
        """Take an event of the fleet."""
        self._note_process(event)
        if event.kind is FleetEventKind.SYNCED:
            self._note_sync(event)
        elif event.kind is FleetEventKind.LINK:
            self._note_link(event)
        else:
            is_death = event.kind is FleetEventKind.EXITED and bool(event.exit_code or not event.expected)
            is_told = is_death or event.kind in (FleetEventKind.RING, FleetEventKind.STALLED, FleetEventKind.DRAINED)
            is_bad = is_told and event.kind is not FleetEventKind.DRAINED
            level = logging.WARNING if is_bad else logging.INFO if is_told else logging.DEBUG
            text = without_secrets(str(event))
            self._view.tell(replace(_note(event, level, text), report=text if is_told else ""))

    def looked(self, shards: Sequence[ShardProgress], now: float) -> None:
        """Report links that have recovered, snapshots, and the answers of upstreams that are nodes of a cluster."""
        for shard in shards:
            if shard.index in self._told and shard.link_state in (LinkState.STREAMING, LinkState.SNAPSHOT):
                del self._told[shard.index]
                self._view.tell(
                    Note("linked", event="linked", shard=shard.index, report=f"shard {shard.index}: linked")
                )
            for note in self._milestones.passed(shard, now):
                self._view.tell(note)
        for look in [look for look in self._looks if look.text is not None]:
            self._looks.remove(look)
            self._view.note(without_secrets(look.text or ""), is_bad=look.is_bad)

    def stage(self, stage: str) -> str:
        """What the run is doing: ``stage``, or what an upstream says about it."""
        return _PREPARING_STAGE if stage == WAITING_STAGE and self._preparing else stage

    def _note_process(self, event: FleetEvent) -> None:
        if event.kind is FleetEventKind.STARTED:
            self._pids[event.shard, event.role] = event.pid
        if event.kind is FleetEventKind.EXITED and event.role is Role.RUNNER:
            self._preparing.discard(event.shard)

    def _note_sync(self, event: FleetEvent) -> None:
        """Report each sync: full or partial, and why. A normal first one is no news for ``--json``."""
        is_first = event.shard not in self._synced
        self._synced.add(event.shard)
        self.refused.pop(event.shard, None)
        self._told.pop(event.shard, None)
        self._preparing.discard(event.shard)
        self._milestones.synced(event.shard, is_full=event.synced == "full")
        text = f"linked, {without_secrets(event.text)}"
        is_news = not is_first or event.full_reason is not FullSyncReason.FIRST
        reason = event.full_reason.value if event.full_reason is not None else None
        note = replace(_note(event, logging.INFO, text), facts={"how": event.synced, "full_reason": reason})
        self._view.tell(replace(note, report=f"shard {event.shard}: {text}" if is_news else ""))
        upstream = self._upstreams[event.shard]
        if is_first and upstream.kind == "redis":
            self._looks.append(ClusterLook(upstream, self._upstreams))

    def _note_link(self, event: FleetEvent) -> None:
        shard, state, upstream = event.shard, event.link_state, self._upstreams[event.shard]
        if state in _TROUBLE:
            self._note_trouble(event)
        elif state is LinkState.HANDSHAKE and event.text == PREPARING:
            self._preparing.add(shard)
            self._view.tell(_note(event, logging.INFO, f"{upstream}: {PREPARING}", "preparing"))
        elif state is LinkState.HANDSHAKE:
            # While the same trouble repeats, each attempt connects and is refused.
            level = logging.DEBUG if shard in self._told else logging.INFO
            self._view.tell(_note(event, level, f"connected to {upstream}, protocol {event.text}", "connected"))
        elif state in (LinkState.STREAMING, LinkState.SNAPSHOT):  # reading paused or continues: the text says which
            self._view.tell(_note(event, logging.WARNING, without_secrets(event.text), "paused"))
        elif state is not None:
            words = state.name.lower().replace("_", " ")
            self._view.tell(_note(event, logging.DEBUG, f"{words} ({upstream})"))

    def _note_trouble(self, event: FleetEvent) -> None:
        self.trouble[event.shard] = event.text
        self._preparing.discard(event.shard)
        refusal = event.refusal
        if refusal is not None and refusal.is_confirmed:
            upstream = self._upstreams[event.shard]
            self.refused[event.shard] = f"shard {event.shard}: {upstream} cannot be followed: {event.text}"
        said, at = self._told.get(event.shard, ("", 0.0))
        now = time.monotonic()
        if said != event.text or now - at >= _REPEAT_S:
            self._told[event.shard] = (event.text, now)
            text = f"no link: {without_secrets(event.text)}"
            facts = {"refusal": refusal.kind.value, "permanent": refusal.is_permanent} if refusal is not None else {}
            note = replace(_note(event, logging.WARNING, text, "no_link"), facts=facts)
            self._view.tell(replace(note, report=f"shard {event.shard}: {text}"))


def _note(event: FleetEvent, level: int, text: str, name: str = "") -> Note:
    """The note about an event. An event with a link's state comes from the runner, any other from this process."""
    text = text.removeprefix(f"shard {event.shard}: ")
    facts: dict[str, Any] = {}
    if event.kind in (FleetEventKind.STARTED, FleetEventKind.EXITED):
        facts = {"role": event.role.value, "role_pid": event.pid}
    if event.kind is FleetEventKind.EXITED:
        facts |= {"exit_code": event.exit_code, "signal": event.signal_number, "restart_in_s": event.restart_in_s}
    from_runner = event.kind in (FleetEventKind.LINK, FleetEventKind.SYNCED)
    process, pid = (event.role.value, event.pid) if from_runner else (COMMAND, None)
    return Note(text, level, name or event.kind.value, event.shard, process=process, pid=pid, facts=facts)
