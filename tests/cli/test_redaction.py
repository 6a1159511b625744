"""Texts without secrets, and a running command that shows no secret."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from kevy_ring.cli.redaction import shown_url, without_secrets, without_typed_secrets
from kevy_ring.errors import SegmentError
from kevy_ring.ring import inspect_ring, ring_names
from kevy_ring_command import RunningCommand, is_gone, run_command, wait_until
from redis_server import RedisServer, find_redis

PASSWORD = "open/sesame@7"
TYPED = "open%2Fsesame%407"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("at redis://u:p@h:1, then rediss://:p@h", "at redis://***@h:1, then rediss://***@h"),
        ("redis://u:p@ss/w@h:1", "redis://***@h:1"),
        ("redis://u:***@h:1 is shown already", "redis://u:***@h:1 is shown already"),
        ("redis://h?password=p&db=1", "redis://h?password=***&db=1"),
        ("rediss://h?ssl_password=p", "rediss://h?ssl_password=***"),
        ("mail a@b.c", "mail a@b.c"),
    ],
)
def test_logins_and_password_options_are_taken_out(text: str, expected: str) -> None:
    assert without_secrets(text) == expected


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://u:p@h", "redis://u:***@h:6379"),
        ("redis://u:p w@h:x", "redis://***@h:x"),
        ("redis://u:p@h/{shard}", "redis://***@h/{shard}"),
        ("jsonl:some/where", "jsonl:some/where"),
        ("memory", "memory"),
    ],
)
def test_urls_are_shown_without_their_secrets(url: str, expected: str) -> None:
    assert shown_url(url) == expected


def test_what_was_typed_is_not_repeated_with_a_blank_in_the_password() -> None:
    assert without_typed_secrets("bad: 'redis://u:p q@h'", ["ls", "redis://u:p q@h"]) == "bad: 'redis://***@h'"


@pytest.fixture
def locked_servers(tmp_path: Path) -> Iterator[tuple[RedisServer, RedisServer]]:
    """An upstream and a target that require the same password."""
    binary = find_redis("6.2")
    servers = [RedisServer(binary, tmp_path / name, "--requirepass", PASSWORD) for name in ("upstream", "target")]
    yield servers[0], servers[1]
    for server in servers:
        server.stop()


def shown_of_process(pid: int) -> str:
    """All that other processes can read of a process: command line, environment, title, and those of its threads."""
    parts = []
    for path in ("cmdline", "environ", "comm", "task/*/comm", "task/*/cmdline"):
        for found in Path(f"/proc/{pid}").glob(path):
            with contextlib.suppress(OSError):
                parts.append(found.read_bytes().decode("utf-8", "replace"))
    return "\n".join(parts)


def descendants(pid: int) -> list[int]:
    """The children of every thread of the process, and their children."""
    found: list[int] = []
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in map(int, children.read_text().split()):
                found += [child, *descendants(child)]
    return found


def rings_of(pid: int) -> list[str]:
    """The rings that a process made. Other processes make and remove rings at the same time."""
    found = []
    for name in ring_names():
        with contextlib.suppress(SegmentError):
            if inspect_ring(name).creator_pid == pid:
                found.append(name)
    return found


def is_secret(text: str) -> bool:
    return PASSWORD in text or TYPED in text


@pytest.mark.parametrize("as_json", [True, False])
def test_passwords_of_upstream_and_sink_are_shown_nowhere_while_it_runs_reconnects_and_ends(
    locked_servers: tuple[RedisServer, RedisServer], as_json: bool
) -> None:
    upstream, target = locked_servers
    client = upstream.client(password=PASSWORD)
    client.set("k", "v")
    urls = [f"redis://default:{TYPED}@127.0.0.1:{server.port}" for server in locked_servers]
    options = ["--json"] if as_json else []
    with RunningCommand("ingest", urls[0], "--sink", urls[1], "--duration", "600", *options) as running:
        arrived = target.client(password=PASSWORD)
        wait_until(lambda: arrived.get("k") == b"v")
        children = descendants(running.pid)
        rings = rings_of(running.pid)
        assert len(children) >= 2
        assert rings
        shown = {pid: shown_of_process(pid) for pid in children}
        assert all(shown.values())
        assert not [pid for pid, text in shown.items() if is_secret(text)]
        assert "spawn_main" in "".join(shown.values())
        assert not any(map(is_secret, os.listdir("/dev/shm")))
        for words in (["ls"], ["ls", "--json"], ["inspect", rings[0]], ["inspect", rings[0], "--json"]):
            looked = run_command(*words)
            assert rings[0] in looked.out
            assert not is_secret(looked.out + looked.err)
        # The link breaks, and the password is wrong from now on. The command reports both.
        client.config_set("requirepass", "another")
        client.client_kill_filter(_type="replica")
        wait_until(
            lambda: all(map(is_gone, children)) or b"invalid" in log(upstream) or link_refused(running.pid, client)
        )
        running.signal(signal.SIGINT)
        done = running.finish()
    assert "***@127.0.0.1" in done.out + done.err
    assert not is_secret(done.out + done.err)


def log(server: RedisServer) -> bytes:
    return (server.directory / "log").read_bytes()


def link_refused(pid: int, client: object) -> bool:
    """Whether the server has refused the replica since."""
    stats = client.info("commandstats")  # type: ignore[attr-defined]
    return any(name.lower() == "cmdstat_auth" and figures.get("failed_calls", 0) for name, figures in stats.items())
