"""Sinks for tests of the command. Shard processes import them by name."""

from __future__ import annotations

from collections.abc import Sequence


def raising(offset: int, argv: Sequence[memoryview]) -> None:
    raise RuntimeError("out of paper at redis://someone:open-sesame@printer")


def counting(offset: int, argv: Sequence[memoryview]) -> None:
    pass


def unloadable(offset: int, argv: Sequence[memoryview]) -> None:
    pass


def _load(snapshot: object) -> None:
    raise RuntimeError("no snapshot for me")


unloadable.load = _load  # type: ignore[attr-defined]
