"""The screen of top, on terminals of all sizes."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest
from rich.cells import cell_len

from kevy_ring.cli.rates import Rates
from kevy_ring.cli.ring_columns import bar
from kevy_ring.cli.top.columns import fit, spark
from kevy_ring.cli.top.meter import TopRing
from kevy_ring.cli.top.one_ring import ring_lines
from kevy_ring.cli.top.screen import Line, label_lines, list_lines
from kevy_ring.cli.top.state import TopState
from kevy_ring.ring import Ring, RingStats, RoleState, RoleStats


def text(line: Line) -> str:
    return "".join(segment.text for segment in line)


def busy(stats: RingStats, name: str) -> TopRing:
    words = [0] * 16
    words[8], words[9] = 4, 1001
    shown = replace(
        stats, name=name, used_bytes=3072, overflow_events=7, overflow_bytes=5 << 20, overflow_age_s=65.0,
        last_drain_age_s=3.0, applied_offset=900, producer_words=tuple(words),
        producer=RoleStats(RoleState.ALIVE, os.getpid(), 1), consumer=RoleStats(RoleState.DEAD, 77, 2),
    )  # fmt: skip
    ring = TopRing(name, shown, rates=Rates(1234, 5 << 20, 81_000, 1 << 30, 12))
    ring.recent.extend(range(12))
    ring.history.extend(range(120))
    return ring


@pytest.fixture
def rings() -> list[TopRing]:
    with Ring.create(4096) as ring:
        stats = ring.stats()
    odd = TopRing("gone", stats, gone_at=1.0)
    return [
        busy(stats, "orders-0"), odd, TopRing("torn", stats, "head and tail"), TopRing("cut", None, "its file"),
        TopRing("w\x1b[31m字" * 8, stats), *(TopRing(f"more-{n}", stats) for n in range(60)),
    ]  # fmt: skip


@pytest.mark.parametrize("width", [1, 10, 20, 40, 80, 120, 250])
@pytest.mark.parametrize("height", [1, 2, 4, 5, 24, 90])
def test_every_line_has_the_width_and_there_are_no_more_than_the_height(
    rings: list[TopRing], width: int, height: int
) -> None:
    state = TopState()
    for marked in (None, "more-40"):
        state.marked = marked
        for lines in (
            list_lines(rings, state, width, height, 5.0), list_lines([], state, width, height, 5.0),
            ring_lines(rings[0], width, height, 5.0), ring_lines(rings[3], width, height, 5.0),
        ):  # fmt: skip
            assert len(lines) <= height
            assert {cell_len(text(line)) for line in lines} <= {width}
            assert "\x1b" not in "".join(map(text, lines))


def test_a_wide_screen_tells_everything(rings: list[TopRing]) -> None:
    lines = list(map(text, list_lines(rings, TopState(), 200, 40, 5.0)))
    assert "65 rings" in lines[0]
    line = lines[2]
    for words in ("orders-0", "██████··", "75 %", "1.2k", "5 MiB", "81.0k", "1 GiB", "1 min", " 12 ", "3 s",
                  f"alive {os.getpid()}", "dead 77", "900", "-100", "▁▁▂▃▃▄▅▆▆▇██"):  # fmt: skip
        assert words in line, words
    assert "gone 4 s ago" in lines[3]
    assert "corrupt: head and tail" in lines[4]
    assert "unreadable: its file" in lines[5]
    assert "28 more" in lines[-1]


def test_a_small_screen_keeps_what_matters_most(rings: list[TopRing]) -> None:
    lines = list(map(text, list_lines(rings, TopState(), 40, 6, 5.0)))
    for words in ("orders-0", "75 %", "1.2k", "81.0k"):
        assert words in lines[2]


def test_the_marked_ring_is_always_on_the_screen(rings: list[TopRing]) -> None:
    state = TopState()
    for name in ("orders-0", "more-0", "more-30", "more-59"):
        state.marked = name
        assert any(name in text(line) for line in list_lines(rings, state, 80, 12, 5.0))


def test_an_opened_ring_is_told_in_sentences_with_what_is_wrong(rings: list[TopRing]) -> None:
    lines = "\n".join(map(text, ring_lines(rings[0], 160, 40, 5.0)))
    for words in ("the consumer, pid 77, died without closing", "received up to offset 1,000", "applied: 100 behind",
                  "7 events, 5 MiB now, the oldest for 65.0 s"):  # fmt: skip
        assert words in lines, words


def test_a_quiet_ring_is_drawn_once_a_second(rings: list[TopRing]) -> None:
    ring = rings[-1]
    ring.is_quiet = True
    first = list_lines([ring], TopState(), 80, 10, 5.0)[2]
    assert list_lines([ring], TopState(), 80, 10, 5.9)[2] is first
    assert list_lines([ring], TopState(), 80, 10, 6.0)[2] is not first
    assert list_lines([ring], TopState(), 90, 10, 6.0)[2] is not first


def test_of_many_rings_a_busy_one_is_drawn_some_times_a_second(rings: list[TopRing]) -> None:
    ring = rings[0]
    for count, drawn in ((24, True), (25, False)):
        many = [ring, *(TopRing(f"other-{number:02}") for number in range(count - 1))]
        ring.drawn_at = float("-inf")
        first = list_lines(many, TopState(), 80, 60, 5.0)[2]
        assert (list_lines(many, TopState(), 80, 60, 5.25)[2] is not first) == drawn
        assert list_lines(many, TopState(), 80, 60, 5.5)[2] is not first
    ring.gone_at = 5.5
    shown = list_lines(many, TopState(), 80, 60, 5.51)[2]
    assert "gone" in "".join(segment.text for segment in shown)


def test_bars_and_sparks_are_as_long_as_they_should_be() -> None:
    assert [bar(share, 4) for share in (0, 1e-9, 0.5, 0.99, 1)] == ["····", "▏···", "██··", "████", "████"]
    assert (spark([], 5), spark([0, 0], 5), spark([1, 2, 4], 2)) == ("", "▁▁", "▄█")
    assert [fit("字字", cells) for cells in (2, 3, 4, 6)] == [" …", "字…", "字字", "字字  "]


@pytest.mark.parametrize("width", [40, 80, 100, 120, 160, 250])
def test_the_upstream_and_the_sink_of_a_ring_are_on_the_screen(rings: list[TopRing], width: int) -> None:
    label = f"redis://10.0.0.7:6379 → sqlite:/var/lib/{'deep/' * 20}orders.db"
    for ring in rings[:1]:
        assert ring.stats is not None
        ring.stats = replace(ring.stats, label=label)
    state = TopState()
    state.marked = "orders-0"
    lines = list(map(text, list_lines(rings, state, width, 24, 5.0)))
    assert any("redis" in line and " → sqlite" in line and "ers.db" in line for line in lines[2:]), lines
    opened = list(map(text, ring_lines(rings[0], width, 40, 5.0)))
    assert any("redis" in line and " → sql" in line and ".db" in line for line in opened)
    below = label_lines(rings, width)
    assert all(cell_len(line) <= width for line in below)
    assert bool(below) == (width < 120)


def test_long_names_lose_their_middle_and_come_before_the_history(rings: list[TopRing]) -> None:
    stats = rings[0].stats
    assert stats is not None
    long = [busy(stats, f"kevy-0036a5bc49ece1c53ff{number}") for number in (1, 2)]
    wide, narrow = (list(map(text, list_lines(long, TopState(), width, 24, 5.0))) for width in (80, 60))
    assert "kevy-0036a5bc49ece1c53ff1" in wide[2]
    assert "history" not in wide[1]
    assert "kevy-0036a…ece1c53ff1" in narrow[2]
    assert "kevy-0036a…ece1c53ff2" in narrow[3]
    assert "history" in text(list_lines(rings[:1], TopState(), 80, 24, 5.0)[1])
