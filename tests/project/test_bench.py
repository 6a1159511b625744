"""The harness of the benchmarks: who is compared with whom, and what counts as a wrong answer."""

from __future__ import annotations

from pathlib import Path

import pytest
from bench.contender import Contender
from bench.goal import Goal
from bench.machine import Machine
from bench.measured import Measured, Metric, RoundFailed, WrongAnswer
from bench.result import CaseResult, RunResult
from bench.rounds import play
from bench.sink import DigestSink

RATE = Metric("rate", "records/s", "higher")
DELAY = Metric("p50", "us", "lower")


def contender(name: str, work: float = 1.0, delay: float = 1.0, **options: object) -> Contender:
    return Contender(name, "88 B", lambda: Measured(1.0, work, {"p50": delay}), **options)  # type: ignore[arg-type]


def case_of(goal: Goal, *contenders: Contender) -> CaseResult:
    return CaseResult("c", "what", (RATE, DELAY), (goal,), play(contenders, 3, lambda what, who: None))


def test_a_ratio_says_how_many_times_better_ours_is_whichever_way_better_goes():
    both = contender("ours", work=6.0, delay=2.0, is_ours=True), contender("rival", work=3.0, delay=4.0)
    faster = case_of(Goal("88 B", "ours", ratio=2.0), *both).verdicts()[0]
    sooner = case_of(Goal("88 B", "ours", ratio=2.0, metric="p50"), *both).verdicts()[0]
    assert (faster.ratio, faster.is_met) == (2.0, True)
    assert (sooner.ratio, sooner.is_met) == (2.0, True)


def test_the_best_rival_is_neither_ours_nor_a_bound_unless_a_goal_names_it():
    all_four = (
        contender("ours", work=5.0, is_ours=True),
        contender("slow", work=2.0),
        contender("good", work=4.0),
        contender("memory", work=9.0, is_bound=True),
    )
    assert case_of(Goal("88 B", "ours", ratio=1.0), *all_four).verdicts()[0].best_rival == "good"
    named = case_of(Goal("88 B", "ours", ratio=0.7, rivals=("memory",)), *all_four).verdicts()[0]
    assert named.best_rival == "memory"
    assert not named.is_met


def test_a_limit_is_judged_without_any_rival():
    ours = contender("ours", delay=0.7, is_ours=True)
    assert not case_of(Goal("88 B", "ours", metric="p50", limit=0.6), ours).verdicts()[0].is_met
    assert case_of(Goal("88 B", "ours", metric="p50", limit=0.8), ours).verdicts()[0].is_met


@pytest.mark.parametrize("error", [WrongAnswer("torn"), RoundFailed("no end")])
def test_a_contender_that_fails_is_out_with_its_reason_and_the_others_go_on(error: Exception):
    def fail() -> None:
        raise error

    bad, good = play([contender("bad", check=fail), contender("good")], 3, lambda what, who: None)
    assert str(error) in bad.failure
    assert bad.rounds == []
    assert len(good.rounds) == 3


def test_a_rival_that_cannot_be_installed_is_in_the_results():
    case = case_of(Goal("88 B", "ours", ratio=1.0), Contender.absent("gone", "88 B", "no compiler"))
    assert [(c.name, c.missing) for c in case.contenders] == [("gone", "no compiler")]
    assert case.verdicts()[0].is_met is None


def test_contenders_take_turns_and_the_first_of_a_round_changes():
    turns: list[str] = []
    play([contender("a"), contender("b")], 2, lambda what, who: turns.append(who))
    assert turns == ["a", "b", "b", "a"]


def test_results_survive_json(tmp_path: Path):
    machine = Machine("cpu", 2, 4.0, "6.1", "CPython", "abc", False, 0.1, 0.0, 0, True, "", {"numpy": "2"})
    ours, rival = contender("ours", 2.0, is_ours=True), contender("rival")
    run = RunResult(
        machine, "python -m bench", False, "", 3, cases=[case_of(Goal("88 B", "ours", ratio=1.0), ours, rival)]
    )
    run.save(tmp_path / "run.json")
    assert RunResult.load(tmp_path / "run.json") == run


@pytest.mark.parametrize("arrived", [[b"b", b"a"], [b"a"], [b"a", b"b", b"b"], [b"ab", b""], [b"a", b"c"]])
def test_the_digest_finds_what_is_reordered_lost_doubled_torn_or_changed(arrived: list[bytes]):
    sink = DigestSink()
    sink.extend(arrived)
    with pytest.raises(WrongAnswer):
        sink.verify([b"a", b"b"], 1)


def test_the_digest_of_columns_is_that_of_the_records():
    sink = DigestSink()
    sink.columns(b"..ab.c", [2, 5], [2, 1])
    sink.verify([b"ab", b"c"], 1)
