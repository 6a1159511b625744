"""The runner: one upstream stream, followed through every lost link into one inbox sender."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable
from enum import Enum

from kevy_ring.errors import LinkError, UpstreamRefused
from kevy_ring.replica.backoff import Backoff
from kevy_ring.replica.dialect import Dialect
from kevy_ring.replica.feed import EndCause, Feed, FeedEnd, ReplicaSender
from kevy_ring.replica.link import open_link
from kevy_ring.replica.link_words import LinkState, LinkWords
from kevy_ring.replica.protocol import ReplicationProtocol, ResumePoint, Synced
from kevy_ring.replica.stop import StopSignal
from kevy_ring.replica.upstream_url import UpstreamUrl, parse_upstream

__all__ = ["LinkState", "Runner", "RunnerExit"]

log = logging.getLogger(__name__)

CONNECT_TIMEOUT_S = 10.0
# A link that stood this long was a success, and the next attempt comes soon. One that broke the protocol must have
# stood longer: each of its full syncs costs the upstream a snapshot.
STABLE_S = 1.0
STABLE_DESPITE_VIOLATION_S = 60.0
# How long a receiver may be gone before a runner that waits for its next attempt sees it.
_WAIT_TICK_S = 0.1


class RunnerExit(Enum):
    """Why ``Runner.run`` returned."""

    STOPPED = "stopped"
    RECEIVER_GONE = "receiver gone"


class Runner:
    """Connects to ``url``, syncs, forwards every event to ``sender``, and reconnects until stopped.

    A lost link is resumed where it broke; an offset gap or any other violation of the protocol is followed by a full
    sync. ``resume``: where an earlier runner's data ends, None for a full sync. ``protocol``: ``"auto"``,
    ``"kevy1"``, ``"kevy2"`` or ``"redis"``. ``notify`` is told each change of state with a text for people,
    ``synced`` how a link started, ``"full"`` or ``"partial"``, with one too, both from the running thread.
    ``overflow_limit``: while more bytes than this wait behind the ring nothing is read, until half of them are gone,
    so that what the shard cannot take waits upstream and not in this process. ``silence_s`` replaces the built-in
    limits after which a silent upstream is given up.

    The runner does not close the sender. Raises ValueError for a URL, protocol and resume point that do not fit.
    """

    def __init__(
        self,
        url: str | UpstreamUrl,
        sender: ReplicaSender,
        *,
        protocol: str = "auto",
        backoff: Backoff | None = None,
        stop: StopSignal | None = None,
        resume: ResumePoint | None = None,
        replica_id: str | None = None,
        listening_port: int = 0,
        connect_timeout_s: float = CONNECT_TIMEOUT_S,
        silence_s: float | None = None,
        notify: Callable[[LinkState, str], None] | None = None,
        overflow_limit: int | None = None,
        synced: Callable[[Synced, str], None] | None = None,
    ) -> None:
        if overflow_limit is not None and overflow_limit < 1:
            raise ValueError(f"a limit of the overflow is at least one byte: {overflow_limit}")
        self.upstream = parse_upstream(url)
        self.stop = stop if stop is not None else StopSignal()
        self.last_problem = ""  # why the last link ended or could not be made, for display
        self._sender = sender
        self._dialect = Dialect(self.upstream, protocol)
        self._backoff = backoff if backoff is not None else Backoff()
        self._resume = resume
        self._replica_id = replica_id or f"kevy-ring-{secrets.token_hex(6)}"
        self._listening_port = listening_port
        self._connect_timeout_s = connect_timeout_s
        self._silence_s = silence_s
        self._notify = notify
        self._overflow_limit = overflow_limit
        self._tell_synced = synced
        self._words = LinkWords(sender)
        self._new_protocol()  # a resume point that does not fit is refused now, not in the loop

    @property
    def state(self) -> LinkState:
        """What the runner is doing."""
        return self._words.state

    @property
    def resume_point(self) -> ResumePoint | None:
        """What the next link goes on from; meaningful once ``run`` has returned."""
        return self._resume

    def run(self) -> RunnerExit:
        """Follow the upstream until ``stop`` is set or the receiver is gone. Ends within a second of either."""
        while not self._ended():
            self._wait(self._attempt())
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
                timeout=self._connect_timeout_s,
                stop=self.stop,
                given_up=lambda: self._sender.receiver_gone,
            )
        except UpstreamRefused as error:
            return self._lost(LinkState.REFUSED, error.reply)
        except LinkError as error:
            return self._lost(LinkState.WAITING, f"{error.reason}: {error.detail}")
        if link is None:
            return 0.0
        with link:
            protocol = self._new_protocol()
            self._enter(LinkState.HANDSHAKE, protocol.name)
            feed = Feed(
                link,
                protocol,
                self._sender,
                self._words,
                self.stop,
                silence_s=self._silence_s,
                overflow_limit=self._overflow_limit,
                synced=self._synced,
                paused=self._paused,
            )
            end = feed.run()
        return self._after(protocol, end)

    def _synced(self, how: Synced) -> None:
        after = f"goes on after offset {self._resume.offset}" if how == "partial" and self._resume else "a full sync"
        log.info("%s: %s", self.upstream, after)
        if self._tell_synced is not None:
            self._tell_synced(how, after)

    def _paused(self, waiting_bytes: int) -> None:
        words = "reading goes on"
        if waiting_bytes:
            words = f"reading stops: {waiting_bytes} bytes wait behind the ring, the limit is {self._overflow_limit}"
        # Both at the same level: who reads of the one waits for the other.
        log.warning("%s: %s", self.upstream, words)
        self._enter(self._words.state, words)

    def _after(self, protocol: ReplicationProtocol, end: FeedEnd) -> float:
        """Learn from a link that ended. Returns the seconds to wait."""
        # Before the handshake is through (a proxy's error page, say) nothing was received that could be doubted.
        doubted = end.cause is EndCause.VIOLATION and protocol.established
        self._resume = None if doubted else protocol.resume_point
        if end.cause in (EndCause.STOPPED, EndCause.RECEIVER_GONE):
            return 0.0
        if protocol.established:
            self._dialect.accepted()
        needed = STABLE_DESPITE_VIOLATION_S if end.cause is EndCause.VIOLATION else STABLE_S
        if end.established_s >= needed:
            self._backoff.reset()
        if end.cause is EndCause.REFUSED:
            return self._lost(LinkState.REFUSED, end.detail)
        if end.cause is EndCause.CLOSED and protocol.refused_silently and self.upstream.kind == "kevy":
            at_once = self._dialect.refused()
            delay = self._lost(LinkState.WAITING, f"it closed the handshake of {protocol.name} without a byte")
            return 0.0 if at_once else delay
        return self._lost(LinkState.WAITING, f"{end.cause.value}{': ' if end.detail else ''}{end.detail}")

    def _lost(self, state: LinkState, problem: str) -> float:
        self.last_problem = self.upstream.scrub(problem)
        delay = self._backoff.next_delay()
        log.warning("%s: %s", self.upstream, self.last_problem)
        self._enter(state, self.last_problem)
        return delay

    def _wait(self, delay: float) -> None:
        while delay > 0 and not self._ended():
            self.stop.wait(min(delay, _WAIT_TICK_S))
            delay -= _WAIT_TICK_S

    def _new_protocol(self) -> ReplicationProtocol:
        return self._dialect.protocol(
            replica_id=self._replica_id, listening_port=self._listening_port, resume=self._resume
        )

    def _enter(self, state: LinkState, text: str = "") -> None:
        self._words.publish_state(state)
        if self._notify is not None:
            self._notify(state, text)
