"""Runs one fleet: shows its progress, and compares it with its upstream before it closes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from kevy_ring.cli import figures
from kevy_ring.cli.compare.digest import DigestComparison
from kevy_ring.cli.compare.key_source import Pulse
from kevy_ring.cli.compare.verify import Verification
from kevy_ring.cli.failure import Failure
from kevy_ring.cli.ingest.goal import UntilStopped, link_trouble, no_link_text
from kevy_ring.cli.ingest.health import Health
from kevy_ring.cli.ingest.narration import Narrator
from kevy_ring.cli.ingest.outcome import Outcome, ShardOutcome
from kevy_ring.cli.ingest.progress import ProgressMeter, ShardProgress
from kevy_ring.cli.redaction import shown_url, without_secrets
from kevy_ring.cli.rings.ring_text import ring_label
from kevy_ring.cli.views.view import View
from kevy_ring.errors import RoleTaken, SegmentError
from kevy_ring.inbox.header_words import LinkState
from kevy_ring.replica.fleet import Fleet, FleetEnd, FleetEvent, FleetEventKind, Role, ShardUnheard
from kevy_ring.replica.options import FollowOptions
from kevy_ring.shard.shard_process import ShardProcess
from kevy_ring.shard.sinks.options import DEFAULT_OPTIONS, SinkOptions
from kevy_ring.shard.sinks.sink_url import sink_place
from kevy_ring.shard.sinks.stdout import STDOUT, reader_is_gone

TICK_S = 0.1
#: How long the shards may take to apply what is on its way, before a comparison and at the end.
DRAIN_S = 60.0
#: A run with an awaited end gives up when an upstream was not followed for this long.
GIVE_UP_AFTER_S = 60.0
#: How long the processes may take to end after the reader of standard output has gone.
_NO_READER_S = 1.0


class Interrupted(Exception):
    """A signal came during a comparison."""


@dataclass(frozen=True, slots=True)
class Access:
    """What a comparison may use.

    ``ask(shard, question, ...)`` asks a shard's process. ``look`` reads the header of every ring. A comparison calls
    ``pulse`` often: it keeps the fleet and the view running, and raises :class:`Interrupted`. ``settle(seconds)`` waits
    that long, and then until everything that arrived is applied.
    """

    ask: Callable[..., Any]
    look: Callable[[], Sequence[ShardProgress]]
    pulse: Pulse
    settle: Callable[[float], None]


Comparison = Callable[[Access], "Verification | DigestComparison"]


class Replication:
    """Follows upstreams into ``sink`` until the goal is reached or a signal comes. Call ``run`` once."""

    def __init__(
        self,
        follow: FollowOptions,
        sink: str,
        goal: UntilStopped,
        view: View,
        *,
        name: str = "",
        compare: Comparison | None = None,
        sink_options: SinkOptions = DEFAULT_OPTIONS,
        give_up_after_s: float | None = GIVE_UP_AFTER_S,
        allow_skipped: bool = False,
    ) -> None:
        self._name = name
        self._sink = sink
        self._goal = goal
        self._allow_skipped = allow_skipped
        self._policy = sink_options.on_error
        self._view = view
        self._health = Health()
        self._compare = compare
        self._give_up_after_s = give_up_after_s
        self._meter = ProgressMeter()
        self._narrator = Narrator(view, follow.upstreams)
        self._shards: list[ShardProgress] = []
        self._began = self._seen_at = time.monotonic()
        self._stage = "connecting"
        self._comparison: Verification | DigestComparison | None = None
        self._problems: list[str] = []
        streams = len(follow.upstreams)
        self._output = SharedOutput(sink, streams)
        self._fleet = Fleet(
            follow,
            ShardProcess(sink, streams, self._output.options(sink_options)),
            on_event=self._happened,
            on_words=self._said,
            on_pass=self._passed,
            close_timeout_s=DRAIN_S,
            ring_label=lambda index, upstream: ring_label(upstream.address, sink_place(sink, index, streams)),
        )

    def make_rings(self) -> None:
        """Make the rings before the first line of output, so that a failure is the first line."""
        self._fleet.make_rings()

    def run(self, health: Health) -> Outcome:
        """Keep ``health``. Returns the outcome. It has the errors: nothing is raised for them."""
        self._health = health
        self._began = time.monotonic()
        self._health.began()
        with self._output, self._fleet:
            ended = FleetEnd.UNTIL
            try:
                ended = self._fleet.run(self._is_over, tick_s=TICK_S)
            except (SegmentError, RoleTaken) as error:  # a lost ring cannot be replaced
                self._problems.append(without_secrets(str(error)))
        return self._outcome(ended)

    def _is_over(self) -> bool:
        if self._output.has_no_reader:
            # The reader of standard output has gone, so no one needs the rest.
            self._stage = "ending"
            self._fleet.close(_NO_READER_S)
            return True
        try:
            self._look()
            if self._fleet.failure is not None:
                raise Failure(without_secrets(self._fleet.failure))
            self._end_what_cannot_work()
            if self._goal.is_awaited:
                self._give_up()
            if not self._goal.reached(self._shards, time.monotonic()):
                return False
            if self._compare is not None:
                if trouble := link_trouble(self._shards):
                    raise Failure(f"no comparison: {trouble}")
                self._stage = "comparing"
                self._comparison = self._compare(Access(self._ask, self._look, self._pulse, self._settle))
        except (Failure, ShardUnheard) as error:
            self._problems.append(str(error))
        except Interrupted:
            self._problems.append("it was stopped before the comparison was made")
        self._stage = "ending"
        return True

    def _look(self) -> list[ShardProgress]:
        now = self._seen_at = time.monotonic()
        shards = self._meter.sample(self._fleet.status(), now)
        if all(shard.ring is not None for shard in shards):
            self._shards = shards
        self._health.looked(shards)
        self._narrator.looked(shards, now)
        if self._stage not in ("comparing", "ending"):
            self._stage = self._narrator.stage(self._goal.stage(shards))
        self._view.progress(self._stage, now - self._began, shards)
        return self._shards

    def _ask(self, shard: int, question: str, *arguments: Any) -> Any:
        return self._fleet.ask(shard, question, *arguments, pulse=self._pulse)

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
        if self._goal.has_end and self._narrator.refused:
            raise Failure(next(iter(self._narrator.refused.values())))

    def _give_up(self) -> None:
        limit_s = self._give_up_after_s
        for shard in self._shards:
            if limit_s is None or shard.link_state.is_following:
                continue
            if shard.link_age_s >= limit_s:
                words = f"shard {shard.index}: {shard.upstream} was not followed for {figures.seconds(limit_s)}"
                raise Failure(f"{words} (--give-up-after): {no_link_text(shard)}")

    def _passed(self) -> None:
        if self._fleet.stop.is_set() or self._stage == "ending":
            self._health.ending()
        self._health.passed()

    def _said(self, shard: int, topic: str, words: str) -> None:
        if not self._output.has_no_reader:
            self._narrator.said(shard, topic, words)

    def _happened(self, event: FleetEvent) -> None:
        if event.kind is FleetEventKind.EXITED and event.role is Role.SHARD:
            self._look_at_last_counts(event.shard)
        self._health.happened(event)
        if not self._output.has_no_reader:
            self._narrator.happened(event)

    def _look_at_last_counts(self, index: int) -> None:
        """Read the header after the last write of a shard process: the ring may be removed next."""
        ring = self._fleet.status()[index].ring
        if self._shards and ring is not None:
            self._shards[index] = replace(self._shards[index], ring=ring)

    def _outcome(self, ended: FleetEnd) -> Outcome:
        results = self._fleet.results
        # A report of the runner may have come after the last look.
        shards = [
            replace(shard, link_text=self._narrator.trouble.get(shard.index, shard.link_text)) for shard in self._shards
        ]
        outcome = Outcome(
            name=self._name,
            sink=shown_url(self._sink),
            seconds=time.monotonic() - self._began,
            stopped=ended is FleetEnd.SIGNALLED,
            shards=[ShardOutcome(shard, results[shard.index]) for shard in shards],
            comparison=self._comparison,
            problems=self._problems,
            policy=self._policy,
        )
        if self._output.has_no_reader:
            outcome.problems = []
        elif not self._problems:
            missed = self._goal.missed(shards) if ended is FleetEnd.SIGNALLED or not self._goal.is_awaited else None
            left_out = outcome.left_out()
            if left_out and not self._allow_skipped:
                left_out[0] += " (--allow-skipped accepts that)"
            found = [missed, *outcome.faults(self._narrator.failures), *([] if self._allow_skipped else left_out)]
            outcome.accepted = left_out if self._allow_skipped else []
            outcome.problems = [without_secrets(text) for text in found if text]
        return outcome


def _is_level(shard: ShardProgress) -> bool:
    """Whether everything that the runner has received, by its own word, is applied."""
    if shard.link_state is not LinkState.STREAMING or shard.awaits_snapshot:
        return False
    if shard.is_loading and not shard.is_drained:
        return False
    received = shard.received_offset
    return shard.is_drained or (received is not None and (shard.applied_offset or 0) >= received)


class SharedOutput:
    """Standard output as the sink of a run: a lock for the shard processes that share it, and whether it has a reader.

    For any other sink there is nothing to lock, and there is always a reader.
    """

    def __init__(self, sink: str, streams: int) -> None:
        self._is_output = sink == STDOUT
        self._is_gone = False
        # A file without a name. The shard processes open it through this process's /proc entry.
        self._fd = os.memfd_create("kevy-ring-lines") if self._is_output and streams > 1 else -1

    def options(self, options: SinkOptions) -> SinkOptions:
        """``options`` for the shard processes, with the lock."""
        return replace(options, line_lock=f"/proc/{os.getpid()}/fd/{self._fd}") if self._fd >= 0 else options

    @property
    def has_no_reader(self) -> bool:
        """Whether the stream goes to standard output and its reader has gone."""
        self._is_gone = self._is_gone or (self._is_output and reader_is_gone())
        return self._is_gone

    def __enter__(self) -> SharedOutput:
        return self

    def __exit__(self, *exc_info: object) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)
