"""Finding a sink by its URL."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from kevy_ring.shard import ResumableSink, sink_from_url
from kevy_ring.shard.sinks.jsonl import JsonlSink
from kevy_ring.shard.sinks.sink_url import is_resumable, place_of_shard
from kevy_ring.shard.sinks.sqlite import SqliteSink


def test_files_of_several_shards_are_kept_apart(tmp_path: Path) -> None:
    def directory(url: str, shard: int, shards: int) -> Path:
        sink = sink_from_url(url, shard=shard, shards=shards)
        assert isinstance(sink, JsonlSink)
        assert sink.durable
        return sink.directory

    assert directory(f"jsonl:{tmp_path}/a", 0, 1) == tmp_path / "a"
    assert directory(f"jsonl:{tmp_path}/a", 1, 2) == tmp_path / "a" / "shard-1"
    assert directory(f"jsonl:{tmp_path}/n{{shard}}", 1, 2) == tmp_path / "n1"


@pytest.mark.parametrize(
    ("url", "shards", "place"),
    [
        ("sqlite:a/b.db", 1, "a/b.db"), ("sqlite:a/b.db", 3, "a/b-shard-2.db"), ("sqlite:a.x/b", 3, "a.x/b-shard-2"),
        ("sqlite:a/{shard}.db", 3, "a/2.db"), ("sqlite:a-{shard}", 1, "a-2"), ("sqlite:.db", 3, ".db-shard-2"),
        ("jsonl:a", 3, "a/shard-2"),
    ],
)  # fmt: skip
def test_the_place_of_a_shard(url: str, shards: int, place: str) -> None:
    assert place_of_shard(url, shard=2, shards=shards) == place


def test_a_file_of_sqlite_is_named_by_its_url(tmp_path: Path) -> None:
    sink = sink_from_url(f"sqlite:{tmp_path}/a.db", shard=1, shards=2)
    assert isinstance(sink, SqliteSink)
    assert isinstance(sink, ResumableSink)
    assert sink.durable
    assert sink.path == tmp_path / "a-shard-1.db"
    sink.close()


@pytest.mark.parametrize("url", ["jsonl:a", "sqlite:a", "null", "memory", "redis://h", "python:m:c"])
def test_which_urls_name_resumable_sinks(url: str) -> None:
    assert is_resumable(url) is url.startswith(("jsonl", "sqlite"))


@pytest.mark.parametrize(
    "url", ["", "nul", "null:", "memory:x", "jsonl:", "sqlite:", "redis:host", "kevy://h:1", "python:"]
)
def test_what_names_no_sink_is_a_bad_url(url: str) -> None:
    with pytest.raises(ValueError, match="names no sink"):
        sink_from_url(url)


def test_several_shards_cannot_share_a_redis_target() -> None:
    with pytest.raises(ValueError, match=r"redis://host:port/\{shard\}"):
        sink_from_url("redis://127.0.0.1:1", shard=0, shards=2)


@pytest.mark.parametrize(
    ("url", "package"),
    [
        *(("memory", "fakeredis"), ("sqlite:x", "fakeredis")),
        *(("redis://127.0.0.1:1", "redis"), ("redis://127.0.0.1:1", "hiredis")),
    ],
)
def test_a_missing_package_is_named_with_the_extra_that_brings_it(url: str, package: str) -> None:
    use = (
        "import sys\n"
        f"sys.modules[{package!r}] = None\n"
        "from kevy_ring.errors import SinkError\n"
        "from kevy_ring.shard import sink_from_url\n"
        "try:\n"
        f"    sink_from_url({url!r})\n"
        "except SinkError as error:\n"
        "    print(error.reason, error)\n"
    )
    done = subprocess.run([sys.executable, "-c", use], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.startswith("missing-extra ")
    assert "pip install -U 'kevy-ring[ingest]'" in done.stdout
    assert package in done.stdout


@pytest.mark.parametrize("url", ["redis://user:secret@host:1", "reddis://:secret@host", "secret@nothing"])
def test_no_password_of_a_url_is_in_an_error(url: str) -> None:
    with pytest.raises(ValueError, match=r"names no sink|cannot share") as failed:
        sink_from_url(url, shards=2)
    assert "secret" not in str(failed.value)
