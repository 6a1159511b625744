"""What a run came to, as lines for people; the same on a terminal and in a pipe."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from kevy_ring.cli import figures
from kevy_ring.cli.compare.digest import DigestComparison
from kevy_ring.cli.compare.verify import Verification
from kevy_ring.cli.ingest.outcome import Outcome
from kevy_ring.cli.tables import print_line, print_table
from kevy_ring.cli.views.summary_table import rate_lines, summary_table


def print_outcome(console: Console, outcome: Outcome) -> None:
    """The summary table, the rates, the comparison with the first differences, and what is wrong."""
    if outcome.shards:
        print_table(console, summary_table(outcome))
    for line in rate_lines(outcome):
        print_line(console, Text(line), indent=2)
    comparison = outcome.comparison
    if comparison is not None:
        if comparison.is_equal:
            print_line(console, Text.assemble(("✓ ", "bold green"), str(comparison)), indent=2)
        for line in _details(comparison):
            print_line(console, Text(line, style="dim" if comparison.is_equal else ""), indent=4)
    for text in outcome.accepted:
        print_line(console, Text.assemble(("! ", "bold yellow"), f"accepted: {text}"), indent=2)
    for problem in outcome.problems:
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
        lines.append(f"{keys} differed at first because writes went on, and were equal when read again")
    if comparison.restless:
        lines.append(f"{figures.plural(comparison.restless, 'key')} kept changing and could not be compared")
    for kind, number in sorted(comparison.skipped.items()):
        lines.append(f"{figures.plural(number, 'key')} of type {kind}: skipped by the snapshot, not compared")
    for kind, number in sorted(comparison.unreadable.items()):
        lines.append(f"{figures.plural(number, 'key')} of type {kind}: there on both sides, values not compared")
    return lines
