"""A fleet under random kill -9, SIGSTOP and cut links must end with exactly the upstream's data.

    make torture TORTURE="--minutes 5 --seed 7 --upstream redis --sink jsonl"

The next failure comes an exponential time (mean 50 ms) after the fleet has recovered from the last one, and sometimes
in the middle of the recovery. In the end the change log must have every offset once and in order, and the keys must be
equal.
"""

from __future__ import annotations

import argparse
import logging
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from kevy_ring.inbox.header_words import LinkState, upstream_offset
from kevy_ring.replica.backoff import Backoff
from kevy_ring.replica.fleet import Fleet, FleetEvent, FleetEventKind, Role
from kevy_ring.replica.fleet.child import EXIT_RECEIVER_GONE, EXIT_TRUNCATED
from kevy_ring.shard.shard_process import ShardProcess
from torture_ledger import Ledger
from torture_upstream import UPSTREAMS, TorturedUpstream

MEAN_S = 0.05
RECOVERY_S = 60.0  # a longer recovery is an error
STANDSTILL_S = 60.0
KILLS_S = 60.0  # the extra time that a slow machine gets to reach the number of kills
CAPACITY_BYTES = 1 << 16  # small, so that it wraps, fills and overflows all the time
RATE = 2_000.0
MISFORTUNES = {"runner": 35, "shard": 25, "both": 20, "link": 10, "stop": 10}
IN_RECOVERY = 0.2  # the share of failures that strike during a recovery


@dataclass
class Report:
    """The failures of a run, and their consequences."""

    kills: int = 0
    stops: int = 0
    cuts: int = 0
    takeovers: int = 0  # new processes of either role
    partial: int = 0
    full: int = 0
    resume_s: list[float] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def quantile(self, q: float) -> float:
        """Percentiles of the recovery times, in seconds: from a failure until the stream flows again."""
        ordered = sorted(self.resume_s) or [0.0]
        return ordered[min(len(ordered) - 1, int(q * len(ordered)))]


class Torture:
    """One fleet of one shard, and the failures that strike it."""

    def __init__(self, upstream: TorturedUpstream, sink_url: str, seed: int, report: Report) -> None:
        self.report = report
        self._random = random.Random(seed)
        self._cut = upstream.cut_links
        self._is_done = upstream.is_done
        self._stopped: dict[int, float] = {}
        self._struck_at: float | None = None
        self._synced = False
        self._seen: set[Role] = set()
        self.fleet = Fleet(
            upstream.url,
            ShardProcess(sink_url),
            capacity=CAPACITY_BYTES,
            on_event=self._happened,
            backoff=lambda: Backoff(0.01, 0.1),
            resumable=True,
        )

    def run(self, seconds: float, kills: int = 0) -> None:
        """Strike until the time is over and the kills are done, at least one of them resumed. Then let it recover."""
        began = time.monotonic()
        while not self.report.problems:
            elapsed = time.monotonic() - began
            is_enough = self.report.kills >= kills and self.report.partial >= min(kills, 1)
            if elapsed >= seconds and (is_enough or elapsed >= seconds + KILLS_S):
                break
            # A failure during a recovery may come before the new process exists.
            if self._random.random() > IN_RECOVERY:
                self._recover()
            self._pass(self._random.expovariate(1 / MEAN_S))
            self._strike()
        if not self.report.problems:
            self._recover()

    def follow_until(self, offset: int) -> None:
        """Supervise until everything up to ``offset`` is applied."""
        seen, deadline = None, time.monotonic() + STANDSTILL_S
        while (applied := self._applied()) is None or applied < offset:
            if applied != seen:  # a sink may be slow as long as it makes progress
                seen, deadline = applied, time.monotonic() + STANDSTILL_S
            self._pass(0.02)
            if time.monotonic() > deadline:
                self.report.problems.append(f"nothing was applied for {STANDSTILL_S:.0f} s: {applied} of {offset}")
                return

    def _applied(self) -> int | None:
        ring = self.fleet.status()[0].ring
        return ring.applied_offset if ring is not None else None

    def _pass(self, seconds: float) -> None:
        ends = time.monotonic() + seconds
        while (left := ends - time.monotonic()) > 0:
            self.fleet.step(min(left, 0.01))
            now = time.monotonic()
            for pid in [pid for pid, until in self._stopped.items() if until <= now]:
                self._go_on(pid)

    def _recover(self) -> None:
        deadline = time.monotonic() + RECOVERY_S
        while not self._is_well():
            self._pass(0.005)
            if time.monotonic() > deadline:
                self.report.problems.append(f"not recovered after {RECOVERY_S:.0f} s: {self.fleet.status()[0]}")
                return

    def _is_well(self) -> bool:
        status = self.fleet.status()[0]
        ring = status.ring
        if ring is None or ring.applied_offset is None or self._stopped:  # None: a snapshot is on its way into the sink
            return False
        if (ring.producer.pid, ring.consumer.pid) != (status.runner_pid, status.shard_pid):
            return False  # the header still shows the facts of their predecessors
        # The first event of a link shows how it started. An upstream that has sent everything has no such event.
        is_level = self._is_done() and ring.applied_offset == upstream_offset(ring)
        return status.link_state is LinkState.STREAMING and (self._synced or is_level)

    def _strike(self) -> None:
        status = self.fleet.status()[0]
        what = self._random.choices(list(MISFORTUNES), list(MISFORTUNES.values()))[0]
        self._struck_at = self._struck_at or time.monotonic()
        runner, shard = status.runner_pid, status.shard_pid
        if what == "link":
            self._synced = False
            self.report.cuts += 1
            self._cut()
        elif what == "stop":
            pid = self._random.choice([runner, shard])
            if pid and pid not in self._stopped:
                os.kill(pid, signal.SIGSTOP)
                self.report.stops += 1
                self._stopped[pid] = time.monotonic() + self._random.uniform(0.02, 0.5)
        else:
            for pid in {"runner": [runner], "shard": [shard], "both": [runner, shard]}[what]:
                self._kill(pid)

    def _kill(self, pid: int | None) -> None:
        if pid:
            self._synced = False
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                self.report.kills += 1

    def _go_on(self, pid: int) -> None:
        self._stopped.pop(pid, None)
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)

    def _happened(self, event: FleetEvent) -> None:
        if event.kind is FleetEventKind.STARTED:
            self.report.takeovers += event.role in self._seen
            self._seen.add(event.role)
        elif event.kind is FleetEventKind.EXITED:
            self._stopped.pop(event.pid, None)
            if event.role is Role.RUNNER:
                self._synced = False
            if event.exit_code not in (None, 0, EXIT_RECEIVER_GONE, EXIT_TRUNCATED):
                self.report.problems.append(f"{event}")
        elif event.kind is FleetEventKind.SYNCED:
            self._synced = True
            self.report.partial += event.synced == "partial"
            self.report.full += event.synced == "full"
            if self._struck_at is not None:
                self.report.resume_s.append(time.monotonic() - self._struck_at)
                self._struck_at = None


def torture(
    upstream_kind: str, sink: str, seconds: float, seed: int, directory: Path, *, kills: int = 0
) -> tuple[Report, Ledger, float]:
    """One run with at least ``kills`` kills. Returns the tally, the content of the sink, and the seconds it took."""
    began = time.monotonic()
    report = Report()
    upstream = UPSTREAMS[upstream_kind](seconds, RATE, seed, directory)
    path = directory / ("changes" if sink == "jsonl" else "keys.sqlite")
    try:
        run = Torture(upstream, f"{sink}:{path}", seed, report)
        with run.fleet:
            run.run(seconds, kills)
            upstream.finish()
            if not report.problems:
                run.follow_until(upstream.final_offset())
        ledger = Ledger(upstream, sink, path)
    finally:
        upstream.close()
    return report, ledger, time.monotonic() - began


def told(report: Report, ledger: Ledger, seconds: float) -> str:
    """The report of a run."""
    return "\n".join(
        [
            f"{seconds:.0f} s: {report.kills} kills, {report.stops} stops, {report.cuts} cut links",
            f"{report.takeovers} takeovers, {report.partial} times resumed, {report.full} full syncs",
            f"{ledger.events} events in the change log",
            f"back in the stream after p50 {report.quantile(0.5):.3f} s, p99 {report.quantile(0.99):.3f} s",
            f"lost {ledger.lost}, doubled {ledger.doubled}, torn {ledger.torn}",
            *report.problems,
            *ledger.words,
        ]
    )


def main() -> int:
    """Exit code 0: nothing was lost, doubled or torn."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=1.0, help="of misfortunes, for each combination (default 1)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--upstream", choices=sorted(UPSTREAMS), action="append", help="default: both")
    parser.add_argument("--sink", choices=["jsonl", "sqlite"], action="append", help="default: both")
    parser.add_argument("--log", action="store_true", help="what the fleet says, as it says it")
    arguments = parser.parse_args()
    logging.basicConfig(
        level=logging.INFO if arguments.log else logging.ERROR, format="%(relativeCreated)d ms: %(message)s"
    )
    failed = False
    for upstream in arguments.upstream or sorted(UPSTREAMS):
        for sink in arguments.sink or ["jsonl", "sqlite"]:
            directory = Path(tempfile.mkdtemp(prefix="kevy-ring-torture-"))
            print(f"{upstream} into {sink}, seed {arguments.seed}, {arguments.minutes:g} min", flush=True)
            report, ledger, seconds = torture(upstream, sink, arguments.minutes * 60, arguments.seed, directory)
            print(told(report, ledger, seconds), "\n", flush=True)
            if report.problems or not ledger.is_good:
                print(f"what is left lies in {directory}", flush=True)
                failed = True
            else:
                shutil.rmtree(directory)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
