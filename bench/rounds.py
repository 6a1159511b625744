"""Rounds: the contenders of a variant take turns, so that noise of the machine meets all of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from bench.contender import Contender
from bench.machine import ForeignLoad
from bench.measured import Measured, RoundFailed, WrongAnswer
from bench.result import ContenderResult

MIN_ROUNDS = 9  # fewer give no p10 and p90 worth printing
QUICK_ROUNDS = 3

Watch = Callable[[str, str], None]  # what happens, who


def play(contenders: Sequence[Contender], rounds: int, watch: Watch) -> list[ContenderResult]:
    """Check every contender of one variant, then time ``rounds`` interleaved rounds of those that passed.

    The order turns by one from round to round, so that no contender always follows the same one. A contender that
    fails once is out, with the reason in its result.
    """
    results = [ContenderResult.of(contender) for contender in contenders]
    for contender, result in zip(contenders, results, strict=True):
        if contender.missing or contender.check is None:
            continue
        watch("check", contender.name)
        try:
            contender.check()
        except WrongAnswer as error:
            result.failure = f"wrong answer: {error}"
        except (RoundFailed, OSError, ImportError) as error:
            result.failure = str(error) or type(error).__name__
        else:
            result.is_checked = True
    for turn in range(rounds):
        shift = turn % len(contenders)
        for i in [*range(shift, len(contenders)), *range(shift)]:
            if contenders[i].missing or results[i].failure:
                continue
            watch(f"round {turn + 1}/{rounds}", contenders[i].name)
            _time(contenders[i], results[i])
    return results


def _time(contender: Contender, result: ContenderResult) -> None:
    foreign = ForeignLoad()
    began = time.monotonic()
    try:
        measured: Measured = contender.run()
    except WrongAnswer as error:
        result.failure = f"wrong answer: {error}"
        return
    except (RoundFailed, OSError, ImportError) as error:
        result.failure = str(error) or type(error).__name__
        return
    result.rounds.append(measured)
    result.foreign_cpu.append(foreign.cores())
    result.wall_s += time.monotonic() - began
