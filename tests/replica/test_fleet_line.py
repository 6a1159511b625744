"""The line between a fleet and its shard processes: questions one way, answers and words the other way."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from fleet_shards import QuickBackoff
from kevy_ring.replica.fleet import Fleet, ShardUnheard
from kevy_ring.replica.fleet.child import TEXT_MAX, ParentLine

DEADLINE_S = 40.0
UNREACHABLE = "kevy://127.0.0.1:1"
MUCH_BYTES = 20_000_000


def answering_shard(ring_name: str, index: int, stop: ParentLine) -> None:
    answers: dict[str, Callable[..., object]] = {
        "who": os.getpid,
        "double": lambda n: 2 * n * 10**index,
        "much": lambda: os.urandom(1) * MUCH_BYTES,
        "divide": lambda n: 1 // n,
        "lambda": lambda: lambda: None,
        "end": lambda: os._exit(1),
    }
    while not stop.wait(0.005):
        stop.answer(answers)


def talking_shard(ring_name: str, index: int, stop: ParentLine) -> None:
    stop.say("log", "one")
    stop.say("failed", "x" * 100_000)
    os._exit(1)


def flooding_shard(done: Path, ring_name: str, index: int, stop: ParentLine) -> None:
    for _ in range(2000):
        stop.say("log", "x" * 5000)
    done.touch()
    stop.wait(None)


def silent_shard(ring_name: str, index: int, stop: ParentLine) -> None:
    stop.wait(None)


@contextmanager
def running(shard_main: object, shards: int = 1, **options: object) -> Iterator[Fleet]:
    fleet = Fleet(UNREACHABLE, shard_main, shards=shards, backoff=QuickBackoff, **options)  # type: ignore[arg-type]
    with fleet:
        yield fleet


def step_until(fleet: Fleet, condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline
        fleet.step(0.02)


def test_each_shard_answers_for_itself() -> None:
    with running(answering_shard, 2) as fleet:
        assert [fleet.ask(shard, "double", 7) for shard in (1, 0, 1)] == [140, 14, 140]


def test_a_large_answer_comes_whole() -> None:
    with running(answering_shard) as fleet:
        assert len(fleet.ask(0, "much")) == MUCH_BYTES


def test_an_answer_that_is_not_awaited_any_more_is_no_answer_to_the_next_question() -> None:
    def give_up() -> None:
        raise InterruptedError

    with running(answering_shard) as fleet:
        assert fleet.ask(0, "double", 1) == 2
        with pytest.raises(InterruptedError):
            fleet.ask(0, "much", pulse=give_up)
        assert fleet.ask(0, "double", 2) == 4


def test_words_are_passed_on_and_outlive_their_process() -> None:
    heard: list[tuple[int, str, str]] = []
    with running(talking_shard, on_words=lambda *words: heard.append(words)) as fleet:
        step_until(fleet, lambda: len(heard) >= 2)
    assert heard[:2] == [(0, "log", "one"), (0, "failed", "x" * TEXT_MAX)]


def test_words_are_logged_where_no_callback_takes_them(caplog: pytest.LogCaptureFixture) -> None:
    with running(talking_shard) as fleet:
        step_until(fleet, lambda: "shard 0: log: one" in caplog.text)


def test_words_that_nobody_reads_are_dropped_and_never_waited_for(tmp_path: Path) -> None:
    heard: list[str] = []
    done = tmp_path / "done"
    with running(partial(flooding_shard, done), on_words=lambda *words: heard.append(words[1])) as fleet:
        deadline = time.monotonic() + DEADLINE_S
        while not done.exists():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        step_until(fleet, lambda: bool(heard))
    assert len(heard) < 2000


def test_a_question_that_fails_is_told_with_its_reason() -> None:
    with running(answering_shard) as fleet:
        with pytest.raises(ShardUnheard, match="shard 0: ZeroDivisionError"):
            fleet.ask(0, "divide", 0)
        with pytest.raises(ShardUnheard, match="KeyError"):
            fleet.ask(0, "unknown")
        with pytest.raises(ShardUnheard, match="pickle"):
            fleet.ask(0, "lambda")
        assert fleet.ask(0, "divide", 1) == 1


def test_a_shard_that_ends_before_it_answers_is_told() -> None:
    with running(answering_shard) as fleet, pytest.raises(ShardUnheard, match="its process ended"):
        fleet.ask(0, "end")


def test_a_shard_that_never_answers_or_never_comes_is_given_up() -> None:
    with running(silent_shard) as fleet, pytest.raises(ShardUnheard, match="shard 0: no answer within"):
        fleet.ask(0, "anything", timeout=0.1)
    never_started = Fleet(UNREACHABLE, silent_shard)  # type: ignore[arg-type]
    with pytest.raises(ShardUnheard, match="shard 0: no answer within"):
        never_started.ask(0, "anything", timeout=0.1)
    never_started.close()
    with pytest.raises(ShardUnheard, match="the fleet was stopped"):
        never_started.ask(0, "anything")


def test_the_newest_process_of_a_shard_is_asked() -> None:
    with running(answering_shard) as fleet:
        first = fleet.ask(0, "who")
        os.kill(first, signal.SIGKILL)
        step_until(fleet, lambda: fleet.status()[0].shard_pid not in (None, first))
        assert fleet.ask(0, "who") == fleet.status()[0].shard_pid != first
