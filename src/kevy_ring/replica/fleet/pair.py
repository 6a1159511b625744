"""One upstream shard in a fleet: its ring, its runner process and its shard process, kept alive together."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

from kevy_ring.errors import Refusal
from kevy_ring.inbox.header_words import LinkState, link_state
from kevy_ring.replica.backoff import Backoff
from kevy_ring.replica.fleet.child import EXIT_TRUNCATED, RunnerOrders, ShardMain, run_runner, run_shard
from kevy_ring.replica.fleet.child_process import ChildProcess
from kevy_ring.replica.fleet.event import FleetEvent, FleetEventKind, Role, ShardStatus
from kevy_ring.replica.fleet.kept_ring import kept_ring
from kevy_ring.replica.protocol import FullSyncReason, ResumePoint
from kevy_ring.replica.upstream_url import UpstreamUrl

if TYPE_CHECKING:
    from kevy_ring.ring import Ring

log = logging.getLogger(__name__)

# A process that lived this long was well; its end is a new misfortune and not the same one again.
STABLE_S = 10.0
# A runner whose shard is gone ends within a second; one that has not is beyond asking.
PARTNER_GRACE_S = 3.0
_PARTNER_TICK_S = 0.05


@dataclass(frozen=True, slots=True)
class PairPlan:
    """What a pair is made of.

    ``resumable``: the shard's store outlives its process and knows how far it is, so that a new shard process goes on
    where the last one ended. ``keep_ring``: the ring stays when the pair is closed, and is found again by its name.
    ``label``: what the ring's header says of its purpose.
    """

    index: int
    upstream: UpstreamUrl
    protocol: str
    shard_main: ShardMain
    capacity: int
    ring_name: str | None
    replica_id: str
    resumable: bool = False
    keep_ring: bool = False
    overflow_limit: int | None = None
    label: str = ""
    psync_command: str = "PSYNC"


class ReplicaPair:
    """Starts the two processes, and starts again what died, after a growing delay.

    A runner that died is replaced; its successor asks the upstream to go on after the last event that was published,
    which the ring's header tells. When the shard died, its runner ends as well (there is nobody to send to). If the
    shard's store is resumable both are replaced on the same ring. If it is not, everything that was
    applied may be gone, and what lies in the ring would be applied to nothing; or if a snapshot was on its way, its
    beginning is gone: then the ring is made anew, and a full sync follows.

    A ring whose names in shared memory were removed by another program is found by no new process. A new one takes its
    place: at once if the store is resumable, else when a process has to be replaced.
    """

    def __init__(self, plan: PairPlan, report: Callable[[FleetEvent], None], backoff: Backoff) -> None:
        self.plan = plan
        self.ring: Ring | None = None
        self.result: Any = None
        self.stopping = False
        self._report = report
        self._backoff = backoff
        self._children: dict[Role, ChildProcess] = {}
        self._starts = dict.fromkeys(Role, 0)
        self._ring_is_stale = False
        self._ring_is_new = False
        self._words_before: tuple[int, ...] = ()
        self._lost: list[str] = []  # names of the ring's files that were found to be gone
        self._restart_at: float | None = None
        self._resume: ResumePoint | None = None  # of a new ring, before anything is published on it
        self._kill_at: float | None = None
        self._link_text = ""
        # The ring keeps the last word of a runner that has ended. It counts once the runner of now has said its first.
        self._runner_has_spoken = False
        self._refusal: Refusal | None = None
        self._full_reason = FullSyncReason.FIRST  # of a new ring without a resume point
        self._follows = False
        self._link_since = time.monotonic()

    @property
    def status(self) -> ShardStatus:
        """How the pair stands now."""
        pids = {role: child.pid for role, child in self._children.items()}
        ring = self.ring.stats() if self.ring is not None else None
        state = LinkState.NONE
        if ring is not None and self._runner_has_spoken:
            state = link_state(ring)
        if state.is_following is not self._follows:
            self._follows, self._link_since = state.is_following, time.monotonic()
        return ShardStatus(
            index=self.plan.index,
            upstream=self.plan.upstream.redacted,
            ring=ring,
            link_state=state,
            link_text=self._link_text,
            runner_pid=pids.get(Role.RUNNER),
            shard_pid=pids.get(Role.SHARD),
            runner_restarts=max(0, self._starts[Role.RUNNER] - 1),
            shard_restarts=max(0, self._starts[Role.SHARD] - 1),
            refusal=self._refusal,
            link_age_s=time.monotonic() - self._link_since,
            words_before=self._words_before,
        )

    @property
    def waitables(self) -> list[Connection | int]:
        """What becomes ready when there is something for ``poll`` to do."""
        return [each for child in self._children.values() for each in child.waitables]

    @property
    def wake_at(self) -> float | None:
        """The time (monotonic) of the next thing to do that no waitable tells."""
        if self._restart_at is None or self.stopping:
            return None
        return time.monotonic() + _PARTNER_TICK_S if self._kill_at is not None else self._restart_at

    def has(self, role: Role) -> bool:
        """Whether the process of this role lives, as far as ``poll`` has seen."""
        return role in self._children

    @property
    def ring_is_drained(self) -> bool:
        """True when the shard has taken all that was published."""
        return self.ring is None or self.ring.stats().used_bytes == 0

    def make_ring(self) -> None:
        """Make the ring, or find the one that was kept; an earlier one of this pair is removed."""
        self.drop_ring()
        self.ring = self._ring_for_the_plan()
        self._words_before = self.ring.stats().producer_words
        self._ring_is_stale = False
        self._lost = []

    def drop_ring(self) -> None:
        """Remove the ring; one that an earlier life kept, and on which nothing was started yet, stays."""
        if self.ring is None:
            return
        self.ring.close()
        if self.plan.keep_ring and (self._ring_is_new or any(self._starts.values())):
            self.ring.remove()
        self.ring = None

    def start(self) -> None:
        """Start both processes on the ring that was made."""
        self._start_what_is_missing()

    def _ring_for_the_plan(self) -> Ring:
        from kevy_ring.ring import Ring
        from kevy_ring.ring.segment import fitting_label

        plan, label = self.plan, fitting_label(self.plan.label)
        if plan.keep_ring and plan.ring_name is not None:
            found = kept_ring(plan.ring_name, plan.capacity, label=label, tell=self._tell_of_replaced)
            if found is not None:
                if plan.resumable and not _is_loading(found):
                    self._ring_is_new = False
                    return found
                found.close()
                found.remove()
                self._full_reason = FullSyncReason.INTERRUPTED if plan.resumable else FullSyncReason.STORE
        self._ring_is_new = True
        return Ring.create(capacity=plan.capacity, name=plan.ring_name, keep=plan.keep_ring, label=label)

    def _start_what_is_missing(self) -> None:
        assert self.ring is not None
        if Role.SHARD not in self._children:
            self._start(Role.SHARD, run_shard, self.plan.shard_main, self.ring.name, self.plan.index)
        if Role.RUNNER not in self._children:
            self._start_runner()

    def poll(self) -> None:
        """Take note of what the processes said and who died, and start again what is due."""
        for role in list(self._children):
            child = self._children[role]
            dead = not child.is_alive
            for words in child.said():
                self._heard(child, *words)
            if dead:
                self._died(child)
        if not self.stopping and self._restart_at is not None and time.monotonic() >= self._restart_at:
            self._restart()

    def look_at_names(self) -> None:
        """See whether the ring still has its names, and replace it if it has not and the store can continue."""
        if self.stopping or self._restart_at is not None or self.ring is None or self._lost:
            return
        self._note_lost_names()
        if not self._lost:
            return
        from kevy_ring.ring import RoleState

        stats = self.ring.stats()
        is_attached = all(role.state is RoleState.ALIVE for role in (stats.producer, stats.consumer))
        if self._can_go_on() or not is_attached:
            self._replace_ring()
            self._restart_at = time.monotonic()

    def _note_lost_names(self) -> None:
        if self.ring is None or self._lost:
            return
        self._lost = self.ring.lost_names()
        if not self._lost:
            return
        self._full_reason = FullSyncReason.RING
        lost = f"ring {self.ring.name!r} lost its names: another program removed or replaced {_listed(self._lost)}"
        remedy = "a new ring takes its place"
        if not self._can_go_on():
            remedy += " when one of its processes ends"
        self._tell_of_ring(f"{lost} in /dev/shm; {remedy}")

    def _tell_of_replaced(self, text: str) -> None:
        self._full_reason = FullSyncReason.RING
        self._tell_of_ring(text)

    def _tell_of_ring(self, text: str) -> None:
        self._report(FleetEvent(FleetEventKind.RING, self.plan.index, Role.SHARD, 0, text=text))

    def stop(self, role: Role) -> None:
        """Ask a process to end; from now on nothing is started again."""
        self.stopping = True
        if role in self._children:
            self._children[role].stop()

    def kill(self, role: Role) -> None:
        """End a process that did not do so when asked."""
        if role in self._children:
            self._children[role].kill()
            self.poll()

    def close(self) -> None:
        """Kill what is left, and remove the ring unless it is to be kept."""
        self.stopping = True
        for role in Role:
            self.kill(role)
        if self.ring is not None:
            self.ring.close()
            self.ring = None

    def _start_runner(self) -> None:
        assert self.ring is not None
        plan = self.plan
        orders = RunnerOrders(
            self.ring.name,
            plan.upstream,
            plan.protocol,
            plan.replica_id,
            resume=self._resume,
            overflow_limit=plan.overflow_limit,
            psync_command=plan.psync_command,
            full_reason=self._full_reason,
        )
        self._start(Role.RUNNER, run_runner, orders)

    def _start(self, role: Role, target: Callable[..., None], *arguments: Any) -> None:
        child = ChildProcess(role, f"kevy-ring-{role.value}-{self.plan.index}", target, *arguments)
        self._children[role] = child
        self._starts[role] += 1
        self._report(FleetEvent(FleetEventKind.STARTED, self.plan.index, role, child.pid))

    def _heard(self, child: ChildProcess, topic: str, *words: Any) -> None:
        if topic == "result":
            self.result = words[0]
        elif topic == "failed":
            child.failure = words[0]
        elif topic == "synced":
            how, text, reason = words
            self._refusal = None
            event = FleetEvent(FleetEventKind.SYNCED, self.plan.index, child.role, child.pid, synced=how, text=text)
            self._report(replace(event, full_reason=reason))
        elif topic == "link":
            self._runner_has_spoken = True
            state, text, refusal = LinkState(words[0]), words[1], words[2]
            if state is not LinkState.HANDSHAKE:  # its text is only the protocol's name
                self._link_text = text or self._link_text
            self._refusal = refusal
            event = FleetEvent(FleetEventKind.LINK, self.plan.index, child.role, child.pid, link_state=state, text=text)
            self._report(replace(event, refusal=refusal))

    def _died(self, child: ChildProcess) -> None:
        del self._children[child.role]
        if child.role is Role.RUNNER:
            self._runner_has_spoken = False
        code = child.exit_code or 0
        delay = None if self.stopping else self._plan_restart(child, code)
        event = FleetEvent(
            FleetEventKind.EXITED,
            self.plan.index,
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

    def _plan_restart(self, child: ChildProcess, code: int) -> float:
        """Decide what is to be started again, and when. Returns the seconds until then."""
        now = time.monotonic()
        if not self._ring_is_stale:
            self._note_lost_names()
            if self._lost:
                self._replace_ring()
            elif child.role is Role.SHARD and (code == EXIT_TRUNCATED or not self._can_go_on()):
                self._full_reason = FullSyncReason.INTERRUPTED if self.plan.resumable else FullSyncReason.STORE
                log.info("shard %d: the ring is made anew: %s", self.plan.index, self._why_stale(code))
                self._replace_ring()
        if self._restart_at is None:
            if now - child.started_at >= STABLE_S:
                self._backoff.reset()
            self._restart_at = now + self._backoff.next_delay()
        return max(0.0, self._restart_at - now)

    def _replace_ring(self) -> None:
        """Make a new ring once both processes have ended: no process must be left on the old one."""
        self._ring_is_stale = True
        self._kill_at = time.monotonic() + PARTNER_GRACE_S
        for partner in self._children.values():
            partner.stop()

    def _can_go_on(self) -> bool:
        """Whether a new shard process can go on with this ring where the dead one ended."""
        return self.plan.resumable and self.ring is not None and not _is_loading(self.ring)

    def _why_stale(self, code: int) -> str:
        if not self.plan.resumable:
            return "what was applied went with the shard"
        return "an event came in part" if code == EXIT_TRUNCATED else "a snapshot was being loaded"

    def _behind_applied(self) -> ResumePoint | None:
        """The resume point behind what the shard has applied: its store goes on there, whatever the ring held."""
        from kevy_ring.inbox import published_in

        assert self.ring is not None
        published, applied = published_in(self.ring), self.ring.stats().applied_offset
        if not published.is_known:
            return self._resume  # nothing came since, so it holds as it did
        if applied is None or not published.upstream_id:
            return None
        return ResumePoint(published.upstream_id, applied, published.db)

    def _restart(self) -> None:
        if not self._ring_is_stale:
            self._restart_at = None
            self._start_what_is_missing()
            return
        if self._children:
            if self._kill_at is not None and time.monotonic() >= self._kill_at:
                for role in list(self._children):
                    self.kill(role)
            return
        self._restart_at = self._kill_at = None
        # Asked now that both processes have ended: nothing is applied any more.
        self._resume = self._behind_applied() if self._can_go_on() else None
        if self._lost:
            after = f"the stream goes on after offset {self._resume.offset}, which was applied" if self._resume else ""
            self._tell_of_ring(f"a new ring is made: {after or 'a full sync follows'}")
        self.make_ring()
        self.start()


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _is_loading(ring: Ring) -> bool:
    """Whether a snapshot has begun whose end was not applied: its beginning may be gone with a dead shard."""
    from kevy_ring.inbox import published_in

    return published_in(ring).has_unapplied_snapshot(ring.stats())
