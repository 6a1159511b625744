"""One fleet, shown while it runs, compared with its upstream before it is closed."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from kevy_ring.cli import figures
from kevy_ring.cli.compare.digest import DigestComparison
from kevy_ring.cli.compare.key_source import Pulse
from kevy_ring.cli.compare.verify import Verification
from kevy_ring.cli.failure import Failure
from kevy_ring.cli.ingest.cluster_look import ClusterLook
from kevy_ring.cli.ingest.goal import Goal, link_trouble, link_words
from kevy_ring.cli.ingest.outcome import Outcome, ShardOutcome
from kevy_ring.cli.ingest.progress import ProgressMeter, ShardProgress
from kevy_ring.cli.ingest.shared_output import SharedOutput
from kevy_ring.cli.redaction import shown_url, without_secrets
from kevy_ring.cli.repeated import SAME_MAX, RepeatedFailures
from kevy_ring.cli.views.view import View
from kevy_ring.errors import RoleTaken, SegmentError
from kevy_ring.replica.fleet.fleet import Fleet, FleetEnd, FleetEvent, FleetEventKind, Role
from kevy_ring.replica.link_words import LinkState
from kevy_ring.replica.protocol import FullSyncReason
from kevy_ring.replica.stall_watch import STALL_AFTER_S
from kevy_ring.replica.upstream_url import UpstreamUrl, parse_upstream
from kevy_ring.shard.shard_line import ShardLines, ShardUnheard
from kevy_ring.shard.shard_process import FAILED, REFUSED, STACK, ShardProcess
from kevy_ring.shard.sinks.options import DEFAULT_OPTIONS, SinkOptions
from kevy_ring.shard.sinks.sink_url import is_resumable, sink_place

TICK_S = 0.1
#: A run that somebody waits for gives up when one process has been replaced this often.
RESTARTS_MAX = 5
#: What the shards may take to apply what is on its way, before a comparison and at the end.
DRAIN_S = 60.0
#: A run that somebody waits for gives up when an upstream was not followed for this long.
GIVE_UP_AFTER_S = 60.0
#: The same trouble with a link is told again after this long.
_REPEAT_S = 30.0
#: How long the processes may take to end after the reader of the stream has gone.
_NO_READER_S = 1.0
_TROUBLE = (LinkState.WAITING, LinkState.REFUSED)


class Interrupted(Exception):
    """A signal came while something was being waited for."""


@dataclass(frozen=True, slots=True)
class Access:
    """What a comparison is given: lines to the shards; ``pulse`` keeps the fleet and the view going while it works and
    raises :class:`Interrupted`; ``settle(seconds)`` waits that long, and then until all that came is applied."""

    lines: ShardLines
    pulse: Pulse
    settle: Callable[[float], None]


Comparison = Callable[[Access], "Verification | DigestComparison"]


class Replication:
    """Follows ``urls`` into ``sink`` until the goal is reached or a signal comes; ``run`` is called once."""

    def __init__(
        self,
        urls: Sequence[str],
        sink: str,
        goal: Goal,
        view: View,
        *,
        name: str = "",
        shards: int = 1,
        streams: int,
        capacity: int,
        compare: Comparison | None = None,
        protocol: str = "auto",
        ring_prefix: str | None = None,
        overflow_limit: int | None = None,
        stall_after_s: float | None = STALL_AFTER_S,
        sink_options: SinkOptions = DEFAULT_OPTIONS,
        psync_command: str = "PSYNC",
        give_up_after_s: float | None = GIVE_UP_AFTER_S,
        allow_skipped: bool = False,
    ) -> None:
        self._name = name
        self._sink = sink
        self._goal = goal
        self._allow_skipped = allow_skipped
        self._view = view
        self._compare = compare
        self._lines = ShardLines()
        self._meter = ProgressMeter()
        self._shards: list[ShardProgress] = []
        self._began = self._seen_at = time.monotonic()
        self._stage = "connecting"
        self._failures: dict[int, str] = {}
        self._refusal: str | None = None  # why no other process would do better
        self._stacks: set[str] = set()
        self._trouble: dict[int, str] = {}
        self._replaced: set[int] = set()  # shards of which a process died, and whose stream does not flow yet
        self._told: dict[int, tuple[str, float]] = {}
        self._give_up_after_s = give_up_after_s
        self._refused: dict[int, str] = {}  # upstreams that can never be followed as they are, and why
        self._synced: set[int] = set()  # shards whose upstream was followed in this run
        self._repeated = RepeatedFailures()
        self._followed: list[UpstreamUrl] = [parse_upstream(url) for url in urls]
        self._looks: list[ClusterLook] = []
        self._comparison: Verification | DigestComparison | None = None
        self._problems: list[str] = []
        self._output = SharedOutput(sink, streams)
        self._fleet = Fleet(
            urls,
            ShardProcess(sink, streams, self._lines.address, self._output.options(sink_options)),
            shards=shards,
            capacity=capacity,
            protocol=protocol,
            on_event=self._happened,
            close_timeout_s=DRAIN_S,
            name_prefix=ring_prefix,
            resumable=is_resumable(sink),
            keep_rings=ring_prefix is not None,
            overflow_limit=overflow_limit,
            stall_after_s=stall_after_s,
            ring_label=lambda index, upstream: f"{upstream.address} → {sink_place(sink, index, streams)}",
            psync_command=psync_command,
        )

    def make_rings(self) -> None:
        """Make the rings before anything is shown, so that the first line is the reason if one cannot be made."""
        self._fleet.make_rings()

    def run(self) -> Outcome:
        """Returns what it came to; what went wrong is told there and not raised."""
        self._began = time.monotonic()
        with self._output, self._lines, self._fleet:
            ended = FleetEnd.UNTIL
            try:
                ended = self._fleet.run(self._is_over, tick_s=TICK_S)
            except (SegmentError, RoleTaken) as error:  # no new ring can take the place of a lost one
                self._problems.append(without_secrets(str(error)))
            self._hear()
        return self._outcome(ended)

    def _is_over(self) -> bool:
        if self._output.has_no_reader:
            # The reader of the stream has gone, so the rest of it has no use.
            self._stage = "ending"
            self._fleet.close(_NO_READER_S)
            return True
        try:
            self._look()
            if self._refusal is not None:
                raise Failure(self._refusal)
            self._end_what_cannot_work()
            if self._goal.is_awaited:
                self._give_up()
            if not self._goal.reached(self._shards, time.monotonic()):
                return False
            if self._compare is not None:
                if trouble := link_trouble(self._shards):
                    raise Failure(f"no comparison: {trouble}")
                self._stage = "comparing"
                self._comparison = self._compare(Access(self._lines, self._pulse, self._settle))
        except (Failure, ShardUnheard) as error:
            self._problems.append(str(error))
        except Interrupted:
            self._problems.append("it was stopped before the comparison was made")
        self._stage = "ending"
        return True

    def _look(self) -> None:
        self._hear()
        now = self._seen_at = time.monotonic()
        shards = self._meter.sample(self._fleet.status(), now)
        if all(shard.ring is not None for shard in shards):
            self._shards = shards
        self._tell_of_recovery(shards)
        self._note_looks()
        if self._stage not in ("comparing", "ending"):
            self._stage = self._goal.stage(shards)
        self._view.progress(self._stage, now - self._began, shards)

    def _pulse(self) -> None:
        if time.monotonic() - self._seen_at >= TICK_S:
            self._fleet.step(0)
            self._look()
        if self._fleet.stop.is_set():
            raise Interrupted

    def _settle(self, seconds: float) -> None:
        began = time.monotonic()
        while True:
            self._fleet.step(TICK_S / 2)
            self._pulse()
            waited = time.monotonic() - began
            if waited >= seconds and all(map(_is_level, self._shards)):
                return
            if waited >= seconds + DRAIN_S:
                behind = next(shard for shard in self._shards if not _is_level(shard))
                raise Failure(f"no comparison: shard {behind.index} has not applied what it received")

    def _end_what_cannot_work(self) -> None:
        repeated = self._repeated.found()
        if repeated is not None:
            shard, why = repeated
            raise Failure(f"shard {shard}: its process failed {SAME_MAX} times in a row with the same words: {why}")
        if self._goal.has_end and self._refused:
            raise Failure(next(iter(self._refused.values())))

    def _give_up(self) -> None:
        limit_s = self._give_up_after_s
        for shard in self._shards:
            if limit_s is None or shard.link_state.is_following:
                continue
            if shard.link_age_s >= limit_s:
                words = f"shard {shard.index}: {shard.upstream} was not followed for {figures.seconds(limit_s)}"
                raise Failure(f"{words} (--give-up-after): {link_words(shard)}")
        for shard in self._shards:
            for who, restarts in (("shard", shard.shard_restarts), ("runner", shard.runner_restarts)):
                if restarts >= RESTARTS_MAX:
                    why = self._failures.get(shard.index)
                    words = f"shard {shard.index}: its {who} process ended {figures.plural(restarts, 'time')}"
                    raise Failure(f"{words}; the last time: {why}" if why else words)

    def _hear(self) -> None:
        """Pass on what the shard processes say."""
        for shard, topic, words in self._lines.words():
            if self._output.has_no_reader:
                continue
            text = without_secrets(words)
            if topic == FAILED:
                self._failures[shard] = text
                self._repeated.failed(shard, text)
                self._view.note(f"shard {shard} failed: {text}", is_bad=True)
            elif topic == REFUSED:
                self._failures[shard] = text
                self._refusal = self._refusal or f"shard {shard}: {text}"
            elif topic == STACK:
                # A process that fails again fails in the same way: once is enough to be read.
                if text not in self._stacks:
                    self._stacks.add(text)
                    self._view.note(text.rstrip(), is_bad=True)
            else:
                self._view.note(f"shard {shard}: {text}")

    def _happened(self, event: FleetEvent) -> None:
        self._hear()
        if self._output.has_no_reader:
            return
        text = without_secrets(str(event))
        self._note_process(event)
        is_death = event.kind is FleetEventKind.EXITED and (event.exit_code or not event.expected)
        if is_death or event.kind is FleetEventKind.RING:
            self._view.note(text, is_bad=True)
            self._replaced.add(event.shard)
        elif event.kind in (FleetEventKind.STALLED, FleetEventKind.DRAINED):
            self._view.note(text, is_bad=event.kind is FleetEventKind.STALLED)
        elif event.kind is FleetEventKind.SYNCED:
            self._note_sync(event)
        elif event.kind is FleetEventKind.LINK and event.link_state in _TROUBLE:
            self._trouble[event.shard] = event.text
            if event.refusal is not None and event.refusal.is_confirmed:
                upstream = self._fleet.upstreams[event.shard]
                self._refused[event.shard] = f"shard {event.shard}: {upstream} cannot be followed: {event.text}"
            said, at = self._told.get(event.shard, ("", 0.0))
            now = time.monotonic()
            if said != event.text or now - at >= _REPEAT_S:
                self._told[event.shard] = (event.text, now)
                self._view.note(f"shard {event.shard}: no link: {without_secrets(event.text)}", is_bad=True)

    def _note_process(self, event: FleetEvent) -> None:
        if event.role is Role.SHARD and event.kind is FleetEventKind.STARTED:
            self._repeated.started(event.shard, time.monotonic())
        elif event.role is Role.SHARD and event.kind is FleetEventKind.EXITED:
            self._repeated.ended(event.shard, time.monotonic())

    def _note_sync(self, event: FleetEvent) -> None:
        """One line for each sync but the first of a stream: whether it is a full one, and why."""
        is_first = event.shard not in self._synced
        self._synced.add(event.shard)
        self._replaced.discard(event.shard)
        self._refused.pop(event.shard, None)
        self._told.pop(event.shard, None)
        if not is_first or event.full_reason is not FullSyncReason.FIRST:
            self._view.note(f"shard {event.shard}: linked, {without_secrets(event.text)}")
        upstream = self._fleet.upstreams[event.shard]
        if is_first and upstream.kind == "redis":
            self._looks.append(ClusterLook(upstream, self._followed))

    def _note_looks(self) -> None:
        for look in [look for look in self._looks if look.words is not None]:
            self._looks.remove(look)
            self._view.note(without_secrets(look.words or ""), is_bad=look.is_bad)

    def _tell_of_recovery(self, shards: Sequence[ShardProgress]) -> None:
        for shard in shards:
            if shard.index in self._told and shard.link_state in (LinkState.STREAMING, LinkState.SNAPSHOT):
                del self._told[shard.index]
                self._view.note(f"shard {shard.index}: linked")

    def _outcome(self, ended: FleetEnd) -> Outcome:
        results = self._fleet.results
        # Words may have come after the last look.
        shards = [replace(shard, link_text=self._trouble.get(shard.index, shard.link_text)) for shard in self._shards]
        outcome = Outcome(
            name=self._name,
            sink=shown_url(self._sink),
            seconds=time.monotonic() - self._began,
            stopped=ended is FleetEnd.SIGNALLED,
            shards=[ShardOutcome(shard, results[shard.index]) for shard in shards],
            comparison=self._comparison,
            problems=self._problems,
        )
        if self._output.has_no_reader:
            outcome.problems = []
        elif not self._problems:
            missed = self._goal.missed(shards) if ended is FleetEnd.SIGNALLED or not self._goal.is_awaited else None
            left_out = self._left_out(outcome)
            found = [missed, *self._faults(outcome), *([] if self._allow_skipped else left_out)]
            outcome.accepted = left_out if self._allow_skipped else []
            outcome.problems = [without_secrets(text) for text in found if text]
        return outcome

    def _faults(self, outcome: Outcome) -> list[str]:
        """What the shards' last words, and a comparison, say against the outcome."""
        faults: list[str] = []
        if self._comparison is not None and not self._comparison.is_equal:
            faults.append(str(self._comparison))
        for shard in outcome.shards:
            at = shard.last.index
            facts = shard.facts
            if facts is None:
                why = self._failures.get(at)
                faults.append(f"shard {at}: its process did not tell what it applied" + (f": {why}" if why else ""))
                continue
            # What earlier processes of this run refused is not in the facts of the last one.
            refusals = facts.refusals - facts.refusals_on_skipped + (facts.refused_before if shard.restarts else 0)
            if refusals:
                first = f", the first: {facts.first_refusal}" if facts.first_refusal else ""
                refused = figures.plural(refusals, "command")
                faults.append(f"shard {at}: the sink refused {refused}, so the replica may differ{first}")
        return faults

    def _left_out(self, outcome: Outcome) -> list[str]:
        """What of the upstream the replica lacks, because it could not be read, and what could not be compared."""
        found: list[str] = []
        for shard in outcome.shards:
            facts = shard.facts
            if facts is None:
                continue
            lacks = list(facts.left_out)
            if not lacks and facts.skipped:
                lacks.append(figures.plural(facts.skipped, "key"))
            if not facts.left_out and facts.left_out_besides:
                lacks.append("expiries of fields or functions")
            if lacks:
                found.append(f"shard {shard.last.index}: the snapshot was read without {' and '.join(lacks)}")
            elif facts.skipped is None:
                found.append(f"shard {shard.last.index}: the snapshot does not tell whether all of its keys were read")
            if facts.refusals_on_skipped:
                refused = figures.plural(facts.refusals_on_skipped, "later command")
                found.append(f"shard {shard.last.index}: {refused} on what was skipped not applied")
        if isinstance(self._comparison, Verification) and self._comparison.not_compared:
            found.append(f"not compared: {self._comparison.not_compared}")
        if found and not self._allow_skipped:
            found[0] += " (--allow-skipped accepts that)"
        return found


def _is_level(shard: ShardProgress) -> bool:
    """Whether what the runner has told to have received is applied."""
    if shard.link_state is not LinkState.STREAMING or shard.awaits_snapshot:
        return False
    if shard.is_loading and not shard.is_drained:
        return False
    received = shard.received_offset
    return shard.is_drained or (received is not None and (shard.applied_offset or 0) >= received)
