"""A line between a shard process and the one who started it: questions about the sink one way, words the other way.

The listener is an abstract Unix socket, so that nothing is left behind however either side ends. Both ends look at the
user who is behind the other one, and take nobody else.
"""

from __future__ import annotations

import os
import secrets
import select
import socket
import struct
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from typing import Any

#: Asked by the shard between two batches, so an answer takes a batch and its own making.
ANSWER_TIMEOUT_S = 60.0
_CONNECT_TIMEOUT_S = 5.0
_TICK_S = 0.05
_CREDENTIALS = struct.Struct("iII")
_HELLO, _ANSWER, _UNANSWERED = "hello", "answer", "unanswered"
#: Words are short so that they never wait for space in the socket.
WORDS_MAX = 8000


class ShardUnheard(Exception):
    """A shard did not answer. ``shard``; ``reason`` for people."""

    def __init__(self, shard: int, reason: str) -> None:
        super().__init__(f"shard {shard}: {reason}")
        self.shard = shard
        self.reason = reason


class ShardLine:
    """The shard's end. It never waits for the other end: words that find no room are dropped."""

    def __init__(self, address: str, shard: int) -> None:
        end = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            end.settimeout(_CONNECT_TIMEOUT_S)
            end.connect(address)
            if not _is_ours(end):
                raise PermissionError("another user's process has the address of this line")
            end.settimeout(None)
        except BaseException:
            end.close()
            raise
        self._connection = Connection(end.detach())
        self._connection.send((_HELLO, shard, os.getpid()))

    def tell(self, topic: str, text: str) -> None:
        """Say something that nobody has to hear."""
        with suppress(OSError, ValueError):
            if select.select([], [self._connection], [], 0)[1]:
                self._connection.send((topic, text[:WORDS_MAX]))

    def answer(self, answers: Mapping[str, Callable[..., Any]]) -> None:
        """Answer the questions that wait, by the function of their name."""
        try:
            while not self._connection.closed and self._connection.poll():
                number, question, arguments = self._connection.recv()
                try:
                    self._connection.send((_ANSWER, number, answers[question](*arguments)))
                except OSError:
                    raise
                except Exception as error:
                    self._connection.send((_UNANSWERED, number, f"{type(error).__name__}: {error}"))
        except (EOFError, OSError):
            self._connection.close()

    def close(self) -> None:
        self._connection.close()


class ShardLines:
    """The starter's end of every shard's line; ``address`` is what the shards connect to."""

    def __init__(self) -> None:
        self.address = f"\0kevy-ring-{secrets.token_hex(10)}"
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(self.address)
        self._listener.listen(128)
        self._listener.setblocking(False)
        self._lines: dict[int, Connection] = {}
        self._nameless: list[Connection] = []
        self._words: list[tuple[int, str, str]] = []
        self._answers: dict[int, tuple[bool, Any]] = {}
        self._asked = 0

    def words(self) -> list[tuple[int, str, str]]:
        """What the shards have said since the last call: (shard, topic, text)."""
        self._take_in()
        words, self._words = self._words, []
        return words

    def ask(
        self,
        shard: int,
        question: str,
        *arguments: Any,
        timeout: float = ANSWER_TIMEOUT_S,
        pulse: Callable[[], None] = lambda: None,
    ) -> Any:
        """The answer of a shard. ``pulse`` is called while it is waited for, and may raise to end the waiting.

        Raises :class:`ShardUnheard` when there is no answer: no such process in time, it died, or it cannot tell.
        """
        deadline = time.monotonic() + timeout
        while (line := self._lines.get(shard)) is None:
            self._wait(None, shard, deadline)
            pulse()
        self._asked += 1
        number = self._asked
        try:
            line.send((number, question, arguments))
        except OSError:
            self._forget(shard)
        while number not in self._answers:
            if self._lines.get(shard) is not line:
                raise ShardUnheard(shard, "its process ended before it answered")
            self._wait(line, shard, deadline)
            # Whoever listens meanwhile (the pulse may) puts the answer where it is found.
            pulse()
            self._take_in()
        was_answered, answer = self._answers.pop(number)
        if not was_answered:
            raise ShardUnheard(shard, answer)
        return answer

    def close(self) -> None:
        """Let go of all lines."""
        self._listener.close()
        for line in [*self._lines.values(), *self._nameless]:
            line.close()
        self._lines.clear()
        self._nameless.clear()

    def __enter__(self) -> ShardLines:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _wait(self, line: Connection | None, shard: int, deadline: float) -> None:
        left = deadline - time.monotonic()
        if left <= 0:
            raise ShardUnheard(shard, "no answer in time")
        wait([self._listener, *self._nameless, *([line] if line is not None else [])], min(left, _TICK_S))
        self._accept()

    def _take_in(self) -> None:
        self._accept()
        for shard, line in list(self._lines.items()):
            try:
                while line.poll():
                    self._hear(shard, line.recv())
            except (EOFError, OSError):
                self._forget(shard)

    def _accept(self) -> None:
        with suppress(BlockingIOError):
            while True:
                end, _ = self._listener.accept()
                if not _is_ours(end):
                    end.close()
                    continue
                end.setblocking(True)
                self._nameless.append(Connection(end.detach()))
        for line in list(self._nameless):
            try:
                if line.poll():
                    _, shard, _ = line.recv()
                    self._nameless.remove(line)
                    self._forget(shard)
                    self._lines[shard] = line
            except (EOFError, OSError):
                self._nameless.remove(line)
                line.close()

    def _hear(self, shard: int, heard: tuple[Any, ...]) -> None:
        topic, *rest = heard
        if topic in (_ANSWER, _UNANSWERED):
            number, answer = rest
            # One that nobody waits for any more would stay for ever.
            if number == self._asked:
                self._answers[number] = (topic == _ANSWER, answer)
        else:
            self._words.append((shard, topic, rest[0]))

    def _forget(self, shard: int) -> None:
        """Drop a line; what its process said before its end still counts."""
        line = self._lines.pop(shard, None)
        if line is None:
            return
        with suppress(EOFError, OSError):
            while line.poll():
                self._hear(shard, line.recv())
        line.close()


def _is_ours(end: socket.socket) -> bool:
    found = end.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return bool(_CREDENTIALS.unpack(found)[1] == os.getuid())
