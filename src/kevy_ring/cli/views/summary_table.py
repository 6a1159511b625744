"""The table at the end of a run: what each shard did."""

from __future__ import annotations

from rich import box
from rich.table import Table

from kevy_ring.cli import figures
from kevy_ring.cli.ingest.outcome import Outcome, ShardOutcome
from kevy_ring.inbox.header_words import ProducerWord

_RATE_LEAST, _RATE_LEAST_S = 1000, 0.01


def summary_table(outcome: Outcome) -> Table:
    """One row per shard, and their sum where there are several."""
    several = len(outcome.shards) > 1
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1), collapse_padding=True, header_style="bold",
                  show_footer=several)  # fmt: skip
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


def _syncs(shard: ShardOutcome) -> str:
    full, partial = shard.last.of_run(ProducerWord.FULL_SYNCS), shard.last.of_run(ProducerWord.PARTIAL_SYNCS)
    parts = [f"{full} full"] if full else []
    parts += [f"{partial} partial"] if partial else []
    return ", ".join(parts) or "none"


def rate_lines(outcome: Outcome) -> list[str]:
    """How fast it went, over all shards."""
    # A rate over some few things or some few milliseconds would be noise.
    lines = []
    if outcome.entries and (took := outcome.snapshot_seconds):
        rate = f", {figures.short(outcome.entries / took)} keys/s"
        told = rate if outcome.entries >= _RATE_LEAST and took >= _RATE_LEAST_S else ""
        lines.append(f"snapshot: {figures.plural(outcome.entries, 'key')} in {figures.seconds(took)}{told}")
    if outcome.frames and (took := outcome.frame_seconds):
        rate = f", {figures.short(outcome.frames / took)} frames/s over {figures.plural(len(outcome.shards), 'shard')}"
        told = rate if outcome.frames >= _RATE_LEAST and took >= _RATE_LEAST_S else ""
        lines.append(f"live: {figures.plural(outcome.frames, 'frame')} in {figures.seconds(took)}{told}")
    return lines
