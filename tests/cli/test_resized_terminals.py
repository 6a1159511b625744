"""The live table and top on real terminals that change their size. No line may be torn, wrapped or shown twice."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from rich.cells import cell_len

from absent import absent
from kevy_ring import Ring
from terminal_recording import (
    RESIZED,
    SIZES,
    SMALL,
    Size,
    Terminals,
    gate,
    ingest_command,
    is_ended,
    is_live,
    top_command,
)

PREFIX = f"kr-size-{os.getpid()}"
#: The heading of the live table by the width of the terminal. It tells which table is on the screen.
HEADINGS = {80: " # link .* overflow", 120: " #  link .* overflow", 200: " shard  link .* up to", 60: " # link .* ring"}


@pytest.fixture
def terminals() -> Iterator[Terminals]:
    if shutil.which("tmux") is None:
        absent("tmux is not installed")
    with Terminals() as terminals:
        yield terminals


def times(screen: list[str], pattern: str) -> int:
    return len(re.findall(pattern, "\n".join(screen), re.MULTILINE))


def fits(screen: list[str], size: Size) -> None:
    # A row that the terminal wrapped is one line here, and so too long.
    assert max(map(cell_len, screen)) <= size[0], screen
    assert len(screen) <= size[1]


def is_drawn(screen: list[str], size: Size) -> bool:
    """Whether the live table of this size is on the screen."""
    if size[1] < 10:
        return bool(screen) and screen[0].startswith("  ● ") and len(screen) == 3
    heading = [line for line in screen if re.match(r" (shard|#) +link ", line)]
    return len(heading) == 1 and bool(re.fullmatch(HEADINGS[size[0]], heading[0])) and is_live(screen)


def check_live(screen: list[str], size: Size) -> None:
    """The stage, the heading, its rule and the two shards are there once, whole and in their order."""
    fits(screen, size)
    assert times(screen, r"^  ● ") == 1
    assert times(screen, r" streaming ") == 2
    at = next(number for number, line in enumerate(screen) if line.startswith("  ● "))
    if size[1] < 10:
        assert [line.split()[:2] for line in screen[at + 1 :]] == [["0", "streaming"], ["1", "streaming"]]
        return
    blank, heading, rule, *rows = screen[at + 1 :]
    assert blank == ""
    assert re.match(r" (shard|#) +link +snapshot ", heading)
    assert set(rule) == {" ", "─"}
    assert cell_len(rule) >= cell_len(heading)
    shards = [row for row in rows if " streaming " in row]
    assert [row.split()[:3] for row in shards] == [["0", "streaming", "200"], ["1", "streaming", "200"]]
    assert len(rows) in (2, 4)
    assert {cell_len(row) for row in shards} == {cell_len(heading)}
    check_log(screen[:at])


def check_log(lines: list[str]) -> None:
    """Each line of the log is there at most once."""
    starts = [line for line in lines if re.match(r"\d\d:\d\d:\d\d [A-Z]+ +", line)]
    assert len(starts) == len(set(starts))
    assert sum(line.startswith("The embedded upstream into ") for line in lines) <= 1


def check_end(screen: list[str], size: Size) -> None:
    fits(screen, size)
    for pattern in (
        r"^done in [\d.]+ s; nothing was compared$",
        r"^ shard +syncs ",
        r"^ +0 +1 full ",
        r"^ +1 +1 full ",
    ):
        assert times(screen, pattern) == 1, pattern
    assert times(screen, "●| streaming ") == 0
    check_log(screen)


def test_the_live_table_is_whole_after_each_change_of_the_size_and_the_result_is_there_once(
    terminals: Terminals,
) -> None:
    with gate() as opened:
        running = {size: terminals.open(size, ingest_command()) for size in SIZES}
        for size, terminal in running.items():
            check_live(terminal.screen_when(lambda found, size=size: is_drawn(found, size)), size)  # type: ignore[misc]
        for step in (lambda size: RESIZED[size], lambda size: SMALL[0], lambda size: SMALL[1], lambda size: size):
            for size, terminal in running.items():
                terminal.resize(step(size))
            for size, terminal in running.items():
                now = step(size)
                check_live(terminal.screen_when(lambda found, now=now: is_drawn(found, now)), now)  # type: ignore[misc]
        opened.touch()
        for size, terminal in running.items():
            check_end(terminal.screen_when(is_ended), size)


def check_top(screen: list[str], size: Size, rings: list[str]) -> None:
    fits(screen, size)
    assert len(screen) == size[1]
    assert times(screen, r"^ 3 rings") == 1
    assert times(screen, r"^  # ring") == 1
    for number, name in enumerate(rings[: size[1] - 3], 1):
        (row,) = [line for line in screen if line.startswith(f"{number:>3} ")]
        # A narrow terminal cuts the middle out of a name: the names of one run differ at their ends.
        head, _, tail = row.split()[1].partition("…")
        assert name.startswith(head)
        assert name.endswith(tail)
        assert "0 %" in row
    assert screen[-1].startswith((" q quit", " q r f o n"))


def test_top_draws_a_changed_size_at_once_and_whole(terminals: Terminals) -> None:
    with ExitStack() as stack:
        rings = [stack.enter_context(Ring.create(4096, f"{PREFIX}-{number}")).name for number in range(3)]
        running = {size: terminals.open(size, top_command(PREFIX)) for size in SIZES}
        steps = (lambda size: size, lambda size: RESIZED[size], *(lambda _, small=small: small for small in SMALL))
        for step in steps:
            for size, terminal in running.items():
                terminal.resize(step(size))
            for size, terminal in running.items():
                now = step(size)
                screen = terminal.screen_when(
                    lambda found, now=now: len(found) == now[1] and " q " in found[-1] and found[0] != ""  # type: ignore[misc]
                )
                check_top(screen, now, rings)
        for terminal in running.values():
            terminal.press("q")
            terminal.screen_when(lambda found: not found)  # the terminal has its own screen again
