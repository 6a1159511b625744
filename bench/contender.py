"""A contender: one way to do the work of a case."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bench.measured import Measured


@dataclass(frozen=True)
class Contender:
    """One way to do the work of a case, compared with the others of the same ``variant``.

    ``run`` does one timed round in fresh processes and raises :class:`~bench.measured.WrongAnswer` when the count is
    wrong. ``check`` does the same work once with every record looked at (count, order, every byte by digest), before
    anything is timed. ``missing`` tells why it cannot take part: it is reported, never dropped.
    """

    name: str
    variant: str
    run: Callable[[], Measured]
    check: Callable[[], None] | None = None
    is_ours: bool = False
    version: str = ""
    missing: str = ""
    note: str = ""
    is_bound: bool = False  # what the machine allows, not a rival: nothing is judged by it unless a goal names it

    @classmethod
    def absent(cls, name: str, variant: str, why: str) -> Contender:
        """A contender that cannot take part here, and why."""

        def refuse() -> Measured:
            raise RuntimeError(f"{name} cannot take part: {why}")

        return cls(name, variant, refuse, missing=why)
