"""What one timed round gives: how long, how much work, and figures of its own."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal


class WrongAnswer(AssertionError):
    """A contender lost, doubled, tore or reordered something: its time would mean nothing."""


class RoundFailed(RuntimeError):
    """A round did not end in time, or one of its processes failed."""


@dataclass(frozen=True)
class Measured:
    """One round. ``work`` is in the unit of its case (records, bytes, round trips)."""

    seconds: float
    work: float
    figures: dict[str, float] = field(default_factory=dict)

    def value(self, metric: str) -> float:
        """The value of a metric: ``rate`` is work per second, any other name is one of the figures."""
        return self.work / self.seconds if metric == "rate" else self.figures[metric]


@dataclass(frozen=True)
class Metric:
    """A column of a case's table. ``unit`` as it is printed: ``records/s`` and ``bytes/s`` get a prefix."""

    name: str
    unit: str
    better: Literal["higher", "lower"]
