"""The fleet: a ring, a runner process and a shard process for each upstream shard, supervised until it is stopped."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable
from multiprocessing.connection import wait
from typing import Any

from kevy_ring.errors import SegmentError
from kevy_ring.replica.backoff import Backoff
from kevy_ring.replica.fleet.child import ENDING_SIGNALS, ShardMain
from kevy_ring.replica.fleet.event import FleetEnd, FleetEvent, FleetEventKind, Role, ShardStatus, ShardUnheard
from kevy_ring.replica.fleet.pair import ReplicaPair
from kevy_ring.replica.fleet.pair_ring import of_several
from kevy_ring.replica.options import FollowOptions, Urls
from kevy_ring.replica.protocols.dialect import Dialect
from kevy_ring.replica.stall_watch import StallWatch
from kevy_ring.replica.stop import StopSignal, StopSignals
from kevy_ring.replica.upstream_url import UpstreamUrl
from kevy_ring.ring.deadline import checked_timeout

log = logging.getLogger(__name__)

CLOSE_TIMEOUT_S = 10.0
# A shard answers between two batches, so an answer takes the time of a batch and its own.
ANSWER_TIMEOUT_S = 60.0
_ASK_TICK_S = 0.05
# Parts of the time for closing: first the runners hand their overflow over, then the shards drain their rings, then the
# shards are asked to end even if they are not done. Processes that are left at the end are killed.
_RUNNERS_SHARE, _DRAIN_SHARE = 0.4, 0.7
_CLOSE_TICK_S = 0.05
# How often ``step`` checks whether a full ring is drained, and whether the rings have their names in shared memory.
_LOOK_S = 1.0


def _log_text(shard: int, topic: str, text: str) -> None:
    log.warning("shard %d: %s: %s", shard, topic, text)


class Fleet:
    """Replicates ``urls`` into shard processes.

    A ``kevy://`` URL has ``shards`` listeners (port + i), any other is one stream. The options of
    :class:`FollowOptions` are keywords, such as ``capacity``, ``name_prefix``, ``overflow_limit`` or ``resumable``. Or
    ``urls`` is a :class:`FollowOptions` with its upstreams.

    ``shard_main(ring_name, index, stop)`` runs in the shard's process. It attaches a receiver by the name, and returns
    when ``stop`` is set or the sender is gone. It and its result must be picklable (see ``results``). If the shards are
    ``resumable``, the fleet replaces a dead shard process on its ring, without a full sync. ``shard_main`` must then
    continue when the sender is gone, until ``stop``. Processes are started by 'spawn'. ``on_event`` is called from
    ``step``, ``run`` and ``close``; each event is also logged. A stall is one event, STALLED, its end another, DRAINED.
    ``on_words(shard, topic, text)`` is called in the same way with each text that a shard's process passes to
    ``stop.say``; by default it is logged as a warning. ``on_pass`` is called after each pass of the supervision, also
    while ``close`` waits: for a watchdog. ``ring_label(index, upstream)``: the purpose of each ring for its header, for
    people, cut at 256 bytes. By default it is the upstream's address without a login.

    Use it from one thread: ``run()`` does everything from the start to the end. ``with fleet:`` and ``step`` are for
    an application with its own loop. The fleet supervises only while one of these runs. ``close_timeout_s``: how long
    an orderly end may take. ``backoff``: makes the delays between restarts. Raises ValueError for URLs that cannot be
    followed, before it starts a process.
    """

    def __init__(
        self,
        urls: Urls,
        shard_main: ShardMain,
        *,
        shards: int = 1,
        on_event: Callable[[FleetEvent], None] | None = None,
        on_words: Callable[[int, str, str], None] = _log_text,
        on_pass: Callable[[], None] = lambda: None,
        close_timeout_s: float = CLOSE_TIMEOUT_S,
        backoff: Callable[[], Backoff] = Backoff,
        ring_label: Callable[[int, UpstreamUrl], str] = lambda index, upstream: upstream.address,
        **options: Any,
    ) -> None:
        self.options = FollowOptions.of(urls, shards=shards, **options)
        self.stop = StopSignal()
        self._on_event, self._on_pass = on_event, on_pass
        self._close_timeout_s = close_timeout_s
        self._signals, self._started = StopSignals(self.stop, ENDING_SIGNALS), False
        after_s = self.options.stall_after_s
        self._stalls = StallWatch(after_s) if after_s is not None else None
        self._looked_at = dict.fromkeys(("stalls", "names"), float("-inf"))
        replica_id = self.options.name_prefix or f"kevy-ring-{secrets.token_hex(4)}"
        self._pairs = [
            ReplicaPair(
                self.options,
                index,
                shard_main,
                replica_id=f"{replica_id}-{index}",
                label=ring_label(index, upstream),
                report=self._note,
                say=on_words,
                backoff=backoff(),
            )
            for index, upstream in enumerate(self.options.upstreams)
        ]
        for upstream in self.options.upstreams:
            Dialect(upstream, self.options)

    def __repr__(self) -> str:
        state = "closed" if self.stop.fileno() < 0 else "running" if self._started else "not started"
        return f"<Fleet of {', '.join(each.address for each in self.upstreams)}: {state}>"

    @property
    def results(self) -> list[Any]:
        """The result of each shard's last ``shard_main``; None if it has not returned."""
        return [pair.result for pair in self._pairs]

    @property
    def failure(self) -> str | None:
        """Why a shard's processes are not replaced any more (see ``max_restarts``), with the shard; None: they are."""
        return next((f"shard {each.index}: {each.plan.gave_up}" for each in self._pairs if each.plan.gave_up), None)

    @property
    def upstreams(self) -> list[UpstreamUrl]:
        """The upstream of each shard, in their order."""
        return list(self.options.upstreams)

    def status(self) -> list[ShardStatus]:
        """The present status of each shard."""
        return [pair.status for pair in self._pairs]

    def make_rings(self) -> None:
        """Make all rings, or find the kept ones, before any process is started. ``start`` calls it too.

        If one ring cannot be made, the other new ones are removed. Raises SegmentError and RoleTaken.
        """
        for number, pair in enumerate(self._pairs, 1):
            try:
                if pair.made.ring is None:
                    pair.make_ring()
            except BaseException as error:
                for each in self._pairs:
                    each.drop_ring()
                if isinstance(error, SegmentError) and len(self._pairs) > 1:
                    raise of_several(error, number, len(self._pairs)) from error
                raise

    def start(self) -> Fleet:
        """Make the rings and start all processes. After a failure no process is left running."""
        self._started = True
        self.make_rings()
        try:
            for pair in self._pairs:
                pair.start()
                self._on_pass()  # many processes need long to start
        except BaseException:
            for pair in self._pairs:
                for role in Role:
                    pair.stop(role)  # so that their exits count as expected and do not hide the failure
            self._abandon()
            raise
        return self

    def ask(
        self,
        shard: int,
        question: str,
        *arguments: Any,
        timeout: float = ANSWER_TIMEOUT_S,
        pulse: Callable[[], None] = lambda: None,
    ) -> Any:
        """Returns what the process of a shard answers (``stop.answer``). The fleet supervises meanwhile.

        ``question`` names the function there, which gets ``arguments``. ``timeout``: seconds. ``pulse`` is called while
        the answer is awaited, and may raise to end the waiting. Raises :class:`ShardUnheard` if there is no process or
        no answer in time, if the process died or cannot answer, and if the fleet is stopped.
        """

        def wait_a_moment() -> None:
            self.step(_ASK_TICK_S)
            pulse()
            if self.stop.is_set():
                raise ShardUnheard(shard, "the fleet was stopped before it answered")

        return self._pairs[shard].ask(question, arguments, timeout=timeout, wait=wait_a_moment)

    def step(self, timeout: float) -> None:
        """Supervise: wait at most ``timeout`` seconds for an event, report it, and do the restarts that are due.

        Returns at once if the fleet is closed.
        """
        if self.stop.fileno() < 0:
            return
        due = [pair.wake_at for pair in self._pairs if pair.wake_at is not None]
        if due:
            timeout = min(timeout, max(0.0, min(due) - time.monotonic()))
        wait([*(each for pair in self._pairs for each in pair.waitables), self.stop.fileno()], timeout)
        self._poll()
        if self._is_due("stalls", _LOOK_S):
            self._look_for_stalls()
        if self._is_due("names", _LOOK_S):
            for pair in self._pairs:
                pair.look_at_names()

    def run(self, until: Callable[[], bool] | None = None, *, tick_s: float = 0.25) -> FleetEnd:
        """Supervise until ``until()`` (called every ``tick_s``) is true, ``stop`` is set or a signal comes; then close.

        It also ends, with FleetEnd.FAILED, when there is a ``failure``.

        It also calls ``start`` if that was not done yet, so that the signal handlers cover the start too. The signals
        are SIGINT and SIGTERM, only in the main thread; a second one ends the closing at once.
        """
        with self._signals:
            try:
                if not self._started:
                    self.start()
                ended = FleetEnd.UNTIL
                while not self.stop.is_set() and not (until is not None and until()):
                    if self.failure is not None:
                        ended = FleetEnd.FAILED
                        break
                    self.step(tick_s)
            finally:
                if self._signals.count:
                    ended = FleetEnd.SIGNALLED
                elif self.stop.is_set():
                    ended = FleetEnd.STOPPED
                self.close()
        return ended

    def close(self, timeout: float | None = None) -> None:
        """End all processes within ``timeout`` seconds (None: ``close_timeout_s``), and remove the rings unless kept.

        Runners end first, shards after they have applied what was received. A second call does nothing.
        """
        checked_timeout(timeout)
        timeout = self._close_timeout_s if timeout is None else timeout
        started = time.monotonic()
        for pair in self._pairs:
            pair.stop(Role.RUNNER)
        self._wait_while(lambda pair: pair.child(Role.RUNNER) is not None, started + timeout * _RUNNERS_SHARE)
        for pair in self._pairs:
            pair.kill(Role.RUNNER)
        self._wait_while(self._shard_has_work, started + timeout * _DRAIN_SHARE)
        for pair in self._pairs:
            pair.stop(Role.SHARD)
        self._wait_while(lambda pair: pair.child(Role.SHARD) is not None, started + timeout)
        self._abandon()
        self.stop.set()
        self.stop.close()

    def __enter__(self) -> Fleet:
        return self.start()

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    @staticmethod
    def _shard_has_work(pair: ReplicaPair) -> bool:
        is_alive = pair.child(Role.SHARD) is not None
        if is_alive and pair.made.is_drained:
            pair.stop(Role.SHARD)
        return is_alive

    def _wait_while(self, busy: Callable[[ReplicaPair], bool], deadline: float) -> None:
        while [pair for pair in self._pairs if busy(pair)]:
            left = deadline - time.monotonic()
            if left <= 0 or self._signals.count > 1:
                return
            wait([each for pair in self._pairs for each in pair.waitables], min(left, _CLOSE_TICK_S))
            self._poll()

    def _poll(self) -> None:
        for pair in self._pairs:
            pair.poll()
        self._on_pass()

    def _is_due(self, look: str, every_s: float) -> bool:
        now = time.monotonic()
        if now - self._looked_at[look] < every_s:
            return False
        self._looked_at[look] = now
        return True

    def _look_for_stalls(self) -> None:
        if self._stalls is None:
            return
        rings = {pair.made.ring.name: pair for pair in self._pairs if pair.made.ring is not None}
        stats = [pair.made.ring.stats() for pair in rings.values() if pair.made.ring is not None]
        for stall in self._stalls.look(stats, time.monotonic()):
            kind = FleetEventKind.STALLED if stall.ended_after_s is None else FleetEventKind.DRAINED
            if self._on_event is not None:  # the watch has logged it already
                shard = rings[stall.ring].index
                self._on_event(FleetEvent(kind, shard, Role.SHARD, stall.pid, text=str(stall)))

    def _abandon(self) -> None:
        for pair in self._pairs:
            pair.close()

    def _note(self, event: FleetEvent) -> None:
        log.log(event.level, "%s", event)
        if self._on_event is not None:
            self._on_event(event)
