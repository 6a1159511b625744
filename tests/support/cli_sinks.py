"""Sinks for tests of the command. Shard processes import them by name."""

from __future__ import annotations

import logging
import os
import time
import warnings
from collections.abc import Sequence


def raising(offset: int, argv: Sequence[memoryview]) -> None:
    raise RuntimeError("out of paper at redis://someone:open-sesame@printer")


def counting(offset: int, argv: Sequence[memoryview]) -> None:
    pass


def talking(offset: int, argv: Sequence[memoryview]) -> None:
    """Logs and warns as the code of a user does."""
    logging.getLogger("printer").warning("low on ink at %s", "redis://someone:open-sesame@printer")
    warnings.warn("the paper is thin", stacklevel=1)


def unloadable(offset: int, argv: Sequence[memoryview]) -> None:
    pass


def _load(snapshot: object) -> None:
    raise RuntimeError("no snapshot for me")


unloadable.load = _load  # type: ignore[attr-defined]


def gated(offset: int, argv: Sequence[memoryview]) -> None:
    """Waits until the file in KEVY_RING_TEST_GATE exists, so that a test decides when the run may end."""
    deadline = time.monotonic() + 120
    while not os.path.exists(os.environ["KEVY_RING_TEST_GATE"]) and time.monotonic() < deadline:
        time.sleep(0.05)


def poisoned(offset: int, argv: Sequence[memoryview]) -> None:
    """Notes each event in a file, and fails at one whose value is poison."""
    if bytes(argv[-1]) == b"poison":
        raise RuntimeError("cannot digest it")
    if bytes(argv[-1]) == b"away":
        raise ConnectionRefusedError("the database is away")
    with open(os.environ["KEVY_RING_TEST_NOTES"], "ab") as file:
        file.write(b" ".join(bytes(item) for item in argv) + b"\n")
