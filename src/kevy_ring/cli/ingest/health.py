"""Whether a run is alive, and whether it is ready: kept by the supervisor's loop, asked by other threads."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from kevy_ring.cli import figures
from kevy_ring.cli.ingest.goal import no_link_text
from kevy_ring.cli.ingest.progress import ShardProgress
from kevy_ring.cli.ingest.snapshot_due import SnapshotDue
from kevy_ring.cli.redaction import without_secrets
from kevy_ring.inbox.header_words import LinkState
from kevy_ring.replica.apply_lag import NO_LAG, ApplyLag, ApplyLagWatch
from kevy_ring.replica.fleet import FleetEvent

#: The supervisor passes ten times a second. One pass may start a hundred processes, or wait for a slow terminal.
ALIVE_WITHIN_S = 30.0
#: A look at the shards that is older than this says nothing about now.
LOOK_WITHIN_S = 5.0
READY_LAG_S = 10.0


class Verdict(NamedTuple):
    """The answer to one question. ``reasons``: why it does not hold; empty if it does."""

    reasons: tuple[str, ...] = ()

    @property
    def holds(self) -> bool:
        return not self.reasons


class HealthListener(Protocol):
    """What a :class:`Health` informs, from the supervisor's thread."""

    def began(self) -> None:
        """A fleet begins. A run without a URL has two fleets, one after the other."""

    def happened(self, event: FleetEvent) -> None:
        """Take an event of the fleet."""

    def looked(self, shards: Sequence[ShardProgress]) -> None:
        """Take a look at all shards."""

    def passed(self) -> None:
        """The supervisor has made another pass."""

    def ending(self) -> None:
        """The run ends in order. It may be called twice."""


class Health:
    """The health of one run of the command.

    *Alive*: the supervisor has made a pass within the last :data:`ALIVE_WITHIN_S` seconds, also while the run ends.
    It is the supervisor that replaces dead processes, so a run whose supervisor hangs has to be restarted.

    *Ready*: each shard has a link that streams, a process that applies, no snapshot on its way, and no event that was
    received more than ``ready_lag_s`` seconds ago and is not applied. An upstream that changes nothing keeps it ready.

    The supervisor calls ``began``, ``passed``, ``looked``, ``happened`` and ``ending``. Any thread may ask.
    """

    def __init__(self, ready_lag_s: float = READY_LAG_S, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.listeners: list[HealthListener] = []
        self.lags: tuple[ApplyLag, ...] = ()
        self._ready_lag_s = ready_lag_s
        self._clock = clock
        self._watch = ApplyLagWatch()
        self._snapshots: dict[int, SnapshotDue] = {}
        self._passed_at = clock()
        self._looked_at = float("-inf")
        self._unready: tuple[str, ...] = ("no shard has been looked at yet",)
        self._is_ending = False

    def alive(self) -> Verdict:
        """Whether the supervisor makes progress."""
        age = self._clock() - self._passed_at
        if age <= ALIVE_WITHIN_S:
            return Verdict()
        return Verdict((f"the supervisor has made no pass for {figures.seconds(age)}",))

    def ready(self) -> Verdict:
        """Whether all shards follow their upstreams closely enough."""
        age = self._clock() - self._looked_at
        if self._unready or age <= LOOK_WITHIN_S:
            return Verdict(self._unready)
        return Verdict((f"the supervisor has not looked at the shards for {figures.seconds(age)}",))

    def began(self) -> None:
        """Another fleet of this run begins."""
        self._snapshots = {}
        self._is_ending = False
        for listener in self.listeners:
            listener.began()

    def passed(self) -> None:
        """The supervisor has made another pass."""
        self._passed_at = self._clock()
        for listener in self.listeners:
            listener.passed()

    def looked(self, shards: Sequence[ShardProgress]) -> None:
        """Take a look at all shards."""
        now = self._clock()
        lags = self._watch.look([shard.ring for shard in shards if shard.ring is not None], now)
        self._watch.forget_all_but(lags)
        self.lags = tuple(lags.values())
        reasons = (self._why_not(shard, lags) for shard in shards)
        unready = tuple(f"shard {shard.index}: {why}" for shard, why in zip(shards, reasons, strict=True) if why)
        self._unready = ("the run ends",) if self._is_ending else tuple(map(without_secrets, unready))
        self._looked_at = now
        for listener in self.listeners:
            listener.looked(shards)

    def happened(self, event: FleetEvent) -> None:
        """Take an event of the fleet."""
        for listener in self.listeners:
            listener.happened(event)

    def ending(self) -> None:
        """The run ends in order: it is not ready from now on."""
        if not self._is_ending:
            self._is_ending, self._unready = True, ("the run ends",)
            for listener in self.listeners:
                listener.ending()

    def _why_not(self, shard: ShardProgress, lags: dict[str, ApplyLag]) -> str:
        """Why a shard is not ready; empty if it is."""
        snapshot = self._snapshots.setdefault(shard.index, SnapshotDue())
        snapshot.look(shard)
        if shard.ring is None or not shard.link_state.is_following:
            return no_link_text(shard)
        if shard.shard_pid is None:
            return "its shard process does not run"
        is_loading = shard.is_loading and not shard.is_drained
        if shard.link_state is LinkState.SNAPSHOT or snapshot.is_due or is_loading:
            return "its snapshot is not loaded yet"
        lag_s = lags.get(shard.ring.name, NO_LAG).at_most_s
        if lag_s > self._ready_lag_s:
            return (
                f"an event waits for {figures.seconds(lag_s)}, and --ready-lag is {figures.seconds(self._ready_lag_s)}"
            )
        return ""
