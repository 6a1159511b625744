"""The line between a shard process and its starter."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from kevy_ring.shard.shard_line import ShardLine, ShardLines, ShardUnheard


@contextmanager
def answering(lines: ShardLines, shard: int, answers: dict[str, Callable[..., Any]]) -> Iterator[ShardLine]:
    """A shard that answers in a thread until the end."""
    line = ShardLine(lines.address, shard)
    is_over = threading.Event()

    def serve() -> None:
        while not is_over.wait(0.005):
            line.answer(answers)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield line
    finally:
        is_over.set()
        thread.join()
        line.close()


@pytest.fixture
def lines() -> Iterator[ShardLines]:
    with ShardLines() as lines:
        yield lines


def test_each_shard_answers_for_itself(lines: ShardLines) -> None:
    with answering(lines, 0, {"double": lambda n: 2 * n}), answering(lines, 1, {"double": lambda n: 20 * n}):
        assert [lines.ask(shard, "double", 7) for shard in (1, 0, 1)] == [140, 14, 140]


def test_a_large_answer_comes_whole_while_somebody_else_listens_too(lines: ShardLines) -> None:
    with answering(lines, 0, {"much": lambda: os.urandom(1) * 20_000_000}):
        assert len(lines.ask(0, "much", pulse=lambda: lines.words() and None)) == 20_000_000


def test_words_are_passed_on_and_outlive_their_process(lines: ShardLines) -> None:
    line = ShardLine(lines.address, 3)
    line.tell("log", "one")
    line.tell("failed", "x" * 100_000)
    line.close()
    (first, second) = lines.words()
    assert first == (3, "log", "one")
    assert second[:2] == (3, "failed")
    assert len(second[2]) < 10_000
    assert lines.words() == []


def test_words_that_nobody_reads_are_dropped_and_never_waited_for(lines: ShardLines) -> None:
    line = ShardLine(lines.address, 0)
    for _ in range(2000):
        line.tell("log", "x" * 5000)
    assert 0 < len(lines.words()) < 2000
    line.close()


def test_a_question_that_fails_is_told_with_its_reason(lines: ShardLines) -> None:
    with answering(lines, 0, {"divide": lambda n: 1 // n}):
        with pytest.raises(ShardUnheard, match="shard 0: ZeroDivisionError"):
            lines.ask(0, "divide", 0)
        with pytest.raises(ShardUnheard, match="KeyError"):
            lines.ask(0, "unknown")
        assert lines.ask(0, "divide", 1) == 1


def test_a_shard_that_ends_before_it_answers_is_told(lines: ShardLines) -> None:
    line = ShardLine(lines.address, 0)
    with pytest.raises(ShardUnheard, match="its process ended"):
        lines.ask(0, "anything", pulse=line.close)


def test_a_shard_that_never_answers_or_never_comes_is_given_up(lines: ShardLines) -> None:
    line = ShardLine(lines.address, 0)
    for shard in (0, 1):
        with pytest.raises(ShardUnheard, match=f"shard {shard}: no answer in time"):
            lines.ask(shard, "anything", timeout=0.1)
    line.close()


def test_the_newest_process_of_a_shard_is_asked(lines: ShardLines) -> None:
    old = ShardLine(lines.address, 0)
    with answering(lines, 0, {"who": lambda: "new"}):
        lines.words()
        assert lines.ask(0, "who") == "new"
    old.close()


def test_a_starter_that_is_gone_is_noticed_quietly() -> None:
    with ShardLines() as lines:
        line = ShardLine(lines.address, 0)
        lines.words()
    line.answer({})
    line.tell("log", "into the void")
    line.answer({})
    line.close()
    with pytest.raises(OSError):  # noqa: PT011  (what a system calls it)
        ShardLine(lines.address, 0)


def test_another_users_process_is_not_let_in(lines: ShardLines, monkeypatch: pytest.MonkeyPatch) -> None:
    line = ShardLine(lines.address, 0)
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    assert lines.words() == []
    with pytest.raises(ShardUnheard):
        lines.ask(0, "anything", timeout=0.1)
    line.close()
    with pytest.raises(PermissionError):
        ShardLine(lines.address, 0)
