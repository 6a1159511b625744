"""The view without a terminal: the run as lines of the log, and the tables at its end, without colours."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TextIO

from kevy_ring.cli import figures
from kevy_ring.cli.failure import Failure
from kevy_ring.cli.ingest.outcome import Outcome
from kevy_ring.cli.ingest.progress import ShardProgress, trouble_text
from kevy_ring.cli.log.note import Note
from kevy_ring.cli.log.run_log import RunLog
from kevy_ring.cli.tables import tables_console
from kevy_ring.cli.views.objects import outcome_object, shard_object
from kevy_ring.cli.views.outcome_text import print_outcome
from kevy_ring.cli.views.progress_table import link_label

#: Wide enough for the summary table: a pipe has no width.
_WIDTH = 120


class LogView:
    """Logs the start, the progress, the outcome and the end. ``report``: where the tables go; None: no tables."""

    def __init__(self, log: RunLog, report: TextIO | None = None) -> None:
        self._log = log
        self._report = report
        self._due = 0.0
        self._title = ""

    def title(self, text: str, detail: str = "", **facts: Any) -> None:
        self._due = self._log.options.log_interval_s or 0.0
        self._title = text
        self._log.tell(Note(f"{text} · {detail}" if detail else text, event="start", facts=facts))

    def progress(self, stage: str, elapsed: float, shards: Sequence[ShardProgress]) -> None:
        interval_s = self._log.options.log_interval_s
        if interval_s is not None and elapsed >= self._due:
            self._due = elapsed + interval_s
            facts = {"stage": stage, "elapsed_s": round(elapsed, 3)}
            facts |= {"shards": [shard_object(each) for each in shards]} if self._log.is_json else {}
            self._log.tell(Note(f"{stage} | {_line(shards)}", event="progress", facts=facts))

    def note(self, text: str, *, is_bad: bool = False) -> None:
        self.tell(Note(text, logging.WARNING if is_bad else logging.INFO, report=text))

    def tell(self, note: Note) -> None:
        self._log.tell(note)

    def outcome(self, outcome: Outcome) -> None:
        if self._report is not None:
            self._print(outcome, self._report)
        elif self._log.is_json:
            self._log.tell(Note(_outcome_text(outcome), event="outcome", facts=outcome_object(outcome)))

    def _print(self, outcome: Outcome, report: TextIO) -> None:
        with _written():
            # The log's last line has the first problem. Do not print it a second time into the same file.
            is_said = self._log.is_with(report)
            if not is_said:
                print(self._title, file=report)
            problems = outcome.problems[1:] if is_said else outcome.problems
            print_outcome(tables_console(_WIDTH, report), outcome, problems)
            print(file=report, flush=True)

    def close(self, outcomes: Sequence[Outcome], remarks: Sequence[str], problem: str | None) -> None:
        if problem is not None:
            text, level, code = f"failed, exit code 1: {problem}", logging.ERROR, 1
        else:
            text, level, code = remarks[0] if remarks else "done", logging.INFO, 0
            with _written():
                for line in remarks if self._report is not None else ():
                    print(line, file=self._report, flush=True)
        if problem is not None or not self._is_said():
            self._log.tell(Note(text, level, event="end", facts={"exit_code": code, "problem": problem}))

    def _is_said(self) -> bool:
        """Whether the remarks are in the file of the log already."""
        return self._report is not None and self._log.is_with(self._report)


@contextmanager
def _written() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise  # the reader has enough
    except OSError as error:
        raise Failure(f"the report cannot be written: {error.strerror or error}") from error


def _outcome_text(outcome: Outcome) -> str:
    keys, frames = figures.plural(outcome.entries, "key"), figures.plural(outcome.frames, "frame")
    compared = f"; {outcome.comparison}" if outcome.comparison is not None else ""
    return f"{outcome.sink}: {keys} of snapshots and {frames} applied in {figures.seconds(outcome.seconds)}{compared}"


def _line(shards: Sequence[ShardProgress]) -> str:
    """All shards in one line."""
    rates = [shard.rates for shard in shards]
    rings = [shard.ring for shard in shards if shard.ring is not None]
    fill = max((ring.used_bytes / ring.capacity for ring in rings), default=0.0)
    states: dict[str, int] = {}
    for shard in shards:
        states[link_label(shard.link_state)] = states.get(link_label(shard.link_state), 0) + 1
    snapshot = sum(shard.snapshot_bytes for shard in shards)
    parts = [", ".join(f"{number} {label}" for label, number in states.items())]
    if not sum(shard.frames for shard in shards) and snapshot:
        parts.append(f"snapshot {figures.size(snapshot)}")
    parts += [
        f"received {_rate(sum(r.in_events for r in rates), sum(r.in_bytes for r in rates))}",
        f"applied {_rate(sum(r.out_events for r in rates), sum(r.out_bytes for r in rates))}",
        f"{figures.plural(sum(shard.frames for shard in shards), 'frame')} applied",
        f"fullest ring {figures.percent(fill, 1)}",
        f"overflow {figures.size(sum(ring.overflow_bytes for ring in rings))}",
    ]
    if text := trouble_text(shards):
        parts.append(text)
    return " | ".join(parts)


def _rate(events: float, size: float) -> str:
    return f"{figures.short(events)}/s {figures.size(size)}/s"
