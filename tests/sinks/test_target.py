"""The replies of a target: for any split, each is counted once, and each error belongs to its command."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from kevy_ring.errors import SinkError
from kevy_ring.replica.upstream_url import parse_upstream
from kevy_ring.shard.sinks.redis.command_pipeline import CommandPipeline
from kevy_ring.shard.sinks.redis.target import Target
from kevy_ring.shard.sinks.refusals import Refusals
from scripted_peer import PeerConnection, ScriptedPeer

LINES = b"+OK\r\n:12\r\n:-1\r\n-ERR no\r\n+QUEUED\r\n-WRONGTYPE x y\r\n"
MIXED = b"".join(
    (
        *(b"+OK\r\n", b"$3\r\n\r\n-\r\n", b"$-1\r\n", b"$0\r\n\r\n", b"*-1\r\n", b"*0\r\n"),
        *(b"*3\r\n:1\r\n*2\r\n+a\r\n-ERR in\r\n$2\r\n*9\r\n", b":7\r\n", b"-ERR out\r\n"),
    )
)


class NotedRefusals(Refusals):
    """Keeps every refusal, not only the first."""

    def __init__(self) -> None:
        super().__init__("a target")
        self.all: list[tuple[int | None, bytes, str]] = []

    def add(self, offset: int | None, command: bytes, reply: str) -> None:
        super().add(offset, command, reply)
        self.all.append((offset, command, reply))


def answered(wire: bytes, commands: int, refusals: Refusals, *, settles: int = 1) -> list[str]:
    """The result of ``settle`` for a pipeline of some commands when the server answers ``wire`` and closes."""

    def script(connection: PeerConnection) -> None:
        connection.read_until(b"C%d\r\n" % (commands - 1))
        connection.send(wire)

    with ScriptedPeer(script) as peer:
        target = Target(parse_upstream(f"redis://127.0.0.1:{peer.port}"), refusals, timeout_s=20)
        try:
            pipeline = CommandPipeline()
            for number in range(commands):
                pipeline.append(100 + number, [b"C%d" % number])
            target.send(pipeline)
            for _ in range(settles - 1):
                with pytest.raises(SinkError):
                    target.settle()
            return target.settle()
        finally:
            target.close()


@pytest.mark.parametrize("piece_bytes", range(1, 30))
def test_every_split_counts_the_same(piece_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kevy_ring.shard.sinks.redis.target._RECEIVE_BYTES", piece_bytes)
    lines, mixed = NotedRefusals(), NotedRefusals()
    assert answered(LINES, 6, lines) == ["ERR no", "WRONGTYPE x y"]
    assert lines.all == [(103, b"C3", "ERR no"), (105, b"C5", "WRONGTYPE x y")]
    assert answered(MIXED, 9, mixed) == ["ERR in", "ERR out"]
    assert mixed.all == [(106, b"C6", "ERR in"), (108, b"C8", "ERR out")]


@pytest.mark.parametrize(
    "wire", [b"", b"+OK", b"+OK\r", b"$3\r\nab", b"$3\r\nabc\r", b"*1\r\n", b"*2\r\n:1\r\n"], ids=repr
)
def test_what_is_not_whole_is_not_counted(wire: bytes) -> None:
    with pytest.raises(SinkError, match="the server closed the connection") as raised:
        answered(wire, 1, NotedRefusals(), settles=2)
    assert raised.value.reason == "io"


@pytest.mark.parametrize(
    "wire", [b"OK\r\n", b"+OK\r\nxx\r\n", b"\r\n", b"$x\r\n", b"*-2\r\n", b"$1\r\na\r\n!\r\n"], ids=repr
)
def test_what_is_no_reply_is_an_error_for_good(wire: bytes) -> None:
    refusals = NotedRefusals()
    with pytest.raises(SinkError) as raised:
        answered(wire, 2, refusals, settles=2)
    assert raised.value.reason == "io"
    assert refusals.count == 0


def test_an_error_that_is_no_text_is_counted() -> None:
    refusals = NotedRefusals()
    assert answered(b"-ERR \xff\r\n", 1, refusals) == ["ERR \N{REPLACEMENT CHARACTER}"]


@pytest.mark.parametrize("reply", [b"-OOM full\r\n", b"*2\r\n+OK\r\n-READONLY no\r\n"])
def test_an_error_that_says_that_nothing_was_taken_breaks_the_connection(reply: bytes) -> None:
    refusals = NotedRefusals()
    with pytest.raises(SinkError) as raised:
        answered(b"+OK\r\n" + reply, 2, refusals, settles=2)
    assert raised.value.reason == "refused"
    assert refusals.count == 0


def pieces() -> Iterator[int]:
    """Sizes of values around the sizes at which the parser needs another piece."""
    for size in (0, 1, 65_000, 65_536, 200_000):
        yield from (size, size + 1)


def test_a_pipeline_tells_its_commands_again() -> None:
    pipeline, other = CommandPipeline(), CommandPipeline()
    told = [(number, [b"SET", b"k%d" % number, b"\r\n" * size]) for number, size in enumerate(pieces())]
    for offset, argv in told[:4]:
        pipeline.append(offset, argv)
    for offset, argv in told[4:]:
        other.append(offset, argv)
    other.append(None, [b"EXEC"])
    pipeline.extend(other)
    assert list(pipeline) == [*told, (None, [b"EXEC"])]
    assert (len(pipeline), pipeline.argument_count) == (len(told) + 1, 2 * len(told))
    assert [pipeline.command(number) for number in (0, len(told))] == [told[0], (None, [b"EXEC"])]
