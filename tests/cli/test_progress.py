"""Progress with rates, and the tables that show it."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from kevy_ring.cli.ingest.outcome import Outcome, ShardOutcome
from kevy_ring.cli.ingest.progress import ProgressMeter, ShardProgress
from kevy_ring.cli.rates import Rates
from kevy_ring.cli.views.outcome_text import summary_table
from kevy_ring.cli.views.progress_table import progress_table
from kevy_ring.inbox.header_words import ConsumerWord, LinkState
from kevy_ring.replica.fleet.event import ShardStatus
from kevy_ring.ring import RingStats
from kevy_ring.shard.shard_process import ShardFacts
from progress_of import progress_of


def status(ring: RingStats | None) -> ShardStatus:
    return ShardStatus(0, "kevy://h:1", ring, LinkState.STREAMING, "", 1, 2, 0, 0)


def ring(**figures: int) -> RingStats:
    found = progress_of(**figures).ring
    assert found is not None
    return found


def test_rates_are_means_over_the_last_second_and_count_what_went_to_the_overflow() -> None:
    meter = ProgressMeter()
    for tick in range(31):
        at = tick / 10
        (now,) = meter.sample([status(ring(events_in=tick * 5, overflow_events=tick * 5, bytes_out=tick * 100))], at)
    assert now.rates.in_events == pytest.approx(100)
    assert now.rates.out_bytes == pytest.approx(1000)
    for tick in range(31, 45):
        (now,) = meter.sample([status(ring(events_in=150, overflow_events=150))], tick / 10)
    assert now.rates.in_events == 0


def test_rates_begin_anew_with_a_new_ring_and_there_are_none_without_one() -> None:
    meter = ProgressMeter()
    meter.sample([status(ring(events_out=1000, created_unix_s=1))], 0.0)
    (now,) = meter.sample([status(ring(events_out=10, created_unix_s=2))], 0.5)
    assert now.rates == Rates()
    (now,) = meter.sample([status(ring(events_out=20, created_unix_s=2))], 1.0)
    assert now.rates.out_events == 20
    (now,) = meter.sample([status(None)], 1.5)
    assert (now.frames, now.applied_offset, now.is_drained) == (0, None, False)


def test_what_is_applied_counts_as_received_before_the_runner_tells() -> None:
    assert progress_of(received=10, applied=15).received_at_least == 15
    assert progress_of(received=10, applied=15, snapshots_sent=2).received_at_least == 10
    assert progress_of(received=None, applied=15).received_at_least is None


def busy(index: int) -> ShardProgress:
    return progress_of(
        list(LinkState)[1 + index % 6],
        index=index,
        received=1_234_567_890 if index else 999_999_999,
        applied=1_234_567_890 if index else 999_999_999,
        entries=999_499,
        waiting_bytes=4096,
        overflow_events=7,
        overflow_bytes=1023 << 10,
        rates=Rates(812_345, 1023 << 20, 99_949, 1023 << 10),
    )


def rendered(table: object, width: int) -> list[str]:
    out = io.StringIO()
    Console(file=out, width=width, force_terminal=True, color_system=None).print(table)
    return out.getvalue().splitlines()


@pytest.mark.parametrize(("width", "height", "lines"), [(80, 40, 2), (100, 40, 2), (160, 40, 1), (80, 11, 1)])
def test_the_live_table_fits_its_terminal_and_cuts_nothing(width: int, height: int, lines: int) -> None:
    shown = rendered(progress_table([busy(0)], width, height), width)
    assert max(map(len, shown)) <= width
    assert "…" not in "\n".join(shown)
    assert len([line for line in shown if line.strip()]) == 2 + lines
    assert "999,999,999" in "\n".join(shown)


def test_a_shard_that_was_restarted_after_its_snapshot_is_not_shown_as_loading() -> None:
    shard = progress_of(waiting_bytes=4096)
    assert shard.ring is not None
    words = list(shard.ring.consumer_words)
    words[ConsumerWord.SNAPSHOTS] = 0  # a new process starts counting at 0
    restarted = replace(shard, ring=replace(shard.ring, consumer_words=tuple(words)))
    assert "loading" not in "\n".join(rendered(progress_table([restarted], 160, 40), 160))
    pending = progress_of(waiting_bytes=4096, snapshots_applied=0)
    assert "loading" in "\n".join(rendered(progress_table([pending], 160, 40), 160))


def test_every_state_of_a_link_has_a_word() -> None:
    shown = "\n".join(rendered(progress_table([busy(index) for index in range(6)], 160, 40), 160))
    for word in ("connecting", "handshake", "snapshot", "streaming", "no link", "refused"):
        assert word in shown


def test_the_summary_fits_eighty_cells_and_adds_up() -> None:
    counts = {"frames": 1_000_000, "frame_bytes": 5 << 20, "entries": 50_000, "applied": 1_234_567}
    looks = [progress_of(index=index, overflow_peak_bytes=index << 20, **counts) for index in range(2)]
    shards = [ShardOutcome(look, ShardFacts()) for look in looks]
    outcome = Outcome("", "memory", 1.0, False, shards)
    shown = rendered(summary_table(outcome), 80)
    assert "…" not in "\n".join(shown)
    total = next(line for line in shown if line.split()[:1] == ["all"])
    assert total.split() == ["all", "100,000", "2,000,000", "10", "MiB", "1", "MiB", "0"]
