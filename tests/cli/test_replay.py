"""``--on-error`` of the command on real servers, and the replay of what a run could not apply."""

from __future__ import annotations

import io
import json
import os
import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing, redirect_stderr, redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from full_disk import files_of_at_most
from kevy_ring.cli.command import run
from kevy_ring.cli.compare.sqlite_keys import SqliteKeys
from kevy_ring.errors import SinkError
from kevy_ring.ring import inspect_ring
from kevy_ring.shard.refused.letter import DeadLetter, Origin
from kevy_ring.shard.refused.letter_file import LetterFile
from kevy_ring.shard.refused.marks import ReplayMark, ReplayMarks, letters_in
from kevy_ring.shard.sinks.sqlite import SqliteSink
from kevy_ring_command import Finished, RunningCommand, run_command, wait_until
from places import SUPPORT
from redis_server import RedisServer, StartServer, add_vectors, find_redis, start_server

__all__ = ["start_server"]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "letters.jsonl"


def streaming(line: dict[str, Any]) -> bool:
    return bool(line["type"] == "progress" and line["shards"][0]["link"] == "streaming")


def refused(count: int) -> Callable[[dict[str, Any]], bool]:
    return lambda line: bool(line["type"] == "progress" and line["shards"][0]["refusals"] >= count)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def letter(offset: int, *argv: str, db: int = 0, **facts: Any) -> DeadLetter:
    origin = Origin("sink", facts.pop("upstream", "up"), facts.pop("shard", 0))
    return DeadLetter("refused", offset, db, tuple(item.encode() for item in argv), "no", 5, origin, **facts)


def write(path: Path, *letters: DeadLetter) -> None:
    """The letters as of the sqlite sinks beside ``path``."""
    several = any(each.origin.shard for each in letters)
    with closing(LetterFile(path)) as opened:
        for each in letters:
            name = f"a-shard-{each.origin.shard}.db" if several else "a.db"
            opened.append(replace(each, origin=replace(each.origin, sink=f"sqlite:{path.parent / name}")).line())


def fill(path: Path, *commands: str) -> None:
    with closing(SqliteSink(path)) as sink:
        for offset, command in enumerate(commands):
            sink.apply(offset, command.encode().split())


def replayed(file: Path, *options: str) -> Finished:
    """The replay in this process: it starts no other."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = run(["replay", str(file), *options])
    return Finished(code, out.getvalue(), err.getvalue())


def values(path: Path, db: int = 0) -> dict[bytes, Any]:
    return {key: entry.value for page in SqliteKeys(path).pages(db) for key, entry in page.items()}


def test_a_redis_target_that_refuses_is_replayed_when_it_is_mended(start_server: StartServer, file: Path) -> None:
    up, target = start_server(), start_server()
    up.client().rpush("list", "a")
    options = ("--sink", target.url, "--on-error", f"dead-letter:{file}", "--json")
    with RunningCommand("ingest", up.url, *options) as running:
        running.read_until(streaming)
        wait_until(lambda: target.client().exists("list") == 1)
        with target.client().pipeline() as wrong:
            wrong.delete("list")
            wrong.set("list", "of another type")
            wrong.execute()
        up.client().rpush("list", "b")
        up.client(db=3).set("other", "1")
        running.read_until(refused(1))
        busy = replayed(file, "--sink", target.url)
        assert (busy.code, busy.out) == (1, "")
        assert "a run with --on-error dead-letter, or another replay, has it open" in busy.err
        running.signal(signal.SIGINT)
        done = running.finish()
    assert done.code == 1
    assert f"the sink refused 1 command, kept in {file}, the first: b'RPUSH' at offset" in done.err
    held = replayed(file, "--sink", target.url)
    assert held.code == 1
    assert held.out.startswith("held back: RPUSH list ... (shard 0, database 0, offset ")
    assert held.out.endswith("0 letters applied, 1 held back\n")
    target.client().delete("list")
    assert replayed(file, "--sink", target.url).out == "1 letter applied\n"
    again = replayed(file, "--sink", target.url)
    assert (again.code, again.out) == (0, "0 letters applied, 1 applied before\n")
    assert target.client().lrange("list", 0, -1) == [b"b"]
    # The mark counts the key, so the next run needs no option.
    then = run_command("ingest", up.url, "--sink", target.url, "--verify")
    assert then.code == 0, then.err


def test_the_password_of_a_replay_comes_from_a_file_or_the_environment(
    start_server: StartServer, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    password = "sesame%/@"
    target = start_server("--requirepass", password)
    with closing(LetterFile(file)) as opened:
        made = letter(5, "SET", "key", "1")
        opened.append(replace(made, origin=replace(made.origin, sink=target.url)).line())
    secret = tmp_path / "password"
    secret.write_text(f"{password}\n")
    done = replayed(file, "--sink", target.url, "--sink-password-file", str(secret))
    assert (done.code, done.out) == (0, "1 letter applied\n"), done.err
    monkeypatch.setenv("KEVY_RING_SINK_PASSWORD", password)
    done = replayed(file, "--sink", target.url)
    assert (done.code, done.out) == (0, "0 letters applied, 1 applied before\n"), done.err
    twice = replayed(file, "--sink", target.url, "--sink-password-file", str(secret))
    assert twice.code == 2
    assert "a password was given twice" in twice.err
    monkeypatch.delenv("KEVY_RING_SINK_PASSWORD")
    typed = replayed(file, "--sink", target.url, "--sink-password", password)
    assert typed.code == 2
    assert "every user of this machine can read a command line" in typed.err
    assert password not in typed.err


@pytest.mark.parametrize(("accepted", "code"), [((), 1), (("--allow-skipped",), 0)])
def test_allow_skipped_only_sets_the_exit_code(
    start_server: StartServer, tmp_path: Path, accepted: tuple[str, ...], code: int
) -> None:
    up = start_server()
    notes = tmp_path / "notes"
    notes.touch()
    options = ("--sink", "python:cli_sinks:poisoned", "--on-error", "skip", "--json", *accepted)
    with RunningCommand("ingest", up.url, *options, path=[SUPPORT], KEVY_RING_TEST_NOTES=str(notes)) as running:
        running.read_until(streaming)
        up.client().set("a", "poison")
        up.client().set("b", "1")
        wait_until(lambda: b"SET b 1" in notes.read_bytes())
        running.signal(signal.SIGINT)
        done = running.finish()
    assert (done.code, b"poison" in notes.read_bytes()) == (code, False)
    found = [*done.summary["runs"][0]["problems"], *done.summary["runs"][0].get("accepted", [])]
    assert any("the sink refused 1 command, skipped, the first: b'SET' at offset" in text for text in found)


def test_stop_ends_the_run_at_once_and_names_the_event(start_server: StartServer, tmp_path: Path) -> None:
    up = start_server()
    options = ("--sink", "python:cli_sinks:poisoned", "--on-error", "stop", "--json")
    with RunningCommand(
        "ingest", up.url, *options, path=[SUPPORT], KEVY_RING_TEST_NOTES=str(tmp_path / "notes")
    ) as running:
        running.read_until(streaming)
        up.client().set("a", "poison")
        done = running.finish()
    assert done.code == 1
    assert "b'SET' of key 'a' in database 0: RuntimeError: cannot digest it. The position stays before it" in done.err
    assert done.summary["runs"][0]["shards"][0]["restarts"] == 0


def test_a_key_of_a_module_in_a_snapshot_follows_the_policy(
    start_server: StartServer, file: Path, tmp_path: Path
) -> None:
    up = start_server(name="redis 8.2")
    add_vectors(up.client(), "orders")
    up.client().set("k", "v")
    into = ("--sink", f"jsonl:{tmp_path / 'lines'}", "--until-caught-up")
    stopped = run_command("ingest", up.url, *into, "--on-error", "stop")
    assert stopped.code == 1
    assert "the snapshot cannot be read whole: 1 key of type vectorset ('orders')" in stopped.err
    kept = run_command("ingest", up.url, *into, "--on-error", f"dead-letter:{file}", "--allow-skipped")
    assert kept.code == 0, kept.err
    assert not list((tmp_path / "lines").glob("generation-000002*"))  # the stopped run loaded nothing
    [found] = lines(file)
    assert (found["kind"], found["key"], found["type"]) == ("unreadable", "orders", "vectorset")


def test_a_key_that_could_not_be_read_is_restored_from_its_letter(file: Path, tmp_path: Path) -> None:
    up, target = (RedisServer(find_redis("8.2"), tmp_path / name) for name in ("up", "target"))
    try:
        client = up.client()
        add_vectors(client, "orders")
        client.pexpireat("orders", 4_000_000_000_123)
        add_vectors(client, "events")
        client.set("k", "v")
        until = ("--until-caught-up", "--on-error", f"dead-letter:{file}", "--allow-skipped")
        done = run_command("ingest", up.url, "--sink", target.url, *until)
        assert done.code == 0, done.err
        again = replayed(file, "--sink", target.url)
        assert (again.code, again.out) == (0, "2 letters applied\n")
        for key in ("orders", "events", "k"):
            assert target.client().dump(key) == client.dump(key)
        assert target.client().pexpiretime("orders") == 4_000_000_000_123
        assert target.client().execute_command("VCARD", "orders") == 1
    finally:
        up.stop()
        target.stop()


def test_a_full_disk_under_the_letters_ends_the_run(start_server: StartServer, file: Path) -> None:
    """A new process of a sink without a position would load a snapshot, and pass over what is in no letter."""
    up = start_server()
    notes = str(file.with_name("notes"))
    options = ("--sink", "python:cli_sinks:poisoned", "--on-error", f"dead-letter:{file}", "--capacity", "16KiB")
    command = ("ingest", up.url, *options, "--json")
    with files_of_at_most(60_000), RunningCommand(*command, path=[SUPPORT], KEVY_RING_TEST_NOTES=notes) as running:
        running.read_until(streaming)
        for number in range(300):
            up.client().set(f"k{number}", "poison")
        done = running.finish()
    assert done.code == 1
    assert "cannot take the dead letters, so the stream stops before them" in done.err
    assert done.summary["runs"][0]["shards"][0]["restarts"] == 0
    assert len(lines(file)) < 300  # the letters of a batch are written together, or not at all


def test_a_full_target_stops_under_every_policy(start_server: StartServer, file: Path) -> None:
    up, target = start_server(), start_server()
    with RunningCommand(
        "ingest", up.url, "--sink", target.url, "--on-error", f"dead-letter:{file}", "--json"
    ) as running:
        running.read_until(streaming)
        target.client().config_set("maxmemory", "1")
        up.client().set("a", "1")
        done = running.finish()
    assert done.code == 1
    assert "its process failed 3 times in a row for the same reason" in done.err
    assert "command not allowed when used memory" in done.err
    assert file.read_bytes() == b""


def test_after_kill_9_every_refused_command_is_a_letter(start_server: StartServer, file: Path, tmp_path: Path) -> None:
    """A killed shard may have written a letter and not its position: the letter is there at least once."""
    up = start_server(name="redis 8.2")
    client = up.client()
    add_vectors(client, "made")
    payload = client.dump("made")
    client.delete("made")
    options = ("--sink", f"sqlite:{tmp_path / 'a.db'}", "--on-error", f"dead-letter:{file}", "--json")
    with RunningCommand("ingest", up.url, *options) as running:
        running.read_until(streaming)
        for number in range(3):
            ring = running.read_until(streaming)["shards"][0]["ring"]
            shard = inspect_ring(ring).consumer.pid
            with client.pipeline(transaction=False) as pipeline:
                for at in range(50):
                    pipeline.restore(f"k{number}-{at}", 0, payload)
                pipeline.execute()
            os.kill(shard, signal.SIGKILL)
            wait_until(lambda of=(ring, shard): inspect_ring(of[0]).consumer.pid not in (0, of[1]))  # type: ignore[misc]
        client.set("end", "1")
        wait_until(lambda: b"end" in values(tmp_path / "a.db"))
        running.signal(signal.SIGINT)
        running.finish()
    with letters_in(file) as (letters, _):  # it passes over a line that a killed process left torn
        found = {each.argv[:2] for each in letters if each.kind == "refused"}
    assert found == {(b"RESTORE", b"k%d-%d" % (number, at)) for number in range(3) for at in range(50)}


# ------------------------------------------------------------------------------------------------ the replay itself


def test_a_replay_applies_each_letter_once_and_moves_no_position(file: Path, tmp_path: Path) -> None:
    place = tmp_path / "a.db"
    fill(place, "SET a 1", "SELECT 2", "SET b 1")
    one, other = letter(1, "INCR", "n"), letter(2, "RPUSH", "l", "x", db=3)
    write(file, one, other, one)
    done = replayed(file, "--sink", f"sqlite:{place}")
    assert (done.code, done.out) == (0, "2 letters applied\n")
    assert (values(place), values(place, 3)) == ({b"a": b"1", b"n": b"1"}, {b"l": [b"x"]})
    assert replayed(file, "--sink", f"sqlite:{place}").out == "0 letters applied, 2 applied before\n"
    assert values(place)[b"n"] == b"1"
    with closing(sqlite3.connect(place)) as connection:
        assert connection.execute("SELECT offset, db FROM position").fetchall() == [(2, 2)]
        assert connection.execute("SELECT count(*) FROM changes").fetchall() == [(3,)]


def test_what_could_undo_a_later_change_is_held_back_until_it_is_asked_for(file: Path, tmp_path: Path) -> None:
    place = tmp_path / "a.db"
    fill(place, "SET a later", "SET b later")
    write(
        file,
        *(letter(1, "SET", "a", "earlier"), letter(2, "FLUSHALL"), letter(3, "DEL", "gone", "b"), letter(4, "EXEC")),
        letter(5, "SET", "c", "1"),
    )
    held = replayed(file, "--sink", f"sqlite:{place}")
    assert held.code == 1
    assert held.out.splitlines() == [
        "held back: SET a ... (shard 0, database 0, offset 1): the sink holds the key 'a', which may have later "
        "changes (--over-existing applies it)",
        "held back: FLUSHALL (shard 0, database 0, offset 2): it names no key, so it may undo later changes "
        "(--over-existing applies it)",
        "held back: DEL gone ... (shard 0, database 0, offset 3): the sink holds the key 'b', which may have later "
        "changes (--over-existing applies it)",
        "held back: EXEC (shard 0, database 0, offset 4): it has no meaning outside its transaction",
        "1 letter applied, 4 held back",
    ]
    assert values(place) == {b"a": b"later", b"b": b"later", b"c": b"1"}
    over = replayed(file, "--sink", f"sqlite:{place}", "--over-existing")
    assert over.out.splitlines()[-1] == "3 letters applied, 1 applied before, 1 held back"
    assert values(place) == {}


@pytest.mark.parametrize(
    "command",
    ["MSETEX 1 a earlier", "MSETEX 2 c 1 a 1", "EVAL x 1 a", "EVALSHA_RO x 2 c a", "XGROUP DESTROY a g"],
)
def test_every_key_of_a_command_counts_wherever_it_stands(command: str, file: Path, tmp_path: Path) -> None:
    place = tmp_path / "a.db"
    fill(place, "SET a later")
    write(file, letter(1, *command.split()))
    held = replayed(file, "--sink", f"sqlite:{place}")
    assert held.code == 1
    assert "the sink holds the key 'a', which may have later changes" in held.out
    assert held.out.endswith("0 letters applied, 1 held back\n")


def test_a_mark_that_the_disk_takes_in_part_is_an_error(file: Path) -> None:
    one = letter(1, "SET", "a", "1")
    with closing(ReplayMarks(file)) as marks:
        marks.put(one, ReplayMark.BEGUN)
        size = marks.path.stat().st_size
        with files_of_at_most(size + 10), pytest.raises(SinkError) as raised:
            marks.put(one, ReplayMark.DONE)
    assert raised.value.reason == "space"
    with closing(ReplayMarks(file)) as marks:
        assert marks.of(one) is ReplayMark.BEGUN


def test_a_letter_that_fails_again_is_tried_again(file: Path, tmp_path: Path) -> None:
    place = tmp_path / "a.db"
    fill(place, "SET a 1")
    write(file, letter(1, "NOSUCH", "k"), letter(2, "SET", "b", "1"))
    for applied in ("1 letter applied", "0 letters applied, 1 applied before"):
        done = replayed(file, "--sink", f"sqlite:{place}")
        assert (done.code, done.out.splitlines()[-1]) == (1, f"{applied}, 1 failed again")
        assert "failed again: NOSUCH k (shard 0, database 0, offset 1): unknown command" in done.out


def test_a_letter_whose_replay_was_killed_is_applied_only_on_request(file: Path, tmp_path: Path) -> None:
    place = tmp_path / "a.db"
    fill(place, "SET a 1")
    write(file, letter(1, "INCR", "n"))
    with closing(ReplayMarks(file)) as marks, letters_in(file) as ([one], _):
        marks.put(one, ReplayMark.BEGUN)
    with (tmp_path / "letters.jsonl.replayed").open("ab") as torn:
        torn.write(b'{"id": "torn')
    done = replayed(file, "--sink", f"sqlite:{place}")
    assert (done.code, done.out.splitlines()[-1]) == (1, "0 letters applied, 1 uncertain")
    assert values(place) == {b"a": b"1"}
    asked = replayed(file, "--sink", f"sqlite:{place}", "--again", "--json")
    assert (asked.code, json.loads(asked.out)["applied"]) == (0, 1)
    assert values(place)[b"n"] == b"1"


def test_letters_of_several_shards_go_to_the_sinks_of_their_shards(file: Path, tmp_path: Path) -> None:
    for shard in (0, 1):
        fill(tmp_path / f"a-shard-{shard}.db", "SET a 1")
    write(file, letter(1, "SET", "b", "0"), letter(1, "SET", "b", "1", shard=1))
    sink = ("--sink", f"sqlite:{tmp_path / 'a.db'}")
    alone = replayed(file, *sink)
    assert (alone.code, "give --shards 2 or more" in alone.err) == (2, True)
    assert replayed(file, *sink, "--shards", "2").code == 0
    assert [values(tmp_path / f"a-shard-{shard}.db")[b"b"] for shard in (0, 1)] == [b"0", b"1"]


def test_a_python_sink_gets_its_letters_again(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notes = tmp_path / "notes"
    write(file, letter(1, "SET", "a", "poison"), letter(2, "SET", "a", "1"))
    options = ("replay", str(file), "--sink", "python:cli_sinks:poisoned", "--other-sink")
    with RunningCommand(*options, path=[SUPPORT], KEVY_RING_TEST_NOTES=str(notes)) as running:
        done = running.finish()
    assert (done.code, notes.read_bytes()) == (1, b"SET a 1\n")
    assert done.out.endswith("1 letter applied, 1 failed again\n")


def test_letters_of_another_sink_need_a_word(file: Path, tmp_path: Path) -> None:
    write(file, letter(1, "SET", "b", "1"))
    (tmp_path / "moved").mkdir()
    fill(tmp_path / "moved" / "a.db", "SET a 1")
    options = ("--sink", f"sqlite:{tmp_path / 'moved' / 'a.db'}")
    refused = replayed(file, *options)
    assert (refused.code, "If the sink was moved: --other-sink" in refused.err) == (1, True)
    assert replayed(file, *options, "--other-sink").out == "1 letter applied\n"


def test_a_sink_that_a_run_holds_is_refused(file: Path, tmp_path: Path) -> None:
    place = tmp_path / "a.db"
    write(file, letter(1, "SET", "a", "1"))
    with closing(SqliteSink(place)):
        done = replayed(file, "--sink", f"sqlite:{place}")
    assert done.code == 1
    assert f"process {os.getpid()} writes there" in done.err


@pytest.mark.parametrize(
    ("sink", "words"),
    [
        ("jsonl:lines", "a jsonl sink refuses no command: there is nothing to replay to it"),
        ("memory", "dead letters are replayed to a sqlite:FILE, redis:// or python: sink"),
        ("nonsense", "dead letters are replayed to a sqlite:FILE, redis:// or python: sink"),
    ],
)
def test_a_sink_without_replay_is_bad_usage(file: Path, sink: str, words: str) -> None:
    write(file, letter(1, "SET", "a", "1"))
    done = replayed(file, "--sink", sink)
    assert (done.code, words in done.err) == (2, True)


def test_a_dry_run_prints_and_changes_nothing(file: Path, tmp_path: Path) -> None:
    write(file, letter(1, "SET", "a", "1"))
    done = replayed(file, "--sink", f"sqlite:{tmp_path / 'a.db'}", "--dry-run")
    assert (done.code, done.out) == (0, "SET a ... (shard 0, database 0, offset 1): no\n")
    assert not (tmp_path / "a.db").exists()


def test_a_file_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    done = replayed(tmp_path / "none", "--sink", "sqlite:a.db")
    assert (done.code, "No such file or directory" in done.err) == (1, True)
    assert not (tmp_path / "none").exists()
