"""Keys from a terminal, whole and in pieces, and the state of the terminal afterwards."""

from __future__ import annotations

import os
import pty
import termios
from collections.abc import Iterator

import pytest

from kevy_ring.cli.top.keys import TopKeys


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    ours, theirs = pty.openpty()
    yield ours, theirs
    for fd in (ours, theirs):
        os.close(fd)


def keys_of(keys: TopKeys, count: int) -> list[str | None]:
    return [keys.next(5) for _ in range(count)]


def test_keys_have_names_however_they_come(terminal: tuple[int, int]) -> None:
    ours, theirs = terminal
    keys = TopKeys(theirs)
    keys.take()
    os.write(ours, b"r\x1b[A\x1b[5~\x1bOB\n7\x1b[1;5Cq")
    names = keys_of(keys, 8)
    assert names == ["r", "up", "page up", "down", "enter", "7", "", "q"]
    os.write(ours, b"\x1b")
    assert keys.next(5) == "esc"
    os.write(ours, b"\x1b\x1b[B")
    assert keys_of(keys, 2) == ["esc", "down"]
    assert keys.next(0) is None
    assert not keys.ended


def test_the_terminal_is_as_it_was_afterwards(terminal: tuple[int, int]) -> None:
    _, theirs = terminal
    before = termios.tcgetattr(theirs)
    keys = TopKeys(theirs)
    keys.take()
    assert termios.tcgetattr(theirs) != before
    keys.give_back()
    assert termios.tcgetattr(theirs) == before


def test_a_terminal_that_goes_away_ends_the_keys() -> None:
    ours, theirs = pty.openpty()
    keys = TopKeys(theirs)
    keys.take()
    os.close(ours)
    assert keys.next(5) is None
    assert keys.ended
    keys.give_back()
    os.close(theirs)


def test_without_a_terminal_there_are_no_keys() -> None:
    reading, writing = os.pipe()
    keys = TopKeys(reading)
    keys.take()
    os.write(writing, b"q")
    assert keys.next(0.01) is None
    os.close(reading)
    os.close(writing)
