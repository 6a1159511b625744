"""The goals of a run: when it ends, and what is wrong if it was stopped before."""

from __future__ import annotations

import time
from collections.abc import Sequence

from kevy_ring.cli import figures
from kevy_ring.cli.failure import Failure
from kevy_ring.cli.ingest.catch_up import CatchUp
from kevy_ring.cli.ingest.progress import ShardProgress
from kevy_ring.errors import PrimaryGone
from kevy_ring.inbox.header_words import LinkState, ProducerWord
from kevy_ring.testing import EmbeddedPrimary

_TROUBLE = (LinkState.NONE, LinkState.CONNECTING, LinkState.WAITING, LinkState.REFUSED)
#: An upstream has not answered the handshake.
WAITING_STAGE = "waiting for the upstream"
#: Seconds between two questions to the embedded upstream.
_ASK_S = 0.3


class UntilStopped:
    """Run until the user stops it. The other goals change parts of this one.

    ``text``: the end, for people. ``is_awaited``: the user waits for the end, so a run that cannot reach it must fail.
    ``has_end``: the run ends by itself, so an upstream that can never be followed ends it at once.
    """

    text = "until Ctrl-C"
    is_awaited = False
    has_end = False

    def stage(self, shards: Sequence[ShardProgress]) -> str:
        """What the run is doing, as a label."""
        return _stage(shards)

    def reached(self, shards: Sequence[ShardProgress], now: float) -> bool:
        """Take a sample; ``now``: seconds of a monotonic clock. Raises Failure if the goal can never be reached."""
        return False

    def missed(self, shards: Sequence[ShardProgress]) -> str | None:
        """What is wrong with a run that was stopped at this sample; None: nothing."""
        return link_trouble(shards)


class ForDuration(UntilStopped):
    """Run for some seconds."""

    has_end = True

    def __init__(self, seconds: float) -> None:
        self.text = f"for {figures.seconds(seconds)}"
        self.seconds = seconds
        self._began: float | None = None

    def reached(self, shards: Sequence[ShardProgress], now: float) -> bool:
        self._began = now if self._began is None else self._began
        return now - self._began >= self.seconds


class UntilCaughtUp(UntilStopped):
    """Run until everything that the upstream has is applied."""

    text = "until it has caught up"
    is_awaited = True
    has_end = True

    def __init__(self) -> None:
        self._catch_up = CatchUp()

    def reached(self, shards: Sequence[ShardProgress], now: float) -> bool:
        return self._catch_up.seen(shards, now)

    def missed(self, shards: Sequence[ShardProgress]) -> str | None:
        return super().missed(shards) or "it was stopped before it had caught up"


class EmbeddedDone(UntilStopped):
    """Run until every frame of the embedded upstream is applied.

    The live frames start when every shard has its snapshot and the upstream has encoded its frames. From then on, the
    replica sets the rate.
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
            raise Failure(f"not every frame was applied within {figures.seconds(self._limit.seconds)} (--duration)")
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
        # A shard without keys gets no snapshot. It starts with the first frame.
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
    return WAITING_STAGE if LinkState.HANDSHAKE in states else "connecting"


def link_trouble(shards: Sequence[ShardProgress]) -> str | None:
    """What is wrong with the first shard that does not follow its upstream; None: all follow."""
    return next((text for shard in shards if (text := _trouble(shard))), None)


def _trouble(shard: ShardProgress) -> str | None:
    where = f"shard {shard.index}: {shard.upstream}"
    if not shard.full_syncs + shard.partial_syncs:
        return f"{where} never synced: {no_link_text(shard)}"
    # A kept ring still has the state and the counts of an earlier run. They do not count for this run.
    has_synced = shard.of_run(ProducerWord.FULL_SYNCS) + shard.of_run(ProducerWord.PARTIAL_SYNCS) > 0
    if shard.link_state in _TROUBLE or not has_synced:
        return f"{where}: the link was down at the end: {no_link_text(shard)}"
    if shard.link_state is LinkState.SNAPSHOT or shard.awaits_snapshot:
        return f"{where} had not loaded its snapshot at the end"
    return None


def no_link_text(shard: ShardProgress) -> str:
    """Why a shard has no link, since when, and the last state of the link."""
    since = time.strftime("%H:%M:%S", time.localtime(time.time() - shard.link_age_s))
    reason = f"{shard.link_text.removesuffix('.')}; " if shard.link_text else ""
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
