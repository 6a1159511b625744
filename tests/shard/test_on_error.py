"""One policy for what a sink cannot take: stop, skip, or keep it in a file that is on the disk before the position."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from draining import drain
from full_disk import files_of_at_most
from kevy_ring import Frame, ReplicaInboxReceiver, ReplicaInboxSender
from kevy_ring.errors import DeadLetterError, EventRefused, SinkError
from kevy_ring.shard import Shard, sink_from_url
from kevy_ring.shard.refused import letter_file
from kevy_ring.shard.refused.letter import DeadLetter, Origin, letter_of
from kevy_ring.shard.refused.letter_file import LetterFile
from kevy_ring.shard.refused.marks import letters_in
from kevy_ring.shard.refused.policy import ErrorPolicy
from kevy_ring.shard.sinks.options import SinkOptions
from kevy_ring.shard.sinks.python import PythonSink
from kevy_ring.shard.sinks.refusals import Refusals
from redis_server import RedisServer, find_redis

Pair = tuple[ReplicaInboxSender, ReplicaInboxReceiver]
#: Makes a sink of a kind with a policy.
Opener = Callable[[str], Any]


@pytest.fixture
def letters(tmp_path: Path) -> Path:
    return tmp_path / "letters.jsonl"


@pytest.fixture(params=["memory", "sqlite", "redis"])
def open_sink(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Opener]:
    server = RedisServer(find_redis("7.0"), tmp_path / "redis") if request.param == "redis" else None
    url = {"sqlite": f"sqlite:{tmp_path / 'a.db'}"}.get(request.param, request.param)
    made = []

    def open_with(policy: str) -> Any:
        options = SinkOptions(upstreams=("redis://up:1",), on_error=ErrorPolicy.parse(policy))
        made.append(sink_from_url(server.url if server else url, options=options))
        return made[-1]

    yield open_with
    for sink in made:
        with contextlib.suppress(EventRefused):  # a redis sink is at its refused command
            sink.close()
    if server:
        server.stop()


def frames(*commands: bytes, first: int = 0) -> list[Frame]:
    return [Frame(offset, command.split()) for offset, command in enumerate(commands, first)]


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


@pytest.mark.parametrize("text", ["", "stop:", "skip:x", "dead-letter", "dead-letter:", "STOP", "ignore"])
def test_a_policy_is_one_of_three(text: str) -> None:
    with pytest.raises(ValueError, match="is none of: stop, skip, dead-letter:FILE"):
        ErrorPolicy.parse(text)


@pytest.mark.parametrize("text", ["stop", "skip", "dead-letter:a:b.jsonl"])
def test_a_policy_is_its_text(text: str) -> None:
    assert str(ErrorPolicy.parse(text)) == text


def test_stop_names_the_command_and_the_position_stays_before_it(open_sink: Opener, pair: Pair) -> None:
    sender, receiver = pair
    sink = open_sink("stop")
    shard = Shard(receiver, sink)
    sender.send_many(frames(b"SET a 1"))
    drain(shard)
    shard._settle(now=True)
    sender.send_many(frames(b"RPUSH a x", b"SET b 1", first=1))
    with pytest.raises(EventRefused, match=r"refused at offset 1: b'RPUSH' of key 'a' in database 0: .*WRONGTYPE"):
        for _ in range(3):
            drain(shard)
            shard._settle(now=True)
    assert (sender.applied_offset or 0) == 0
    assert sink.refusals.count == 1


def test_a_dead_letter_has_the_whole_event(open_sink: Opener, letters: Path, pair: Pair) -> None:
    sender, receiver = pair
    sink = open_sink(f"dead-letter:{letters}")
    shard = Shard(receiver, sink)
    sender.send_many([*frames(b"SET a 1", b"SELECT 3", b"SET a 1"), Frame(3, [b"RPUSH", b"a", b"\xff\x00"])])
    sender.send_many(frames(b"SELECT 0", b"SET b 1", first=4))
    drain(shard)
    shard.close()
    assert sender.applied_offset == 5
    [letter] = lines(letters)
    assert letter["argv"] == ["RPUSH", "a", {"base64": base64.b64encode(b"\xff\x00").decode()}]
    assert (letter["kind"], letter["offset"], letter["db"], letter["shard"]) == ("refused", 3, 3, 0)
    assert "WRONGTYPE" in letter["error"]
    assert letter["upstream"] == "redis://up:1"
    assert letter["at_ms"] > 1_700_000_000_000
    assert letters.stat().st_mode & 0o777 == 0o600


def test_of_a_transaction_each_command_without_effect_is_a_letter(open_sink: Opener, letters: Path, pair: Pair) -> None:
    sender, receiver = pair
    sink = open_sink(f"dead-letter:{letters}")
    shard = Shard(receiver, sink, max_events=2)  # transactions reach over batches
    sender.send_many(
        frames(
            *(b"SET a 1", b"MULTI", b"SET b 1", b"RPUSH a x", b"SELECT 2", b"SET c 1", b"RPUSH c y", b"EXEC"),
            *(b"SELECT 0", b"MULTI", b"SET d 1", b"NOSUCH e", b"SET f 1", b"EXEC", b"SET g 1"),
        )
    )
    drain(shard)
    shard.close()
    assert sender.applied_offset == 14
    found = [(each["offset"], each["db"], each.get("number"), " ".join(each["argv"])) for each in lines(letters)]
    assert found == [
        (7, 0, 1, "RPUSH a x"),
        (7, 2, 4, "RPUSH c y"),
        (11, 0, None, "NOSUCH e"),
        # Nothing of the second transaction was applied.
        (13, 0, 0, "SET d 1"),
        (13, 0, 1, "SET f 1"),
    ]
    assert sink.refusals.count == 5


def test_skip_counts_and_names_what_it_skips(open_sink: Opener, pair: Pair, caplog: pytest.LogCaptureFixture) -> None:
    sender, receiver = pair
    sink = open_sink("skip")
    shard = Shard(receiver, sink)
    sender.send_many(frames(b"SET a 1", *([b"RPUSH a x"] * 30), b"SET b 1"))
    drain(shard)
    shard.close()
    assert sender.applied_offset == 31
    assert sink.refusals.count == 30
    assert len([line for line in caplog.messages if "refused b'RPUSH'" in line]) == 20


def test_a_full_disk_stops_before_the_position_moves(letters: Path, tmp_path: Path, pair: Pair) -> None:
    sender, receiver = pair
    options = SinkOptions(on_error=ErrorPolicy.parse(f"dead-letter:{letters}"))
    sink: Any = sink_from_url("memory", options=options)
    shard = Shard(receiver, sink)
    sender.send_many(frames(b"SET a 1", b"RPUSH a x"))
    drain(shard)
    size = letters.stat().st_size
    sender.send_many(frames(b"RPUSH a y", first=2))
    with files_of_at_most(size + 50), pytest.raises(SinkError, match="so the stream stops before them") as raised:
        drain(shard)
    assert raised.value.reason == "space"
    assert letters.stat().st_size == size
    assert sender.applied_offset == 1
    sink.close()
    assert [each["offset"] for each in lines(letters)] == [1, 2]


def test_a_full_disk_leaves_a_resumable_sink_before_the_event(letters: Path, tmp_path: Path, pair: Pair) -> None:
    sender, receiver = pair
    options = SinkOptions(on_error=ErrorPolicy.parse(f"dead-letter:{letters}"))
    sink: Any = sink_from_url(f"sqlite:{tmp_path / 'a.db'}", options=options)
    shard = Shard(receiver, sink)
    sender.send_many(frames(b"SET a 1", b"RPUSH a x"))
    drain(shard)
    letters.unlink()
    sender.send_many(frames(b"SET b 1", b"RPUSH a y", first=2))
    with pytest.raises(DeadLetterError, match="was deleted, moved or replaced"):
        drain(shard)
    assert sink.stored_offset == 1
    sink.close()


def test_every_failure_to_append_ends_the_run(letters: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(letter_file, "APPEND_WAIT_S", 0.05)
    file = LetterFile(letters)
    with letters.open("r+b") as other:
        fcntl.lockf(other, fcntl.LOCK_EX)
        with pytest.raises(DeadLetterError, match="Is it stopped") as raised:
            file.append(b"x\n")
    assert raised.value.reason == "timeout"
    assert letters.read_bytes() == b""
    file.close()
    with pytest.raises(DeadLetterError, match="the file is closed"):
        file.append(b"x\n")


def test_letters_of_several_shards_never_mix(letters: Path) -> None:
    children = []
    for shard in range(3):
        if not (pid := os.fork()):
            file = LetterFile(letters)
            for at in range(50):
                argv = (b"SET", b"k", b"x" * 5000)
                letter = DeadLetter("refused", at, 0, argv, "no", 0, Origin("sink", "up", shard))
                file.append(letter.line())
            os._exit(0)
        children.append(pid)
    assert [os.waitpid(pid, 0)[1] for pid in children] == [0, 0, 0]
    with letters_in(letters) as (found, torn):
        assert torn == 0
        for shard in range(3):
            assert [each.offset for each in found if each.origin.shard == shard] == list(range(50))


def test_a_letter_is_read_back_as_it_was() -> None:
    letter = DeadLetter("refused", 7, 3, (b"SET", b"\xff", b"v"), "no \udc80", 5, Origin("s", "u", 2), "h", 4)
    again = letter_of(letter.line())
    assert (again, again.id) == (letter_of(letter.line()), letter.identity)
    assert (again.argv, again.origin, again.number) == (letter.argv, letter.origin, 4)
    other = DeadLetter("refused", 7, 3, (b"SET", b"\xff", b"w"), "no", 5, Origin("s", "u", 2), "h", 4)
    assert other.identity != letter.identity


@pytest.mark.parametrize(
    "line",
    [b"[]", b"7", b"{}", b'{"kind":"refused","id":3}', b'{"kind":"refused","id":"a","argv":[7]}',
     b'{"kind":"refused","id":"a","offset":-1}', b'{"kind":"refused","id":"a","error":7}', b'{"kind":[],"id":"a"}'],
)  # fmt: skip
def test_a_forged_line_is_refused(line: bytes) -> None:
    with pytest.raises(ValueError, match=r"it is no|is no|is neither"):
        letter_of(line)


def test_a_line_that_a_killed_shard_left_torn_is_ended_and_passed_over(letters: Path) -> None:
    whole = DeadLetter("refused", 7, 0, (b"SET", b"a", b"v"), "no", 5, Origin("s")).line()
    letters.write_bytes(whole[:40])
    file = LetterFile(letters)
    file.append(whole)
    file.append(whole)  # as after a crash between the letter and the position
    file.close()
    with letters_in(letters) as (found, torn):
        assert ([each.offset for each in found], torn) == ([7], 1)


def test_a_file_of_another_kind_is_not_replayed(letters: Path) -> None:
    letters.write_bytes(b"hello\n")
    with pytest.raises(SinkError, match="line 1 is no dead letter"), letters_in(letters):
        pass


# ------------------------------------------------------------------------------------------- poison of a python sink


class Poisoned:
    """Fails at events whose last argument is poison."""

    def __init__(self) -> None:
        self.seen: list[int] = []

    def __call__(self, offset: int, argv: Any) -> None:
        if bytes(argv[-1]) == b"poison":
            raise LookupError(f"no place for {offset}")
        if bytes(argv[-1]) == b"away":
            raise ConnectionError("the database is away")
        self.seen.append(offset)


class PoisonedBatches(Poisoned):
    batches = 0

    def apply_batch(self, batch: Any) -> None:
        self.batches += 1
        if any(bytes(batch.argv(at)[-1]) == b"poison" for at in range(len(batch))):
            raise LookupError("somewhere in the batch")
        self.seen += batch.offsets.tolist()


def poisoned_sink(target: Poisoned, policy: str | None) -> PythonSink:
    parsed = None if policy is None else ErrorPolicy.parse(policy)
    return PythonSink(target, refusals=Refusals("python:poisoned", parsed))


@pytest.mark.parametrize("kind", [Poisoned, PoisonedBatches])
def test_an_event_at_which_the_callable_raises_is_a_letter_with_its_database(
    kind: type[Poisoned], letters: Path, pair: Pair
) -> None:
    sender, receiver = pair
    target = kind()
    sink = poisoned_sink(target, f"dead-letter:{letters}")
    shard = Shard(receiver, sink)
    sender.send_many(frames(b"SELECT 4", b"SET a 1"))
    drain(shard)
    sender.send_many(frames(b"SET a poison", b"SET b 1", first=2))
    drain(shard)
    shard.close()
    assert target.seen == [0, 1, 3]
    assert sender.applied_offset == 3
    [letter] = lines(letters)
    assert (letter["kind"], letter["offset"], letter["db"]) == ("raised", 2, 4)
    assert letter["error"] == "LookupError: no place for 2"
    sink.close()


def test_without_a_policy_the_error_of_the_callable_is_raised(pair: Pair) -> None:
    sender, receiver = pair
    sink = poisoned_sink(Poisoned(), None)
    sender.send_many(frames(b"SET a poison"))
    with pytest.raises(LookupError, match="no place for 0"):
        drain(Shard(receiver, sink))


def test_stop_ends_at_the_poisoned_event(pair: Pair) -> None:
    sender, receiver = pair
    target = Poisoned()
    shard = Shard(receiver, poisoned_sink(target, "stop"))
    sender.send_many(frames(b"SET a 1", b"SET a poison", b"SET b 1"))
    with pytest.raises(EventRefused, match="refused at offset 1: b'SET' of key 'a' in database 0: LookupError"):
        drain(shard)
    assert (target.seen, sender.applied_offset) == ([0], 0)


@pytest.mark.parametrize("policy", ["skip", "stop"])
def test_an_error_of_the_environment_is_never_taken_for_poison(policy: str, pair: Pair) -> None:
    sender, receiver = pair
    sink = poisoned_sink(Poisoned(), policy)
    sender.send_many(frames(b"SET a away"))
    with pytest.raises(ConnectionError):
        drain(Shard(receiver, sink))
    assert sink.refusals.count == 0
