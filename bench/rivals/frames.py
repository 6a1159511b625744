"""Frames of the events case: ``SET key value``, the key of 16 bytes and the value a record of the pool."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from bench.measured import WrongAnswer
from bench.sink import Sink

_KEYS = 1024  # a power of two
KEY_MASK = _KEYS - 1
KEYS = [b"key:%012d" % i for i in range(_KEYS)]
SET = b"SET"


def frame_checker(sink: Sink) -> Callable[[int, Sequence[Any]], None] | None:
    """What looks at each frame in a checked round: its offset, its key, its value. None in a timed round."""
    if type(sink) is Sink:
        return None
    wanted = 0

    def check(offset: int, argv: Sequence[Any]) -> None:
        nonlocal wanted
        if offset != wanted:
            raise WrongAnswer(f"frame {offset} came where {wanted} should")
        command, key, value = argv
        if bytes(command) != SET or bytes(key) != KEYS[wanted & KEY_MASK]:
            raise WrongAnswer(f"frame {offset} is {bytes(command)!r} {bytes(key)!r}")
        sink.take(value)
        wanted += 1

    return check
