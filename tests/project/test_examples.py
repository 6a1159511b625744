"""Every example of the documentation runs unchanged, with real servers where it needs one."""

from __future__ import annotations

import os
import runpy
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from absent import absent
from kevy_ring import Batch, Frame, replica_inbox_pair
from places import DOCS
from redis_server import RedisServer, find_redis

EXAMPLES = DOCS / "examples"
NEEDS = {
    "cache_invalidation": ["redis"],
    "redis_to_parquet": ["pyarrow"],
    "shard_aggregation": ["polars"],
    "trio_app": ["trio"],
    "two_processes": [],
    "web_service": ["starlette", "httpx", "anyio"],
}
DEADLINE_S = 120.0


def start(example: str, *arguments: str) -> subprocess.Popen[str]:
    if missing := [package for package in NEEDS[example] if find_spec(package) is None]:
        absent(f"not installed: {', '.join(missing)} (pip install 'kevy-ring[examples]')")
    return subprocess.Popen(
        [sys.executable, str(EXAMPLES / f"{example}.py"), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )


def output(process: subprocess.Popen[str]) -> str:
    """The output of an example, which must exit with 0 and write nothing to stderr."""
    try:
        printed, complaints = process.communicate(timeout=DEADLINE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        printed, complaints = process.communicate()
    assert (process.returncode, complaints) == (0, ""), printed + complaints
    return printed


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(find_redis("6.2"), tmp_path / "redis")
    yield server
    server.stop()


def test_every_example_is_tested_and_short() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.py")} == set(NEEDS)
    for path in EXAMPLES.glob("*.py"):
        lines = path.read_text(encoding="utf-8").splitlines()
        assert len([line for line in lines if line.strip()]) < 60, path.name


def test_two_processes() -> None:
    printed = output(start("two_processes"))
    assert "the shard has 1000 keys, key:7 is 49007\n" in printed
    assert "sent 50000 frames, 0 left behind" in printed


def test_a_web_service_answers_from_what_the_ring_brings() -> None:
    assert output(start("web_service")) == "{'page': 'home', 'views': 2000, 'as_of': 2999}\n"


def test_a_trio_app() -> None:
    assert output(start("trio_app")).endswith("20000 of 20000 over 10 keys\n")


def test_a_shard_that_aggregates_columns() -> None:
    assert output(start("shard_aggregation")) == "DEL: 10000 frames, 60000 bytes\nSET: 20000 frames, 210000 bytes\n"


def test_a_shard_that_aggregates_columns_makes_no_object_per_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    if find_spec("polars") is None:
        absent("not installed: polars (pip install 'kevy-ring[examples]')")
    example = runpy.run_path(str(EXAMPLES / "shard_aggregation.py"))
    traffic = example["Traffic"]()
    sender, receiver = replica_inbox_pair()
    longest = b"a name of 24 bytes, full"
    sender.send_many([Frame(n, argv) for n, argv in enumerate([[b"SET", b"key", b"v"], [longest, b"k"], [b"PING"]])])
    with receiver.drain() as batch:
        for way_to_a_frame in ("__iter__", "__getitem__", "argv", "payload", "owned"):
            assert hasattr(Batch, way_to_a_frame)
            monkeypatch.setattr(Batch, way_to_a_frame, None, raising=False)
        traffic.apply_batch(batch)
    assert sorted(traffic.totals.rows()) == [(b"PING", 1, 4), (b"SET", 1, 7), (longest, 1, 25)]
    sender.close()
    receiver.close()


def test_a_cache_that_forgets_what_was_changed(server: RedisServer) -> None:
    lines = output(start("cache_invalidation", server.url)).splitlines()
    assert [line.partition(":")[0] for line in lines] == [f"the price is {price}" for price in range(10, 15)]
    assert all(f"{{b'{price}'}}" in line for price, line in zip(range(10, 15), lines, strict=True))


def wait_for(what: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not what():
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            pytest.fail("".join(process.communicate()))
        time.sleep(0.02)


def test_changes_of_a_redis_server_become_parquet_files(server: RedisServer, tmp_path: Path) -> None:
    client = server.client()
    client.mset({"before:1": "a", "before:2": "b"})
    directory = tmp_path / "changes"
    process = start("redis_to_parquet", server.url, str(directory))
    from pyarrow import parquet

    wait_for(lambda: bool(list(directory.glob("keys-*.parquet"))), process)
    for number in range(500):
        client.set(f"after:{number}", number)
    wait_for(lambda: bool(list(directory.glob("changes-*.parquet"))), process)
    client.delete("before:1")
    # Everything that was sent is in the ring or in the overflow. The example ends only after it.
    wait_for(
        lambda: client.info("replication")["slave0"]["offset"] == client.info("replication")["master_repl_offset"],
        process,
    )
    process.send_signal(signal.SIGINT)
    assert output(process) == "changes written: 502\n"  # and the SELECT before them

    (keys,) = directory.glob("keys-*.parquet")
    assert sorted(parquet.read_table(keys)["key"].to_pylist()) == [b"before:1", b"before:2"]
    changes = [row for path in sorted(directory.glob("changes-*")) for row in parquet.read_table(path).to_pylist()]
    assert changes[1]["arguments"] == [b"after:0", b"0"]
    assert [row["arguments"][0] for row in changes[1:-1]] == [b"after:%d" % number for number in range(500)]
    assert (changes[-1]["command"].upper(), changes[-1]["arguments"]) == (b"DEL", [b"before:1"])
    assert [row["offset"] for row in changes] == sorted({row["offset"] for row in changes})
