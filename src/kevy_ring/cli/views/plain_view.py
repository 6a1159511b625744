"""The view for a pipe or a file: a line every two seconds, and the tables at the end, without colours."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, TextIO

from kevy_ring.cli import figures
from kevy_ring.cli.ingest.outcome import Outcome
from kevy_ring.cli.ingest.progress import ShardProgress, trouble_text
from kevy_ring.cli.tables import tables_console
from kevy_ring.cli.views.outcome_text import print_outcome
from kevy_ring.cli.views.progress_table import link_label

INTERVAL_S = 2.0
#: Wide enough for the summary table: a pipe has no width.
_WIDTH = 120


class PlainView:
    """Writes to ``out``, and the reason for exit code 1 to standard error as well."""

    def __init__(self, out: TextIO | None = None) -> None:
        self._out = out or sys.stdout
        self._console = tables_console(_WIDTH, self._out)
        self._due = 0.0

    def title(self, text: str, detail: str = "", **facts: Any) -> None:
        self._due = INTERVAL_S
        self._say(text)
        if detail:
            self._say(f"  {detail}")

    def progress(self, stage: str, elapsed: float, shards: Sequence[ShardProgress]) -> None:
        if elapsed >= self._due:
            self._due = elapsed + INTERVAL_S
            self._say(f"  {figures.seconds(elapsed):>7}  {stage} | {_line(shards)}")

    def note(self, text: str, *, is_bad: bool = False) -> None:
        self._say(f"  {text}")

    def outcome(self, outcome: Outcome) -> None:
        print_outcome(self._console, outcome)
        self._say("")

    def close(self, outcomes: Sequence[Outcome], remarks: Sequence[str], problem: str | None) -> None:
        for line in remarks:
            self._say(line)
        if problem is not None:
            print(f"kevy-ring: {problem}", file=sys.stderr)

    def _say(self, text: str) -> None:
        print(text, file=self._out, flush=True)


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
