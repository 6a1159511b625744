"""When a run ends, and what is wrong when it ended without that."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Protocol

from kevy_ring.cli import figures
from kevy_ring.cli.failure import Failure
from kevy_ring.cli.ingest.catch_up import CatchUp
from kevy_ring.cli.ingest.progress import ShardProgress
from kevy_ring.errors import PrimaryGone
from kevy_ring.inbox.header_words import LinkState, ProducerWord
from kevy_ring.testing import EmbeddedPrimary

_TROUBLE = (LinkState.NONE, LinkState.CONNECTING, LinkState.WAITING, LinkState.REFUSED)
#: How often the embedded upstream is asked how it is.
_ASK_S = 0.3


class Goal(Protocol):
    """``text``: when it ends, for people. ``is_awaited``: somebody waits for the end, so what cannot end must fail.
    ``has_end``: it ends by itself, so an upstream that can never be followed ends it at once."""

    text: str
    is_awaited: bool
    has_end: bool

    def stage(self, shards: Sequence[ShardProgress]) -> str:
        """What is going on, as a label."""

    def reached(self, shards: Sequence[ShardProgress], now: float) -> bool:
        """Take a sample at ``now`` (seconds of an even clock). Raises Failure when it can never be reached."""

    def missed(self, shards: Sequence[ShardProgress]) -> str | None:
        """What is wrong with a run that was stopped at this sample; None: nothing."""


class UntilStopped:
    """Until the user says so."""

    text = "until Ctrl-C"
    is_awaited = False
    has_end = False

    def stage(self, shards: Sequence[ShardProgress]) -> str:
        return _stage(shards)

    def reached(self, shards: Sequence[ShardProgress], now: float) -> bool:
        return False

    def missed(self, shards: Sequence[ShardProgress]) -> str | None:
        return link_trouble(shards)


class ForDuration(UntilStopped):
    """For some seconds."""

    has_end = True

    def __init__(self, seconds: float) -> None:
        self.text = f"for {figures.seconds(seconds)}"
        self._seconds = seconds
        self._began: float | None = None

    def reached(self, shards: Sequence[ShardProgress], now: float) -> bool:
        self._began = now if self._began is None else self._began
        return now - self._began >= self._seconds


class UntilCaughtUp(UntilStopped):
    """Until what the upstream has is applied."""

    text = "until it has caught up"
    is_awaited = True
    has_end = True

    def __init__(self) -> None:
        self._catch_up = CatchUp()

    def reached(self, shards: Sequence[ShardProgress], now: float) -> bool:
        return self._catch_up.seen(shards, now)

    def missed(self, shards: Sequence[ShardProgress]) -> str | None:
        return super().missed(shards) or "it was stopped before it had caught up"


class EmbeddedDone:
    """Until every frame that the embedded upstream has to give is applied.

    The live frames are started once every shard has its snapshot and the upstream has encoded its frames ahead, so
    that what is then measured is the replica.
    """

    text = "until every frame is applied"
    is_awaited = True
    has_end = True

    def __init__(self, primary: EmbeddedPrimary, *, seconds: float | None = None) -> None:
        self._primary = primary
        self._limit = ForDuration(seconds) if seconds is not None else None
        self._asked_at: float | None = None
        self._is_live = False

    def stage(self, shards: Sequence[ShardProgress]) -> str:
        if not self._is_live and all(self._is_synced(shard) for shard in shards):
            return "the upstream encodes frames ahead"
        return _stage(shards)

    def reached(self, shards: Sequence[ShardProgress], now: float) -> bool:
        if self._asked_at is None or now - self._asked_at >= _ASK_S:
            self._asked_at = now
            self._ask(shards)
        if self._is_live and all(self._has_all(shard) for shard in shards):
            return True
        if self._limit is not None and self._limit.reached(shards, now):
            raise Failure(f"it had not applied every frame {self._limit.text}")
        return False

    def missed(self, shards: Sequence[ShardProgress]) -> str | None:
        if all(self._has_all(shard) for shard in shards):
            return None
        return "it was stopped before every frame was applied"

    def _has_all(self, shard: ShardProgress) -> bool:
        final = self._primary.final_offset(shard.index)
        if self._primary.workloads[shard.index].op_count:
            return shard.applied_offset == final
        return self._is_synced(shard)

    def _is_synced(self, shard: ShardProgress) -> bool:
        # A shard without keys gets no snapshot, but starts with the first frame.
        has_snapshot = shard.snapshots > 0 or not self._primary.workloads[shard.index].key_count
        return shard.link_state is LinkState.STREAMING and shard.is_drained and has_snapshot

    def _ask(self, shards: Sequence[ShardProgress]) -> None:
        try:
            ready = self._primary.live_ready()
            if not self._is_live and ready and all(self._is_synced(shard) for shard in shards):
                self._primary.start_live()
                self._is_live = True
        except PrimaryGone as error:
            raise Failure(str(error)) from error


def _stage(shards: Sequence[ShardProgress]) -> str:
    states = {shard.link_state for shard in shards}
    if LinkState.SNAPSHOT in states or any(shard.awaits_snapshot for shard in shards):
        return "snapshot"
    if states and states <= {LinkState.STREAMING}:
        if any(shard.is_loading and not shard.is_drained for shard in shards):
            return "snapshot"
        return "following the upstream"
    return "waiting for the upstream" if LinkState.HANDSHAKE in states else "connecting"


def link_trouble(shards: Sequence[ShardProgress]) -> str | None:
    """The first shard that is not following its upstream now, as text; None: all are."""
    return next((text for shard in shards if (text := _trouble(shard))), None)


def _trouble(shard: ShardProgress) -> str | None:
    where = f"shard {shard.index}: {shard.upstream}"
    if not shard.full_syncs + shard.partial_syncs:
        return f"{where} never synced: {no_link_text(shard)}"
    # The link of an earlier run on the same ring does not count for this run.
    has_synced = shard.of_run(ProducerWord.FULL_SYNCS) + shard.of_run(ProducerWord.PARTIAL_SYNCS) > 0
    if shard.link_state in _TROUBLE or not has_synced:
        return f"{where}: the link was down at the end: {no_link_text(shard)}"
    if shard.link_state is LinkState.SNAPSHOT or shard.awaits_snapshot:
        return f"{where} was still in its snapshot at the end"
    return None


def no_link_text(shard: ShardProgress) -> str:
    """How the link stands that an upstream is not followed by: the reason, the state, and since when."""
    since = time.strftime("%H:%M:%S", time.localtime(time.time() - shard.link_age_s))
    reason = f"{shard.link_text}; " if shard.link_text else ""
    lasted = figures.seconds(shard.link_age_s)
    return f"{reason}no link since {since} ({lasted}), last state: {_STATES[shard.link_state]}"


_STATES = {
    LinkState.NONE: "no runner process yet",
    LinkState.CONNECTING: "connecting",
    LinkState.HANDSHAKE: "connected, waiting for an answer to the handshake",
    LinkState.SNAPSHOT: "receiving the snapshot",
    LinkState.STREAMING: "linked",
    LinkState.WAITING: "waiting for the next attempt",
    LinkState.REFUSED: "refused, waiting for the next attempt",
    LinkState.STOPPED: "stopped",
    LinkState.RECEIVER_GONE: "no shard process",
}
