"""What a case wants to reach, as a ratio to the best rival of the same run or as a value of its own."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Goal:
    """``ours`` is at least ``ratio`` times as good as the best of ``rivals`` (empty: all) in ``metric``.

    The ratio always says how many times better: ours over theirs where higher is better, theirs over ours where
    lower is. ``limit``: a value that the metric must reach by itself, in its own unit.
    """

    variant: str
    ours: str
    ratio: float | None = None
    rivals: tuple[str, ...] = ()
    metric: str = "rate"
    limit: float | None = None
    text: str = ""
