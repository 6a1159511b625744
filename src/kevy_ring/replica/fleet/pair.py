"""One upstream shard in a fleet: its ring, its runner process and its shard process, which it keeps running."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.connection import Connection
from typing import Any

from kevy_ring.errors import Refusal
from kevy_ring.inbox.header_words import LinkState, link_state
from kevy_ring.replica.backoff import Backoff
from kevy_ring.replica.fleet.child import (
    EXIT_RECEIVER_GONE,
    EXIT_TRUNCATED,
    RunnerOrders,
    ShardMain,
    run_runner,
    run_shard,
)
from kevy_ring.replica.fleet.child_log import log_of_child
from kevy_ring.replica.fleet.child_process import ChildProcess
from kevy_ring.replica.fleet.event import FleetEvent, FleetEventKind, Role, ShardStatus
from kevy_ring.replica.fleet.pair_ring import PairRing
from kevy_ring.replica.fleet.question import Questions
from kevy_ring.replica.fleet.restart_plan import FAILED, RestartPlan
from kevy_ring.replica.options import FollowOptions

log = logging.getLogger(__name__)

# A runner whose shard is gone ends within a second. After this time it is killed.
PARTNER_GRACE_S = 3.0
_PARTNER_TICK_S = 0.05


class ReplicaPair:
    """Starts the two processes of shard ``index``, and restarts a dead one after a growing delay.

    The successor of a dead runner asks the upstream to continue after the last published event, which it reads from the
    ring's header. When the shard dies, its runner ends as well, because it has no receiver. If the shard's store is
    resumable, both are replaced on the same ring. If it is not, the applied data may be gone, and the ring's content
    has no base. If the shard died during a snapshot, the beginning of the snapshot is gone. In both cases the pair
    makes a new ring, and a full sync follows.

    If another program removed a ring's names in shared memory, no new process can attach to it. A new ring takes its
    place: at once if the store is resumable, else when a process has to be replaced.

    ``label``: the ring's purpose, for its header. ``report`` is called with each event, ``say`` with the shard, the
    topic and the text that its process sent.
    """

    def __init__(
        self,
        options: FollowOptions,
        index: int,
        shard_main: ShardMain,
        *,
        replica_id: str,
        label: str,
        report: Callable[[FleetEvent], None],
        say: Callable[[int, str, str], None],
        backoff: Backoff,
    ) -> None:
        self.index = index
        self.upstream = options.upstreams[index]
        self.result: Any = None
        self.stopping = False
        self.made = PairRing(options, index, label, self._tell_of_ring)
        self._options = options
        self._shard_main = shard_main
        self._replica_id = replica_id
        self._questions = Questions(index)
        self._report = report
        self._say = say
        self.plan = RestartPlan(backoff, options.max_restarts)
        self._children: dict[Role, ChildProcess] = {}
        self._starts = dict.fromkeys(Role, 0)
        self._ring_is_stale = False
        self._restart_at: float | None = None
        self._kill_at: float | None = None
        self._link_text = ""
        # The ring keeps the link state of an ended runner, so it counts only after the present runner's first report.
        self._runner_has_spoken = False
        self._refusal: Refusal | None = None
        self._follows = False
        self._link_since = time.monotonic()

    @property
    def status(self) -> ShardStatus:
        """The present status."""
        pids = {role: child.pid for role, child in self._children.items()}
        ring = self.made.ring.stats() if self.made.ring is not None else None
        state = LinkState.NONE
        if ring is not None and self._runner_has_spoken:
            state = link_state(ring)
        if state.is_following is not self._follows:
            self._follows, self._link_since = state.is_following, time.monotonic()
        return ShardStatus(
            index=self.index,
            upstream=self.upstream.redacted,
            ring=ring,
            link_state=state,
            link_text=self._link_text,
            runner_pid=pids.get(Role.RUNNER),
            shard_pid=pids.get(Role.SHARD),
            runner_restarts=max(0, self._starts[Role.RUNNER] - 1),
            shard_restarts=max(0, self._starts[Role.SHARD] - 1),
            refusal=self._refusal,
            link_age_s=time.monotonic() - self._link_since,
            words_before=self.made.words_before,
        )

    @property
    def waitables(self) -> list[Connection | int]:
        """For multiprocessing.connection.wait: one is ready when ``poll`` has something to do."""
        return [each for child in self._children.values() for each in child.waitables]

    @property
    def wake_at(self) -> float | None:
        """The time (monotonic) of the next action that no waitable shows."""
        if self._restart_at is None or self.stopping:
            return None
        return time.monotonic() + _PARTNER_TICK_S if self._kill_at is not None else self._restart_at

    def child(self, role: Role) -> ChildProcess | None:
        """The process of this role, unless ``poll`` has seen its death."""
        return self._children.get(role)

    def make_ring(self) -> None:
        """Make the ring, or find the kept one. Removes an earlier one of this pair."""
        self.made.make(was_used=any(self._starts.values()))
        self._ring_is_stale = False

    def drop_ring(self) -> None:
        """Remove the ring, except one that an earlier fleet kept and on which no process was started yet."""
        self.made.drop(was_used=any(self._starts.values()))

    def start(self) -> None:
        """Start the missing processes on the ring."""
        assert self.made.ring is not None
        name = self.made.ring.name
        if Role.SHARD not in self._children:
            self._start(Role.SHARD, run_shard, self._shard_main, name, self.index)
        if Role.RUNNER not in self._children:
            orders = RunnerOrders(
                self._options,
                self.index,
                name,
                self._replica_id,
                resume=self.made.resume,
                full_reason=self.made.full_reason,
            )
            self._start(Role.RUNNER, run_runner, orders)

    def ask(self, question: str, arguments: tuple[Any, ...], *, timeout: float, wait: Callable[[], None]) -> Any:
        """The shard process's answer; ``wait`` polls, and may raise to end the waiting. Raises ShardUnheard."""
        return self._questions.ask(lambda: self.child(Role.SHARD), question, arguments, timeout=timeout, wait=wait)

    def poll(self) -> None:
        """Handle the reports and deaths of the processes, and do the restarts that are due."""
        for role in list(self._children):
            child = self._children[role]
            dead = not child.is_alive
            for fact in child.said():
                self._heard(child, *fact)
            if dead:
                self._died(child)
        if not self.stopping and self._restart_at is not None and time.monotonic() >= self._restart_at:
            self._restart()

    def look_at_names(self) -> None:
        """Check whether the ring still has its names. If not, replace it if the store can continue."""
        made = self.made
        if self.stopping or self._restart_at is not None or made.ring is None or made.lost:
            return
        if made.look_at_names() and (made.can_continue or not made.is_attached):
            self._replace_ring()
            self._restart_at = time.monotonic()

    def stop(self, role: Role) -> None:
        """Ask a process to end. From now on nothing is restarted."""
        self.stopping = True
        if role in self._children:
            self._children[role].stop()

    def kill(self, role: Role) -> None:
        """Kill a process that did not end on request."""
        if role in self._children:
            self._children[role].kill()
            self.poll()

    def close(self) -> None:
        """Kill the remaining processes, and remove the ring unless it is kept."""
        self.stopping = True
        for role in Role:
            self.kill(role)
        self.made.close()

    def _tell_of_ring(self, text: str) -> None:
        self._report(FleetEvent(FleetEventKind.RING, self.index, Role.SHARD, 0, text=text))

    def _start(self, role: Role, target: Callable[..., None], *arguments: Any) -> None:
        child = ChildProcess(role, f"kevy-ring-{role.value}-{self.index}", target, *arguments)
        self._children[role] = child
        self._starts[role] += 1
        self._report(FleetEvent(FleetEventKind.STARTED, self.index, role, child.pid))

    def _heard(self, child: ChildProcess, topic: str, *facts: Any) -> None:
        if topic == "result":
            self.result = facts[0]
        elif topic == "failed":
            child.failure = facts[0]
            self.plan.said(child.role, FAILED, facts[0])
        elif topic == "text":
            self.plan.said(child.role, *facts)
            self._say(self.index, *facts)
        elif topic == "record":
            log_of_child(self.index, child.role.value, child.pid, *facts)
        elif topic == "answer":
            self._questions.heard(*facts)
        elif topic == "synced":
            how, text, reason = facts
            self._refusal = None
            event = FleetEvent(FleetEventKind.SYNCED, self.index, child.role, child.pid, synced=how, text=text)
            self._report(replace(event, full_reason=reason))
        elif topic == "link":
            self._runner_has_spoken = True
            state, text, refusal = LinkState(facts[0]), facts[1], facts[2]
            if state is not LinkState.HANDSHAKE:  # its text is only the protocol's name
                self._link_text = text or self._link_text
            self._refusal = refusal
            event = FleetEvent(FleetEventKind.LINK, self.index, child.role, child.pid, link_state=state, text=text)
            self._report(replace(event, refusal=refusal))

    def _died(self, child: ChildProcess) -> None:
        del self._children[child.role]
        if child.role is Role.RUNNER:
            self._runner_has_spoken = False
        code = child.exit_code or 0
        is_partner = child.stopping or (child.role is Role.RUNNER and code == EXIT_RECEIVER_GONE)
        lived_s = time.monotonic() - child.started_at
        replaced = self.stopping or is_partner or self.plan.died(child.role, lived_s)
        delay = None if self.stopping or not replaced else self._plan_restart(child, code, lived_s)
        event = FleetEvent(
            FleetEventKind.EXITED,
            self.index,
            child.role,
            child.pid,
            exit_code=code if code >= 0 else None,
            signal_number=-code if code < 0 else None,
            expected=child.stopping or (self.stopping and code == 0),
            restart_in_s=delay,
            text=child.failure,
        )
        child.forget()
        self._report(event)
        if not replaced:
            self._give_up(child)

    def _give_up(self, child: ChildProcess) -> None:
        """End the other process too: without its partner it does nothing."""
        for role in Role:
            self.stop(role)
        text = self.plan.gave_up or ""
        self._report(FleetEvent(FleetEventKind.GAVE_UP, self.index, child.role, child.pid, text=text))

    def _plan_restart(self, child: ChildProcess, code: int, lived_s: float) -> float:
        """Decide what to restart, and when. Returns the seconds until then."""
        now = time.monotonic()
        if not self._ring_is_stale:
            is_truncated = code == EXIT_TRUNCATED
            if self.made.look_at_names():
                self._replace_ring()
            elif child.role is Role.SHARD and (is_truncated or not self.made.can_continue):
                log.info("shard %d: a new ring is made: %s", self.index, self.made.give_up(is_truncated=is_truncated))
                self._replace_ring()
        if self._restart_at is None:
            self._restart_at = now + self.plan.delay_s(lived_s)
        return max(0.0, self._restart_at - now)

    def _replace_ring(self) -> None:
        """Stop both processes. The new ring is made after they have ended, because none may stay on the old one."""
        self._ring_is_stale = True
        self._kill_at = time.monotonic() + PARTNER_GRACE_S
        for partner in self._children.values():
            partner.stop()

    def _restart(self) -> None:
        if self._ring_is_stale and self._children:
            if self._kill_at is not None and time.monotonic() >= self._kill_at:
                for role in list(self._children):
                    self.kill(role)
            return
        self._restart_at = self._kill_at = None
        if self._ring_is_stale:
            self.made.prepare_resume()
            self.make_ring()
        self.start()
