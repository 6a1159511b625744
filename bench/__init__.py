"""Benchmarks of kevy-ring beside its rivals: every answer is checked first, then timed, rivals interleaved."""

from __future__ import annotations

from collections.abc import Sequence


def run(arguments: Sequence[str]) -> int:
    """Run the benchmark command and return its exit code: 0 done, 1 something is wrong, 2 bad usage."""
    from bench.command import main

    return main(arguments)
