"""The kevy-ring command from outside: its exit codes, its output, and that nothing stays behind."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from command_in_process import invoke, listed
from kevy_ring import Frame, replica_inbox_pair
from kevy_ring.cli import main
from kevy_ring.cli.command import command, run
from kevy_ring.cli.ingest.goal import ForDuration
from kevy_ring.replica.snapshots.entry import Entry
from kevy_ring.ring import Ring, inspect_ring, ring_names
from kevy_ring.shard.sinks.redis.target_mark import is_mark
from kevy_ring.testing import EmbeddedPrimary
from kevy_ring_command import RunningCommand, is_gone, run_command, wait_until
from places import SUPPORT
from redis_server import RedisServer, find_redis

SECRET = "open-sesame"
SMALL = ("--keys", "400", "--ops", "4000")
UNREACHABLE = "kevy://127.0.0.1:1"


def own_rings(pid: int) -> set[str]:
    """The rings that a process made. Other processes of this machine have rings too."""
    found = set()
    for name in ring_names():
        try:
            if inspect_ring(name).creator_pid == pid:
                found.add(name)
        except Exception:  # removed since it was listed
            continue
    return found


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(find_redis("6.2"), tmp_path / "redis")
    yield server
    server.stop()


def test_without_a_url_the_embedded_upstream_is_followed_and_found_equal_in_both_phases() -> None:
    with RunningCommand("ingest", *SMALL, "--json") as running:
        done = running.finish()
    assert (done.code, done.err) == (0, "")
    kinds = [each["type"] for each in done.objects]
    assert kinds.count("start") == kinds.count("outcome") == 2
    assert "progress" in kinds
    summary = done.summary
    assert (summary["ok"], summary["exit_code"], summary["verified"]) == (True, 0, True)
    memory, null = summary["runs"]
    assert (memory["comparison"]["by"], null["comparison"]["by"]) == ("keys", "digest")
    assert memory["comparison"]["keys"] > 400
    assert set(memory["comparison"]["keys_by_type"]) == {"string", "hash", "list", "set", "zset"}
    assert sum(shard["snapshot_keys"] for shard in memory["shards"]) == 400
    assert [sum(shard["frames"] for shard in each["shards"]) for each in (memory, null)] == [2400, 1600]
    assert null["comparison"]["frames"] == 1600
    assert not own_rings(running.pid)


def test_in_a_pipe_it_says_what_was_proved_in_plain_lines() -> None:
    done = run_command("ingest", *SMALL, "--shards", "1")
    assert done.code == 0
    assert "Phase 1 of 2: into memory, compared key by key" in done.out
    assert "Phase 1 of 2: into memory, compared key by key" in done.err
    assert "keys are equal in type, value and expiry" in done.out
    assert "1,600 frames: their number, and a CRC-32 over every byte in order, are the upstream's" in done.out
    assert done.out.splitlines()[-2].startswith("verified in ")
    assert "\x1b" not in done.out
    assert all(line == line.rstrip() for line in done.out.splitlines())


@pytest.mark.parametrize("sink", ["null", "jsonl", "sqlite", "python:cli_sinks:counting"])
def test_the_embedded_upstream_goes_into_any_sink(sink: str, tmp_path: Path) -> None:
    own = f"{sink}:{tmp_path / 'place'}" if sink in ("jsonl", "sqlite") else sink
    done = run_command("ingest", *SMALL, "--sink", own, "--json", path=[SUPPORT])
    assert done.code == 0, done.err
    found = done.summary["runs"][0]["comparison"]
    assert (found and found["by"]) == {"null": "digest", "jsonl": "keys", "sqlite": "keys"}.get(sink)
    assert done.summary["verified"] == (found is not None)
    assert sum(shard["frames"] for shard in done.summary["runs"][0]["shards"]) == 4000


def _sabotaged(found: dict[bytes, Entry]) -> dict[bytes, Entry]:
    """Make the upstream differ from the replica. That is easier than changing the replica."""
    first, second, third, *_ = (key for key, entry in found.items() if entry.type == "string")
    found[first].value = b"something else"
    found[second].expires_at_ms = 4_000_000_000_000
    del found[third]
    for number in range(20):
        found[b"extra:%d" % number] = Entry(b"extra:%d" % number, "string", b"")
    return found


def test_a_replica_that_is_not_its_upstream_is_exit_code_1_and_the_first_ten_differences_are_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = EmbeddedPrimary.keyspace
    monkeypatch.setattr(EmbeddedPrimary, "keyspace", lambda self, shard: _sabotaged(asked(self, shard)))
    assert run(["ingest", *SMALL, "--shards", "1", "--json"]) == 1
    out, err = capsys.readouterr()
    *_, summary = map(json.loads, out.splitlines())
    assert (summary["ok"], summary["exit_code"], summary["verified"]) == (False, 1, False)
    (only,) = summary["runs"]  # the second phase does not start
    assert only["comparison"]["different"] == 23
    texts = [each["text"] for each in only["comparison"]["differences"]]
    assert len(texts) == 10
    assert any("'something else' in the upstream" in text for text in texts)
    assert any("expires 2096-10-02 07:06:40.000 UTC" in text for text in texts)
    assert any("a string of the upstream that the replica lacks" in text for text in texts)
    assert err == "kevy-ring: 23 keys differ between the upstream and the replica\n"


def test_a_digest_that_is_not_the_upstreams_is_exit_code_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = EmbeddedPrimary.frame_digest
    monkeypatch.setattr(
        EmbeddedPrimary, "frame_digest", lambda self, shard, start=None: (asked(self, shard, start)[0], b"another")
    )
    assert run(["ingest", *SMALL, "--sink", "null", "--shards", "1"]) == 1
    assert "shard 0: the CRC-32 over its frames is not the upstream's" in capsys.readouterr().err


def fill(server: RedisServer, *, db: int = 0) -> None:
    client = server.client(db)
    pipeline = client.pipeline()
    for number in range(300):
        pipeline.set(f"string:{number}", os.urandom(20))
        pipeline.hset(f"hash:{number}", mapping={"a": number, b"\xff\x00": "b"})
        pipeline.rpush(f"list:{number}", *range(number % 7 + 1))
        pipeline.sadd(f"set:{number}", *range(number % 5 + 1))
        pipeline.zadd(f"zset:{number}", {"m": number / 3, "n": float("inf")})
        if number % 3 == 0:
            pipeline.pexpireat(f"string:{number}", 4_000_000_000_000 + number)
    pipeline.execute()


def test_a_redis_is_followed_until_caught_up_and_compared_in_all_its_databases(redis_server: RedisServer) -> None:
    fill(redis_server)
    fill(redis_server, db=5)
    done = run_command("ingest", redis_server.url, "--sink", "memory", "--verify", "--json")
    assert done.code == 0, done.err
    (only,) = done.summary["runs"]
    assert (only["comparison"]["keys"], only["comparison"]["different"]) == (3000, 0)
    assert only["sink"] == "memory"
    assert only["shards"][0]["full_syncs"] == 1


def test_writes_that_go_on_are_no_differences(redis_server: RedisServer) -> None:
    fill(redis_server)
    with RunningCommand("ingest", redis_server.url, "--sink", "memory", "--verify", "--json") as running:
        client = redis_server.client()

        def has_ended(found: dict[str, Any]) -> bool:
            for number in range(300):
                client.pipeline().incr(f"counter:{number % 40}").append(f"string:{number}", "x").execute()
            return found["type"] == "summary"

        summary = running.read_until(has_ended)
        assert summary["ok"], summary
        comparison = summary["runs"][0]["comparison"]
        assert comparison["different"] == 0
        assert comparison["keys"] + comparison["restless"] >= 1500
        assert running.finish().code == 0


def test_a_replica_changed_by_another_hand_is_found_out(
    redis_server: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(redis_server)
    monkeypatch.setattr("kevy_ring.cli.compare.comparison.ROUNDS_S", (0.1, 0.1))
    target = RedisServer(find_redis("6.2"), tmp_path / "target")

    def change() -> None:
        replica = target.client()
        wait_until(lambda: replica.exists("string:299") == 1)
        replica.set("intruder", "1")
        replica.hset("hash:7", "a", "changed")

    try:
        with ThreadPoolExecutor() as pool:
            changed = pool.submit(change)
            monkeypatch.setattr(ForDuration, "reached", lambda *_: changed.done())  # however long the change takes
            code = run(["ingest", redis_server.url, "--sink", target.url, "--duration", "60", "--verify", "--json"])
            changed.result()
    finally:
        target.stop()
    out, err = capsys.readouterr()
    assert code == 1
    assert err == "kevy-ring: 2 keys differ between the upstream and the replica\n"
    *_, summary = map(json.loads, out.splitlines())
    texts = {each["key"]: each["text"] for each in summary["runs"][0]["comparison"]["differences"]}
    assert texts["intruder"] == "key 'intruder': a string of the replica that the upstream lacks"
    assert texts["hash:7"] == "key 'hash:7': hash, field 'a': '7' in the upstream, 'changed' in the replica"


def test_a_kevy_upstream_is_compared_with_what_its_data_url_says(redis_server: RedisServer) -> None:
    with RunningCommand("primary", "--shards", "2", *SMALL, "--value-bytes", "20", "--json") as primary:
        url = primary.read_object()["url"]
        into = f"{redis_server.url}/{{shard}}"
        first = run_command("ingest", url, "--shards", "2", "--until-caught-up", "--sink", into)
        assert first.code == 0, first.err
        # One server with the keys of both shards, as a kevy's data port would show them.
        second = redis_server.client(1)
        for key in second.scan_iter():
            if not is_mark(key):
                second.move(key, 0)
        done = run_command(
            "ingest", url, "--shards", "2", "--sink", "memory", "--verify", "--data-url", redis_server.url, "--json"
        )
        assert done.code == 0, done.err
        keys = [key for key in redis_server.client(0).scan_iter() if not is_mark(key)]
        assert done.summary["runs"][0]["comparison"]["keys"] == len(keys)
        primary.signal(signal.SIGTERM)
        assert primary.finish().code == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ("ingest", f"redis://user:{SECRET}@h:port"),
        ("ingest", f"redis://user:{SECRET}/@h:1"),
        ("ingest", f"http://user:{SECRET}@h"),
        ("ingest", UNREACHABLE, "--sink", f"nonsense://user:{SECRET}@h"),
        ("ingest", UNREACHABLE, UNREACHABLE, "--sink", f"redis://user:{SECRET}@h"),
        ("ingest", UNREACHABLE, "--shards", f"redis://user:{SECRET}@h"),
        ("ingest", UNREACHABLE, "--capacity", f"redis://user:{SECRET}@h"),
        ("ingest", f"--url=redis://user:{SECRET}@h"),
        ("ingest", f"redis://user:{SECRET}@h", "--data-url", f"redis://user:{SECRET}@h", "--verify", "--sink", "null"),
        ("ls", f"redis://user:{SECRET} and more@h"),
        ("inspect", f"redis://user:{SECRET}@h"),
        (f"redis://user:{SECRET}@h",),
        ("ingest", "--shards", "0"),
        ("ingest", "--capacity", "5000"),
        ("ingest", "--duration", "1", "--until-caught-up"),
        ("ingest", "--data-url", "redis://h"),
        ("ingest", "--verify", "--sink", "python:cli_sinks:counting"),
        ("ingest", "redis://h", "--shards", "2"),
        ("ingest", UNREACHABLE, "--sink", "memory", "--verify"),
        ("ingest", UNREACHABLE, "--sink", "memory", "--verify", "--data-url", UNREACHABLE),
        ("ingest", "kevy://h:65535", "--shards", "2"),
        ("primary", "--backlog", "none"),
        ("inspect", "a/b"),
        ("nonsense",),
    ],
)
def test_bad_usage_is_exit_code_2_and_no_secret_is_repeated(
    arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "\nkevy-ring: " in err
    assert SECRET not in err


def test_a_wrong_password_is_told_without_any_and_never_synced_is_exit_code_1(redis_server: RedisServer) -> None:
    redis_server.client().config_set("requirepass", "the right one")
    url = f"redis://:{SECRET}@127.0.0.1:{redis_server.port}"
    for sink in (["--sink", "null"], ["--sink", f"redis://:{SECRET}@127.0.0.1:{redis_server.port}"]):
        done = run_command("ingest", url, "--duration", "60", "--json", *sink)
        assert done.code == 1
        assert f"redis://:***@127.0.0.1:{redis_server.port}" in done.err
        assert SECRET not in done.out + done.err
        assert sink[1] != "null" or done.summary["problem"].startswith("shard 0: redis://:***@")
        assert "WRONGPASS" in done.err or "invalid" in done.err


def test_ctrl_c_while_the_command_is_imported_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Interrupted:
        def find_spec(self, name: str, *_: object) -> None:
            if name == "kevy_ring.cli.command":
                raise KeyboardInterrupt

    monkeypatch.delitem(sys.modules, "kevy_ring.cli.command")
    monkeypatch.setattr(sys, "meta_path", [Interrupted(), *sys.meta_path])
    with pytest.raises(SystemExit) as ended:
        main(["ls"])
    assert ended.value.code == 1
    assert capsys.readouterr().err == "kevy-ring: interrupted\n"


def test_a_sink_that_cannot_be_had_is_one_line_before_anything_starts(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["ingest", "--sink", f"redis://:{SECRET}@127.0.0.1:1/{{shard}}"]) == 1
    err = capsys.readouterr().err
    assert err.startswith("kevy-ring: sink redis://:***@127.0.0.1:1: io: ")
    assert err.count("\n") == 1


def test_a_shard_that_fails_is_replaced_and_its_reason_is_told() -> None:
    done = run_command(
        "ingest", "--keys", "4", "--ops", "40", "--shards", "1", "--sink", "python:cli_sinks:raising", path=[SUPPORT]
    )
    # A new process starts with the snapshot of all frames, so it has no frame to fail on.
    assert re.search(
        r" ERROR   shard-0\[\d+\] failed: RuntimeError: out of paper at redis://\*\*\*@printer\n", done.err
    )
    assert "Traceback" in done.err
    assert "exited with code 1" in done.err
    assert SECRET not in done.out + done.err
    assert done.code == 0


def test_a_shard_that_fails_again_and_again_is_given_up(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(SUPPORT)
    sink = ("--sink", "python:cli_sinks:unloadable", "--max-restarts", "1")
    assert run(["ingest", "--keys", "4", "--ops", "40", "--shards", "1", *sink]) == 1
    times = "its shard process ended 2 times within 10 minutes (--max-restarts 1)"
    words = f"failed, exit code 1: shard 0: {times}; the last time: RuntimeError: no snapshot for me"
    assert capsys.readouterr().err.splitlines()[-1].endswith(words)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_with_the_summary_and_leaves_no_process_and_no_ring(
    redis_server: RedisServer, number: signal.Signals
) -> None:
    fill(redis_server)
    with RunningCommand("ingest", redis_server.url, "--sink", "memory", "--json") as running:
        running.read_until(lambda found: found["type"] == "progress" and found["shards"][0]["snapshots"] == 1)
        children, rings = running.children(), own_rings(running.pid)
        assert (len(children) >= 2, len(rings)) == (True, 1)
        running.signal(number)
        done = running.finish()
    assert (done.code, done.err) == (0, "")
    assert done.summary["snapshot_keys"] == 1500
    assert done.summary["runs"][0]["stopped"] is True
    wait_until(lambda: all(map(is_gone, children)))
    assert not rings & set(ring_names())


def test_stopped_before_it_had_caught_up_is_exit_code_1() -> None:
    with RunningCommand("ingest", UNREACHABLE, "--sink", "null", "--until-caught-up", "--json") as running:
        running.read_until(lambda found: found["type"] == "note" and "no link" in found["text"])
        running.signal(signal.SIGINT)
        done = running.finish()
    assert done.code == 1
    assert f"{UNREACHABLE} never synced: connect: " in done.err
    assert done.summary["problem"] in done.err


def test_a_signal_in_the_middle_of_the_embedded_run_ends_all_of_it() -> None:
    with RunningCommand("ingest", "--keys", "100", "--ops", "2000000", "--json") as running:
        running.read_until(lambda found: found["type"] == "progress" and found["elapsed_s"] > 0.5)
        children = running.children()
        running.signal(signal.SIGINT)
        done = running.finish()
    assert done.code == 1
    assert done.err == "kevy-ring: it was stopped before every frame was applied\n"
    assert len(done.summary["runs"]) == 1
    wait_until(lambda: all(map(is_gone, children)))
    assert not own_rings(running.pid)


def test_an_embedded_upstream_that_dies_is_one_line_and_exit_code_1() -> None:
    with RunningCommand("ingest", "--keys", "100", "--ops", "2000000", "--json") as running:
        running.read_until(lambda found: found["type"] == "progress")
        # The upstream is the child that listens on a port.
        listening = _listeners(running.children())
        for pid in listening:
            os.kill(pid, signal.SIGKILL)
        assert listening
        done = running.finish()
    assert done.code == 1
    assert "the embedded upstream" in done.err
    assert done.err.count("\n") == 1


def _listeners(pids: list[int]) -> list[int]:
    """Those of ``pids`` that hold a listening TCP socket."""
    states = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    inodes = {fields[9] for fields in states if fields[3] == "0A"}
    found = []
    for pid in pids:
        links = [os.readlink(fd) for fd in Path(f"/proc/{pid}/fd").iterdir() if fd.is_symlink()]
        if any(link.startswith("socket:[") and link[8:-1] in inodes for link in links):
            found.append(pid)
    return found


@pytest.fixture
def dead_ring() -> Iterator[str]:
    """A ring that holds records. Its only process was killed, and so was its resource tracker."""
    script = f"""
import os, signal
from kevy_ring import Frame, SnapshotEnd, replica_inbox_pair
from multiprocessing import resource_tracker
sender, receiver = replica_inbox_pair(65536, "kr-cli-dead-{os.getpid()}")
sender.send(SnapshotEnd(7))
for offset in range(7, 20):
    sender.send(Frame(offset, [b"SET", b"key:%d" % offset, b"\\x00\\x1b[31m" * offset]))
receiver.drain(max_events=1).release()
os.kill(resource_tracker._resource_tracker._pid, signal.SIGKILL)
os.kill(os.getpid(), signal.SIGKILL)
"""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    subprocess.run([sys.executable, "-c", script], env=environment, check=False, timeout=120)
    name = f"kr-cli-dead-{os.getpid()}"
    yield name
    for suffix in ("", ".data", ".space"):
        Path(f"/dev/shm/{name}{suffix}").unlink(missing_ok=True)


def test_ls_shows_a_live_ring_and_who_has_its_roles() -> None:
    with Ring.create(65536, f"kr-cli-live-{os.getpid()}") as ring, ring.producer() as producer:
        producer.try_write(b"x" * 1000)
        found = listed(ring.name)
        assert (found["capacity_bytes"], found["used_bytes"], found["abandoned"]) == (65536, 1016, False)
        assert found["producer"] == {"state": "alive", "pid": os.getpid(), "taken": 1}
        assert found["consumer"]["state"] == "vacant"
        lines = invoke("ls").splitlines()
        at = next(number for number, line in enumerate(lines) if ring.name in line)
        assert f"alive {os.getpid()}" in lines[at]
        assert "vacant" in lines[at + 1]


def test_ls_marks_a_ring_of_dead_processes(dead_ring: str) -> None:
    found = listed(dead_ring)
    assert (found["abandoned"], found["producer"]["state"], found["consumer"]["state"]) == (True, "dead", "dead")
    out = invoke("ls")
    assert f"dead {found['producer']['pid']}" in out
    assert "abandoned" in out
    assert "kevy-ring gc removes" in out


def test_inspect_tells_what_waits_in_a_ring_of_dead_processes(dead_ring: str) -> None:
    found = json.loads(invoke("inspect", dead_ring, "--json", "--records", "3"))
    assert [(each["kind"], each["offset"]) for each in found["records"]] == [("frame", 7), ("frame", 8), ("frame", 9)]
    assert found["records"][0]["position"] == found["head"]
    out = invoke("inspect", dead_ring)
    assert "abandoned: kevy-ring gc removes it" in out
    assert "13 record" not in out  # the default shows ten
    assert out.count("'SET' 'key:") == 10
    assert r"\x00\x1b[31m" in out
    assert "\x1b" not in out
    assert inspect_ring(dead_ring).consumer.epoch == 1


def test_inspect_of_a_live_inbox_says_what_its_two_sides_tell() -> None:
    sender, receiver = replica_inbox_pair(65536)
    with sender, receiver:
        sender.set_upstream("ab" * 20, 2)
        sender.send(Frame(3, [b"DEL", b"k"]))
        receiver.drain().release()
        receiver.mark_applied(3)
        out = invoke("inspect", sender.name)
        found = json.loads(invoke("inspect", sender.name, "--json"))
    assert "applied    up to offset 3" in out
    assert "records    none" in out
    assert re.search(r"in ring +half within [\d.]+ .?s, 99 % within [\d.]+ .?s, of 1 measured record\n", out)
    assert found["time_in_ring"]["measured"] == 1
    assert 0 < found["time_in_ring"]["total_s"] <= found["time_in_ring"]["median_at_most_s"]
    assert "published  up to the frame at offset 3 of upstream " + "ab" * 20 + ", database 2; a new sender" in out
    assert "wrong" not in out
    assert (found["published"]["offset"], found["published"]["upstream_id"], found["faults"]) == (3, "ab" * 20, [])


def test_inspect_says_what_is_wrong(dead_ring: str) -> None:
    assert "wrong      abandoned: kevy-ring gc removes it" in invoke("inspect", dead_ring)
    with Ring.create(4096) as ring, ring.producer() as producer:
        with ring.consumer():
            producer.try_write(b"x")
        assert "wrong      records wait, but the consumer has closed" in invoke("inspect", ring.name)
        with open(f"/dev/shm/{ring.name}", "r+b") as file:
            file.seek(0x100)
            file.write(b"\x08" * 8)
        result = CliRunner().invoke(command, ["inspect", ring.name], standalone_mode=False)
        assert "wrong      corrupt: head and tail are" in result.output
        assert "is corrupt at position 0: head and tail" in str(result.exception)


def test_inspect_of_a_ring_that_is_not_there_is_one_line_and_exit_code_1(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["inspect", "kr-cli-no-such-ring"]) == 1
    err = "kevy-ring: there is no ring 'kr-cli-no-such-ring': kevy-ring ls shows the rings that exist\n"
    assert capsys.readouterr().err == err


def test_gc_removes_a_dead_ring_with_its_doorbells_and_leaves_a_live_one(dead_ring: str) -> None:
    with Ring.create(65536) as live:
        names = [f"{dead_ring}{suffix}" for suffix in ("", ".data", ".space")]
        assert [dead_ring] == json.loads(invoke("gc", dead_ring, live.name, "--dry-run", "--json"))["removed"]
        assert all(Path("/dev/shm", name).exists() for name in names)
        # Name the ring: other abandoned rings of this machine are not ours to remove.
        assert json.loads(invoke("gc", dead_ring, live.name, "--json"))["removed"] == [dead_ring]
        assert not any(Path("/dev/shm", name).exists() for name in names)
        assert Path("/dev/shm", live.name).exists()


def test_without_rich_or_click_the_extra_to_install_is_named() -> None:
    script = "import sys; sys.modules['rich'] = None; from kevy_ring.cli import main; main(['ls'])"
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    assert done.returncode == 1
    assert done.stderr == "kevy-ring: rich is not installed; pip install 'kevy-ring[cli]'\n"


def test_a_reader_that_has_enough_is_no_error() -> None:
    where = os.pathsep.join(filter(None, sys.path))
    done = subprocess.run(
        f"'{sys.executable}' -m kevy_ring ingest --help | head -1; echo ${{PIPESTATUS[0]}}",
        shell=True, executable="/bin/bash", capture_output=True, text=True, timeout=120, check=False,
        env=os.environ | {"PYTHONPATH": where},
    )  # fmt: skip
    assert done.stdout.splitlines() == ["Usage: kevy-ring ingest [OPTIONS] [URL]...", "0"]
    assert done.stderr == ""
