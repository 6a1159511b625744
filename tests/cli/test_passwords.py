"""Passwords from files and the environment: they work on real servers, and no output has them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from asked_options import asked
from kevy_ring.cli.command import run
from kevy_ring_command import RunningCommand, run_command
from redis_server import RedisServer, find_redis

#: Characters that a URL, a shell or a template would change.
SECRET = "s3cret/@:%41 {shard} ü"
OTHER = "another#secret"


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[list[RedisServer]]:
    """An upstream with an ACL user and no other way in, and a target with a password."""
    upstream = RedisServer(find_redis("7.0"), tmp_path / "upstream")
    target = RedisServer(find_redis("6.2"), tmp_path / "target")
    client = upstream.client()
    client.set("a", "1")
    client.execute_command(
        "ACL", "SETUSER", "repl", "reset", "on", f">{SECRET}", "~*", "+psync", "+replconf", "+ping", "+info", "+cluster"
    )
    client.execute_command("ACL", "SETUSER", "default", f">{OTHER}")
    target.client().config_set("requirepass", OTHER)
    yield [upstream, target]
    for server in (upstream, target):
        server.stop()


def written(directory: Path, content: bytes, name: str = "password") -> str:
    path = directory / name
    path.write_bytes(content)
    return str(path)


def facts_of(pid: int) -> str:
    """What other programs can read of a process without a debugger: its command line and its environment."""
    return "".join(
        Path(f"/proc/{pid}/{name}").read_bytes().decode("utf-8", "replace") for name in ("cmdline", "environ")
    )


def test_an_acl_user_and_a_target_with_passwords_from_files_and_no_trace_of_them(
    servers: list[RedisServer], tmp_path: Path
) -> None:
    upstream, target = servers
    arguments = (
        f"redis://repl@127.0.0.1:{upstream.port}", "--password-file", written(tmp_path, f"{SECRET}\n".encode()),
        "--sink", f"redis://127.0.0.1:{target.port}/3",
        "--sink-password-file", written(tmp_path, OTHER.encode(), "other"), "--json",
    )  # fmt: skip
    with RunningCommand("ingest", *arguments, until_told=True) as running:
        told = running.read_until(lambda found: found["type"] == "progress" and found["shards"][0]["snapshots"] == 1)
        facts = "".join(map(facts_of, [running.pid, *running.children()]))
        assert "kevy_ring" in facts
        ring = told["shards"][0]["ring"]
        inspected = run_command("inspect", ring, "--json").out
        running.end_duration()
        done = running.finish()
    assert done.code == 0, done.err
    assert target.client(3, password=OTHER).get("a") == b"1"
    assert json.loads(inspected)["label"] == (f"redis://127.0.0.1:{upstream.port} → redis://127.0.0.1:{target.port}/3")
    for text in (facts, inspected, json.dumps(told), done.out, done.err):
        assert not any(secret in text for secret in (SECRET, OTHER, "s3cret", "another"))


def test_passwords_from_the_environment_are_not_passed_on_to_the_children(
    servers: list[RedisServer], tmp_path: Path
) -> None:
    upstream, _ = servers
    environment = {
        "KEVY_RING_URLS": f"redis://repl@127.0.0.1:{upstream.port}",
        "KEVY_RING_PASSWORD": SECRET,
        "KEVY_RING_SINK": "memory",
        "KEVY_RING_VERIFY": "1",
        "KEVY_RING_DATA_URL": f"redis://:{OTHER.replace('#', '%23')}@127.0.0.1:{upstream.port}",
        "KEVY_RING_JSON": "1",
    }
    with RunningCommand("ingest", **environment) as running:
        running.read_until(lambda found: found["type"] == "progress" and found["shards"][0]["link"] != "none")
        children = running.children()
        assert len(children) >= 2
        facts = "".join(map(facts_of, children))
        done = running.finish()
    assert done.code == 0, done.err
    assert done.summary["verified"]
    assert "KEVY_RING_SINK" in facts
    assert not any(text in facts for text in ("s3cret", "another", "KEVY_RING_PASSWORD", "KEVY_RING_URLS=redis://:"))
    assert "s3cret" not in done.out + done.err


@pytest.mark.parametrize("ending", ["", "\n", "\r\n"])
def test_one_line_break_at_the_end_of_the_file_is_not_a_part_of_the_password(ending: str, tmp_path: Path) -> None:
    path = written(tmp_path, f" {SECRET} {ending}".encode())
    found = asked("redis://me@h", "unix:///run/r.sock", "kevy://h:1", "--sink", "null", "--password-file", path)
    assert [each.options.get("password") for each in found.upstreams] == [f" {SECRET} ", f" {SECRET} ", None]
    assert found.upstreams[0].options["username"] == "me"
    assert found.upstreams[1].path == "/run/r.sock"


def test_each_password_reaches_its_own_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEVY_RING_PASSWORD", "one")
    monkeypatch.setenv("KEVY_RING_SINK_PASSWORD", "two")
    monkeypatch.setenv("KEVY_RING_DATA_PASSWORD", "three")
    found = asked("redis://h:1", "redis://h:2", "--sink", "redis://h:3/{shard}", "--data-url", "redis://h:4")
    assert [each.options["password"] for each in (*found.upstreams, *found.sources)] == ["one", "one", "three"]
    assert found.sink == "redis://:two@h:3/{shard}"


def test_a_password_comes_from_a_pipe_too() -> None:
    read, write = os.pipe()
    os.write(write, b"piped\n")
    os.close(write)
    try:
        found = asked("redis://h", "--sink", "null", "--password-file", f"/dev/fd/{read}")
    finally:
        os.close(read)
    assert found.upstreams[0].options["password"] == "piped"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "it cannot be read: No such file or directory"),
        (b"", "it is empty"),
        (b"\n", "it is empty"),
        (b"open-sesame\n\n", "it has more than one line, so it is no password"),
        (b"open-sesame\xff", "it is not UTF-8 text"),
        (b"open-sesame" * 10_000, "it holds no password: it has more than 65536 bytes"),
    ],
)
def test_a_file_without_a_password_is_one_error(
    content: bytes | None, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(tmp_path / "none") if content is None else written(tmp_path, content)
    for option in ("--password-file", "--sink-password-file", "--data-password-file"):
        assert run(["ingest", "redis://h", "--sink", "redis://i", "--data-url", "redis://d", option, path]) == 2
        err = capsys.readouterr().err
        assert err.splitlines()[-1] == f"kevy-ring: {option} {path}: {words}"
        assert "sesame" not in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ("redis://me:open-sesame@h",),
            "redis://me:***@h:6379: its password was given twice: in the URL and beside it",
        ),
        (("redis://h?password=open-sesame",), "its password was given twice: in the URL and beside it"),
        (("kevy://h:1", "--sink", "null"), "there is no redis:// upstream: kevy:// has no login"),
        ((), "there is no redis:// upstream"),
        (("redis://h", "--password", "open-sesame"), "--password is refused: every user of this machine can read"),
        (("redis://h", "--sink-password=open-sesame"), "Give --sink-password-file FILE or KEVY_RING_SINK_PASSWORD"),
    ],
)
def test_a_password_given_twice_or_for_no_server_or_typed_is_refused(
    arguments: tuple[str, ...], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["ingest", *arguments, "--password-file", written(tmp_path, b"open-sesame")]) == 2
    err = capsys.readouterr().err
    assert words in err
    assert "sesame" not in err


def test_a_password_for_no_sink_or_no_data_url_or_from_two_places_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, b"open-sesame")
    for option, words in (
        ("--sink-password-file", "a password for the sink was given, but --sink is no redis:// URL"),
        ("--data-password-file", "a password for the data was given, but no --data-url"),
    ):
        assert run(["ingest", "redis://h", "--sink", "null", option, path]) == 2
        assert words in capsys.readouterr().err
    monkeypatch.setenv("KEVY_RING_PASSWORD", "open-sesame")
    assert run(["ingest", "redis://h", "--password-file", path]) == 2
    err = capsys.readouterr().err
    assert "a password was given twice: by --password-file and by KEVY_RING_PASSWORD" in err
    assert "sesame" not in err
