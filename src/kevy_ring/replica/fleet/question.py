"""A question to a shard's process, and its answer. Only one is open at a time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from kevy_ring.replica.fleet.child_process import ChildProcess
from kevy_ring.replica.fleet.event import ShardUnheard


class Questions:
    """The questions to the process of shard ``index``."""

    def __init__(self, index: int) -> None:
        self._index = index
        self._asked = 0
        # The number of the question, whether it could be answered, the answer.
        self._answer: tuple[Any, ...] | None = None

    def heard(self, *answer: Any) -> None:
        """The process answered."""
        self._answer = answer

    def ask(
        self,
        child_now: Callable[[], ChildProcess | None],
        question: str,
        arguments: tuple[Any, ...],
        *,
        timeout: float,
        wait: Callable[[], None],
    ) -> Any:
        """The answer of the process; ``wait`` polls, and may raise to end the waiting. Raises ShardUnheard."""
        deadline = time.monotonic() + timeout
        self._asked += 1
        asked = None
        while self._answer is None or self._answer[0] != self._asked:
            child = child_now()
            if asked is None and child is not None:
                asked = child
                child.ask(self._asked, question, arguments)
            elif asked is not child:
                raise ShardUnheard(self._index, "its process ended before it answered")
            if time.monotonic() >= deadline:
                raise ShardUnheard(self._index, f"no answer within {timeout:g} s")
            wait()
        (_, was_answered, answer), self._answer = self._answer, None
        if not was_answered:
            raise ShardUnheard(self._index, answer)
        return answer
