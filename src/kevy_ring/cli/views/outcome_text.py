"""The outcome of a run as tables and lines for people, the same on a terminal and in a pipe."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from kevy_ring.cli import figures
from kevy_ring.cli.compare.digest import DigestComparison
from kevy_ring.cli.compare.verify import Verification
from kevy_ring.cli.ingest.outcome import Outcome, ShardOutcome
from kevy_ring.cli.tables import new_table, print_line, print_table, width_of
from kevy_ring.inbox.header_words import ProducerWord

#: A rate over fewer things or fewer seconds than these would be noise.
_RATE_LEAST, _RATE_LEAST_S = 1000, 0.01


def print_outcome(console: Console, outcome: Outcome, problems: Sequence[str]) -> None:
    """Print the summary table, the rates, the comparison with the first differences, and ``problems``."""
    if outcome.shards:
        table = summary_table(outcome)
        if width_of(table) <= console.width:
            print_table(console, table)
        else:
            for shard in outcome.shards:
                print_line(console, Text(_in_words(shard)), indent=2)
    for line in _rate_lines(outcome):
        print_line(console, Text(line), indent=2)
    if outcome.filtered:
        print_line(console, Text(f"filter: {figures.plural(outcome.filtered, 'frame')} did not pass"), indent=2)
    comparison = outcome.comparison
    if comparison is not None:
        if comparison.is_equal:
            print_line(console, Text.assemble(("✓ ", "bold green"), str(comparison)), indent=2)
        for line in _details(comparison):
            print_line(console, Text(line, style="dim" if comparison.is_equal else ""), indent=4)
    for text in outcome.accepted:
        print_line(console, Text.assemble(("! ", "bold yellow"), f"accepted: {text}"), indent=2)
    for problem in problems:
        print_line(console, Text.assemble(("✗ ", "bold red"), " ".join(problem.split())), indent=2)


def _details(comparison: Verification | DigestComparison) -> list[str]:
    took = f"compared in {figures.seconds(comparison.seconds)}"
    if not isinstance(comparison, Verification):
        return [took] if comparison.is_equal else comparison.faults[1:]
    lines = [str(difference) for difference in comparison.differences]
    if comparison.different > len(comparison.differences):
        lines.append(f"and {figures.count(comparison.different - len(comparison.differences))} more")
    if comparison.is_equal:
        kinds = [f"{figures.count(number)} {kind}" for kind, number in comparison.by_type.most_common()]
        lines.append(", ".join([*kinds, took]))
    if comparison.reread:
        keys = figures.plural(comparison.reread, "key")
        lines.append(f"{keys} differed at first because writes continued, and were equal when read again")
    if comparison.restless:
        lines.append(f"{figures.plural(comparison.restless, 'key')} kept changing and could not be compared")
    for kind, number in sorted(comparison.skipped.items()):
        lines.append(f"{figures.plural(number, 'key')} of type {kind}: skipped by the snapshot, not compared")
    for kind, number in sorted(comparison.unreadable.items()):
        lines.append(f"{figures.plural(number, 'key')} of type {kind}: on both sides, values not compared")
    return lines


def summary_table(outcome: Outcome) -> Table:
    """One row per shard, and a row with the sums if there are several."""
    table = new_table(show_footer=len(outcome.shards) > 1)
    sizes = sum(s.last.frame_bytes for s in outcome.shards)
    restarts = sum(s.restarts for s in outcome.shards)
    peak = max((s.overflow_peak_bytes for s in outcome.shards), default=0)
    table.add_column("shard", "all", justify="right", no_wrap=True)
    table.add_column("syncs", justify="left", no_wrap=True)
    table.add_column("snapshot\nkeys", figures.count(outcome.entries), justify="right", no_wrap=True)
    table.add_column("frames\napplied", figures.count(outcome.frames), justify="right", no_wrap=True)
    table.add_column("frame\nbytes", figures.size(sizes), justify="right", no_wrap=True)
    table.add_column("overflow\npeak", figures.size(peak), justify="right", no_wrap=True)
    table.add_column("applied\nup to", justify="right", no_wrap=True)
    table.add_column("restarts", figures.count(restarts), justify="right", no_wrap=True)
    for shard in outcome.shards:
        table.add_row(
            str(shard.last.index),
            _syncs(shard),
            figures.count(shard.last.entries),
            figures.count(shard.last.frames),
            figures.size(shard.last.frame_bytes),
            figures.size(shard.overflow_peak_bytes),
            figures.count(shard.last.applied_offset),
            figures.count(shard.restarts),
        )
    return table


def _in_words(shard: ShardOutcome) -> str:
    """A row of the table, for a terminal that is narrower than the table."""
    last = shard.last
    return (
        f"shard {last.index}: syncs {_syncs(shard)}; {figures.plural(last.entries, 'snapshot key')}; "
        f"{figures.plural(last.frames, 'frame')} applied, {figures.size(last.frame_bytes)}, "
        f"up to {figures.count(last.applied_offset)}; overflow peak {figures.size(shard.overflow_peak_bytes)}; "
        f"{figures.plural(shard.restarts, 'restart')}"
    )


def _syncs(shard: ShardOutcome) -> str:
    full, partial = shard.last.of_run(ProducerWord.FULL_SYNCS), shard.last.of_run(ProducerWord.PARTIAL_SYNCS)
    parts = [f"{full} full"] if full else []
    parts += [f"{partial} partial"] if partial else []
    return ", ".join(parts) or "none"


def _rate_lines(outcome: Outcome) -> list[str]:
    """The time of the snapshots and of the live frames, over all shards, with rates."""
    lines = []
    if outcome.entries and (took := outcome.snapshot_seconds):
        rate = f", {figures.short(outcome.entries / took)} keys/s"
        shown = rate if outcome.entries >= _RATE_LEAST and took >= _RATE_LEAST_S else ""
        lines.append(f"snapshot: {figures.plural(outcome.entries, 'key')} in {figures.seconds(took)}{shown}")
    if outcome.frames and (took := outcome.frame_seconds):
        rate = f", {figures.short(outcome.frames / took)} frames/s over {figures.plural(len(outcome.shards), 'shard')}"
        shown = rate if outcome.frames >= _RATE_LEAST and took >= _RATE_LEAST_S else ""
        lines.append(f"live: {figures.plural(outcome.frames, 'frame')} in {figures.seconds(took)}{shown}")
    return lines
