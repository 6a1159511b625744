"""Figures in the form that people read."""

from __future__ import annotations

import pytest

from kevy_ring.cli import figures


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (figures.count(1234567), "1,234,567"),
        (figures.count(None), "-"),
        (figures.short(0.4), "0"),
        (figures.short(999.4), "999"),
        (figures.short(999.6), "1.0k"),
        (figures.short(81_249), "81.2k"),
        (figures.short(812_000), "812k"),
        (figures.short(999_700), "1.0M"),
        (figures.size(0), "0 B"),
        (figures.size(999), "999 B"),
        (figures.size(1000), "1.0 KiB"),
        (figures.size(1024), "1 KiB"),
        (figures.size(1023.9 * 1024), "1.0 MiB"),
        (figures.size(8_283_750), "7.9 MiB"),
        (figures.size(5 << 40), "5 TiB"),
        (figures.percent(1, 1000), "<1 %"),
        (figures.percent(0, 1000), "0 %"),
        (figures.percent(1, 0), "-"),
        (figures.seconds(0.0421), "0.04 s"),
        (figures.seconds(12.34), "12.3 s"),
        (figures.seconds(185), "3 min 05 s"),
        (figures.seconds(7620), "2 h 07 min"),
        (figures.seconds(None), "-"),
        (figures.age(59.9), "59 s"),
        (figures.age(60), "1 min"),
        (figures.age(26 * 3600), "1 d"),
        (figures.plural(1, "key"), "1 key"),
        (figures.plural(0, "publish", "publishes"), "0 publishes"),
    ],
)
def test_figures_are_short_and_true(shown: str, expected: str) -> None:
    assert shown == expected


def test_bytes_cannot_command_a_terminal() -> None:
    assert figures.text(b"a\x1b]0;x\x07\r\n\xff\xc3\xa9") == r"'a\x1b]0;x\x07\r\n\xff" + "é'"
    assert figures.text(b"x" * 100, 4) == "'xxxx'… (100 bytes)"
    assert figures.text("\u202e".encode()) == r"'\u202e'"
