"""The harness of the benchmarks: which contenders it compares, and what counts as a wrong answer."""

from __future__ import annotations

from pathlib import Path

import pytest
from bench import contenders
from bench.chart import chart_of
from bench.machine import Machine
from bench.measure import Contender, Goal, Measured, Metric, RoundFailed, WrongAnswer
from bench.page import newest, tables
from bench.result import CaseResult, RunResult, load, play, save
from bench.table import CASES
from bench.transport import DigestSink

from places import ROOT

RATE = Metric("rate", "records/s", "higher")
DELAY = Metric("p50", "us", "lower")


def contender(name: str, work: float = 1.0, delay: float = 1.0, **options: object) -> Contender:
    return Contender(name, "88 B", lambda: Measured(1.0, work, {"p50": delay}), **options)  # type: ignore[arg-type]


def case_of(goal: Goal, *contenders: Contender) -> CaseResult:
    return CaseResult.judged("core", (RATE, DELAY), (goal,), play(contenders, 3, lambda what, who: None))


def test_a_ratio_says_how_many_times_better_ours_is_whichever_way_better_goes():
    both = contender("ours", work=6.0, delay=2.0, is_ours=True), contender("rival", work=3.0, delay=4.0)
    faster = case_of(Goal("88 B", "ours", ratio=2.0), *both).verdicts[0]
    sooner = case_of(Goal("88 B", "ours", ratio=2.0, metric="p50"), *both).verdicts[0]
    assert (faster.ratio, faster.is_met) == (2.0, True)
    assert (sooner.ratio, sooner.is_met) == (2.0, True)


def test_the_best_rival_is_neither_ours_nor_a_bound_unless_a_goal_names_it():
    all_four = (
        contender("ours", work=5.0, is_ours=True),
        contender("slow", work=2.0),
        contender("good", work=4.0),
        contender("memory", work=9.0, is_bound=True),
    )
    assert case_of(Goal("88 B", "ours", ratio=1.0), *all_four).verdicts[0].rival == "good"
    named = case_of(Goal("88 B", "ours", ratio=0.7, rivals=("memory",)), *all_four).verdicts[0]
    assert named.rival == "memory"
    assert not named.is_met


def test_a_limit_is_judged_without_any_rival():
    ours = contender("ours", delay=0.7, is_ours=True)
    assert not case_of(Goal("88 B", "ours", metric="p50", limit=0.6), ours).verdicts[0].is_met
    assert case_of(Goal("88 B", "ours", metric="p50", limit=0.8), ours).verdicts[0].is_met


@pytest.mark.parametrize("error", [WrongAnswer("torn"), RoundFailed("no end")])
def test_a_contender_that_fails_is_out_with_its_reason_and_the_others_go_on(error: Exception):
    def fail() -> None:
        raise error

    bad, good = play([contender("bad", check=fail), contender("good")], 3, lambda what, who: None)
    assert str(error) in bad.failure
    assert bad.rounds == []
    assert len(good.rounds) == 3


def test_a_rival_that_cannot_be_installed_is_in_the_results():
    case = case_of(Goal("88 B", "ours", ratio=1.0), Contender("gone", "88 B", missing="no compiler"))
    assert [(c.name, c.missing) for c in case.contenders] == [("gone", "no compiler")]
    assert case.verdicts[0].is_met is None


def test_contenders_take_turns_and_the_first_of_a_round_changes():
    turns: list[str] = []
    play([contender("a"), contender("b")], 2, lambda what, who: turns.append(who))
    assert turns == ["a", "b", "b", "a"]


def a_run(*contenders: Contender, command: str = "python -m bench") -> RunResult:
    machine = Machine("cpu", 2, 4.0, "6.1", "CPython", "abc", False, 0.1, 0.0, 0, True, "", {"numpy": "2"})
    return RunResult(machine, command, 3, cases=[case_of(Goal("88 B", "ours", ratio=3.0), *contenders)])


def test_results_survive_json(tmp_path: Path):
    run = a_run(contender("ours", 2.0, is_ours=True), contender("rival"), contender("memory", is_bound=True))
    assert run.cases[0].verdicts[0].is_met is False
    save([run], tmp_path / "run.json")
    assert load(tmp_path / "run.json") == [run]


def test_results_of_another_schema_are_refused(tmp_path: Path):
    (tmp_path / "run.json").write_text('{"schema": 1}')
    with pytest.raises(ValueError, match="schema 2"):
        load(tmp_path / "run.json")


def test_of_a_case_in_several_runs_the_last_one_counts():
    old, new = a_run(contender("ours"), command="old"), a_run(contender("ours"), command="new")
    assert [run.command for run in newest([old, new])] == ["new"]


def test_a_table_names_the_best_first_and_says_who_is_missing():
    gone = Contender("gone", "88 B", missing="no compiler")
    (text,) = tables(a_run(contender("slow"), gone, contender("ours", 2.0, is_ours=True)).cases[0])
    lines = text.splitlines()
    assert lines[2].startswith("| **ours** | 2 /s | 2 /s to 2 /s | 1 us | 2.00 x |")
    assert lines[3].startswith("| slow | 1 /s |")
    assert lines[4].startswith("| gone | not measured here: no compiler |")


def test_a_chart_has_a_bar_for_each_contender_and_a_dark_side():
    svg = chart_of(a_run(contender("ours", 2.0, is_ours=True), contender("a < b")).cases[0], "title")
    assert (svg.count('<rect class="ours"'), svg.count('<rect class="rival"')) == (1, 1)
    assert "a &lt; b" in svg
    assert "prefers-color-scheme: dark" in svg


def test_the_page_of_the_documentation_shows_the_results_beside_it():
    page = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    cases = [case for run in load(ROOT / "docs" / "benchmarks" / "results.json") for case in run.cases]
    assert {case.name for case in cases} == set(CASES)
    for case in cases:
        assert f"(benchmarks/{case.name}.svg)" in page
        assert chart_of(case, CASES[case.name].title) == (ROOT / f"docs/benchmarks/{case.name}.svg").read_text("utf-8")
        for text in tables(case):
            assert text in page


def test_every_goal_is_of_a_contender_and_a_metric_of_its_case(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(contenders, "native_program", Path)  # named in the command, and not built
    for case in CASES.values():
        assert {goal.metric for goal in case.goals} <= {metric.name for metric in case.metrics}
        named = {(goal.variant, goal.ours) for goal in case.goals}
        assert named <= {(c.variant, c.name) for c in case.contenders(True) if c.is_ours}


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
