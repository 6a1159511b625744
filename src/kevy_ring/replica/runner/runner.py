"""The runner: follows one upstream stream into one inbox sender, and reconnects after each lost link."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any

from kevy_ring.errors import LinkError, Refusal, RefusalKind, UpstreamRefused
from kevy_ring.inbox import ReplicaInboxSender
from kevy_ring.inbox.header_words import LinkState
from kevy_ring.replica.backoff import Backoff
from kevy_ring.replica.link_words import LinkWords
from kevy_ring.replica.options import FollowOptions
from kevy_ring.replica.patience import Patience
from kevy_ring.replica.protocol import FullSyncReason, ReplicationProtocol, ResumePoint, Synced
from kevy_ring.replica.protocols.dialect import Dialect
from kevy_ring.replica.refusal import SILENT, VIOLATION, refusal_of_snapshot
from kevy_ring.replica.runner.connect import open_link
from kevy_ring.replica.runner.feed import EndCause, Feed, FeedEnd
from kevy_ring.replica.runner.tls import OtherScheme
from kevy_ring.replica.stop import StopSignal
from kevy_ring.replica.upstream_url import UpstreamUrl

__all__ = ["LinkState", "Runner", "RunnerExit"]

log = logging.getLogger(__name__)

# A link that lasted this long was a success, and the next attempt comes soon. After a violation of the protocol it must
# have lasted longer, because the full sync that follows costs the upstream a snapshot.
STABLE_S, STABLE_DESPITE_VIOLATION_S = 1.0, 60.0
# How often a waiting runner checks whether its receiver is gone.
_WAIT_TICK_S = 0.1
# A runner that waits for minutes repeats its reason this often.
REPEAT_S = 60.0
#: The text of the state HANDSHAKE while the upstream is alive and will begin a full sync later.
PREPARING = "the upstream prepares the snapshot (Redis waits repl-diskless-sync-delay first, 5 s by default)"

_WHY_FULL = {
    FullSyncReason.FIRST: "nothing was received into this ring before",
    FullSyncReason.STORE: "the sink keeps no position, and the process that applied the earlier data has ended",
    FullSyncReason.RING: "a new ring replaced the old one, and the position was lost with it",
    FullSyncReason.INTERRUPTED: "the last snapshot was not completely received or loaded",
}


class RunnerExit(Enum):
    """Why ``Runner.run`` returned."""

    STOPPED = "stopped"
    RECEIVER_GONE = "receiver gone"
    REFUSED = "refused"


class Runner:
    """Connects to ``url``, syncs, forwards every event to ``sender``, and reconnects until stopped.

    ``url``: an upstream's URL, with any options of :class:`FollowOptions` as keywords; or a :class:`FollowOptions`, of
    whose upstreams it follows the one of ``shard``.

    After a lost link it resumes where the link broke. After an offset gap or any other violation of the protocol it
    starts with a full sync. ``resume``: where an earlier runner's data ends, None for a full sync. ``notify`` is called
    with each change of state and a text for people, ``synced`` with how a link started (``"full"`` or ``"partial"``)
    and a text. Both are called from the running thread.

    ``refusal`` is the :class:`Refusal` of the last attempt, None if it was not refused. After a permanent refusal the
    runner tries again after 1 s to 5 minutes and reports the reason every minute. With ``ends_when_refused``, ``run``
    returns as soon as a second attempt has confirmed it. ``patience``: other times to wait. ``full_reason``: the reason
    for a full sync if ``resume`` is None; ``sync_reason`` is the reason of the last link's full sync, None after a
    partial one. ``words_before``: the words of the ring's producer from an earlier runner, whose counts of syncs and
    lost links continue.

    ``stop`` ends it from any thread. ``backoff``: the delays after lost links. ``replica_id``: what the upstream shows.
    The runner does not close the sender. Raises ValueError if the URL, protocol and resume point do not fit together,
    or if the URL names a database.
    """

    def __init__(
        self,
        url: str | UpstreamUrl | FollowOptions,
        sender: ReplicaInboxSender,
        *,
        shard: int = 0,
        backoff: Backoff | None = None,
        stop: StopSignal | None = None,
        resume: ResumePoint | None = None,
        replica_id: str | None = None,
        notify: Callable[[LinkState, str], None] | None = None,
        synced: Callable[[Synced, str], None] | None = None,
        patience: Patience | None = None,
        ends_when_refused: bool = False,
        full_reason: FullSyncReason = FullSyncReason.FIRST,
        words_before: Sequence[int] = (),
        **options: Any,
    ) -> None:
        self.options = FollowOptions.of(url, **options)
        self.upstream = self.options.upstreams[shard]
        self.stop = stop if stop is not None else StopSignal()
        self.last_problem = ""  # for display: why the last link ended or could not be opened
        self.sync_reason: FullSyncReason | None = None
        self._sender = sender
        self._dialect = Dialect(self.upstream, self.options)
        self._patience = patience if patience is not None else Patience(backoff)
        self._ends_when_refused = ends_when_refused
        self._full_reason, self._full_detail = full_reason, ""
        self._has_worked = False
        self._other_scheme = OtherScheme(self.upstream, self.stop, lambda: sender.receiver_gone)
        self._resume, self._ended_there = resume, "an earlier process"
        self._replica_id = replica_id or f"kevy-ring-{secrets.token_hex(6)}"
        self._notify = notify
        self._tell_synced = synced
        self._words = LinkWords(sender, words_before)
        self._new_protocol()  # a resume point that does not fit is refused now, not in the loop

    def __repr__(self) -> str:
        state = self.state.name.lower().replace("_", " ") if self.state else "not started"
        return f"<Runner of {self.upstream.address} into ring {self._sender.name!r}: {state}>"

    @property
    def state(self) -> LinkState:
        """What the runner is doing."""
        return self._words.state

    @property
    def resume_point(self) -> ResumePoint | None:
        """Where the next link continues; meaningful after ``run`` has returned."""
        return self._resume

    @property
    def refusal(self) -> Refusal | None:
        """The refusal of the last attempt; None if it was not refused."""
        return None if self._words.state.is_following else self._patience.refusal

    def run(self) -> RunnerExit:
        """Follow the upstream until ``stop`` is set or the receiver is gone. Returns which, within a second."""
        while not self._ended():
            delay = self._attempt()
            refusal = self.refusal
            if self._ends_when_refused and refusal is not None and refusal.is_confirmed and not self._ended():
                return RunnerExit.REFUSED
            self._wait(delay)
            if not self._ended():
                self._words.reconnects += 1
        stopped = self.stop.is_set()
        self._enter(LinkState.STOPPED if stopped else LinkState.RECEIVER_GONE)
        return RunnerExit.STOPPED if stopped else RunnerExit.RECEIVER_GONE

    def _ended(self) -> bool:
        return self.stop.is_set() or self._sender.receiver_gone

    def _attempt(self) -> float:
        """One link from its connect to its end. Returns the seconds to wait before the next one."""
        self._enter(LinkState.CONNECTING)
        try:
            link = open_link(
                self.upstream,
                timeout=self.options.connect_timeout_s,
                stop=self.stop,
                given_up=lambda: self._sender.receiver_gone,
            )
        except UpstreamRefused as error:
            self._other_scheme.spoke()
            return self._lost(LinkState.REFUSED, error.reply, error.refusal)
        except LinkError as error:
            refusal = error.refusal or self._other_scheme.look(error)
            return self._lost(LinkState.WAITING, f"{error.reason}: {error.detail}", refusal)
        if link is None:
            return 0.0
        with link:
            protocol = self._new_protocol()
            self._words.full_reason = self._full_reason if self._resume is None else FullSyncReason.HISTORY
            self._enter(LinkState.HANDSHAKE, protocol.name)
            feed = Feed(
                link,
                protocol,
                self._sender,
                self._words,
                self.stop,
                options=self.options,
                synced=self._synced,
                paused=self._paused,
                preparing=lambda: self._enter(LinkState.HANDSHAKE, PREPARING),
            )
            end = feed.run()
        return self._after(protocol, end)

    def _synced(self, how: Synced) -> None:
        self.sync_reason = self._words.full_reason if how == "full" else None
        text = f"a full sync: {self._why_full()}"
        if how == "partial" and self._resume:
            text = f"a partial sync: it continues after offset {self._resume.offset}, where {self._ended_there} ended"
        log.info("%s: %s", self.upstream, text)
        if self._tell_synced is not None:
            self._tell_synced(how, text)

    def _why_full(self) -> str:
        if self._resume is not None:
            psync = self.options.psync_command
            return (
                f"the upstream does not continue after offset {self._resume.offset} of history "
                f"{self._resume.upstream_id}: it does not know this history, or its backlog begins later (make the "
                f"upstream's backlog larger){'' if psync == 'PSYNC' else f', or it answers {psync} as SYNC'}"
            )
        if self._full_reason is FullSyncReason.VIOLATION:
            return f"the data received before may be wrong ({self._full_detail})"
        return _WHY_FULL[self._full_reason]

    def _paused(self, waiting_bytes: int) -> None:
        text = "reading continues"
        if waiting_bytes:
            limit = self.options.overflow_limit
            text = f"reading stops until the shard drains the overflow: {waiting_bytes} bytes wait, limit {limit}"
        # Log pause and resume at the same level so that they appear as a pair.
        log.warning("%s: %s", self.upstream, text)
        self._enter(self._words.state, text)

    def _after(self, protocol: ReplicationProtocol, end: FeedEnd) -> float:
        """Learn from a link that ended. Returns the seconds to wait."""
        # Before the end of the handshake (a proxy's error page, for example) no data was received that may be wrong.
        doubted = end.cause is EndCause.VIOLATION and protocol.established
        self._learn_place(protocol, end, doubted=doubted)
        if end.cause in (EndCause.STOPPED, EndCause.RECEIVER_GONE):
            return 0.0
        needed = STABLE_DESPITE_VIOLATION_S if end.cause is EndCause.VIOLATION else STABLE_S
        if end.established_s >= needed and not protocol.snapshot_pending:
            self._patience.link_stood()
        if protocol.established:
            self._dialect.accepted()
            self._has_worked = True
            if not protocol.snapshot_pending and not (doubted and end.established_s < needed):
                self._patience.worked()
        if end.cause is EndCause.CLOSED and protocol.refused_silently:
            return self._silent()
        self._other_scheme.spoke()
        refusal, detail = end.refusal, f"{end.cause.value}{': ' if end.detail else ''}{end.detail}"
        if protocol.snapshot_pending and (refusal is None or refusal.kind is RefusalKind.OTHER):
            refusal = refusal_of_snapshot(self.upstream.kind)
        if end.cause is EndCause.REFUSED:
            return self._lost(LinkState.REFUSED, end.detail, refusal)
        if end.cause is EndCause.VIOLATION:
            return self._lost(LinkState.WAITING, detail, VIOLATION)
        return self._lost(LinkState.WAITING, detail, refusal)

    def _learn_place(self, protocol: ReplicationProtocol, end: FeedEnd, *, doubted: bool) -> None:
        """Note where the next link continues, or why it must be a full sync."""
        had_none = self._resume is None
        self._resume, self._ended_there = None if doubted else protocol.resume_point, "the last link"
        if doubted:
            self._full_reason, self._full_detail = FullSyncReason.VIOLATION, end.detail
        elif self._resume is None and (protocol.snapshot_pending or not had_none):
            self._full_reason = FullSyncReason.INTERRUPTED

    def _silent(self) -> float:
        """The upstream closed the link before it sent a byte. Returns the seconds to wait.

        A server that starts, one that does not speak our protocol, and a proxy without its server do this. It counts
        as a refusal only for kevy, which refuses a protocol version in this way.
        """
        problem = "the upstream closed the link without a byte"
        silent = None
        if self.upstream.kind == "kevy":
            problem = f"the upstream closed the handshake of {self._dialect.tried} without a byte"
            silent = None if self._has_worked else SILENT
            if self._dialect.refused():
                self._lost(LinkState.WAITING, problem, None)
                return 0.0
        return self._lost(LinkState.WAITING, problem, self._other_scheme.look(None) or silent)

    def _lost(self, state: LinkState, problem: str, refusal: Refusal | None) -> float:
        delay = self._patience.next_delay(problem, refusal)
        found = self._patience.refusal
        if found is not None and found.is_permanent:
            state = LinkState.REFUSED
        self.last_problem = self.upstream.scrub(problem)
        if found is not None and found.remedy and found.is_permanent:
            self.last_problem = f"{self.last_problem.rstrip(' .')}; {found.remedy}"
        log.warning("%s: %s", self.upstream, self.last_problem)
        self._enter(state, self.last_problem)
        return delay

    def _wait(self, delay: float) -> None:
        silent_s = 0.0
        while delay > 0 and not self._ended():
            self.stop.wait(min(delay, _WAIT_TICK_S))
            delay -= _WAIT_TICK_S
            silent_s += _WAIT_TICK_S
            if silent_s >= REPEAT_S:
                silent_s = 0.0
                log.warning("%s: %s", self.upstream, self.last_problem)
                self._enter(self._words.state, self.last_problem)

    def _new_protocol(self) -> ReplicationProtocol:
        return self._dialect.protocol(replica_id=self._replica_id, resume=self._resume)

    def _enter(self, state: LinkState, text: str = "") -> None:
        self._words.publish_state(state)
        if self._notify is not None:
            self._notify(state, text)
