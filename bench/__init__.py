"""Benchmarks of kevy-ring and its rivals. Every answer is checked before anything is timed; rivals take turns."""

from __future__ import annotations

from collections.abc import Sequence


def run(arguments: Sequence[str]) -> int:
    """Run the benchmark command and return its exit code: 0 done, 1 something is wrong, 2 bad usage."""
    from bench.command import main

    return main(arguments)
