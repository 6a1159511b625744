"""Upstreams that cannot be followed, as real servers: each refusal has its own reason and its remedy."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from certificates import make_certificates
from kevy_ring.errors import Refusal, RefusalKind
from kevy_ring.inbox.header_words import LinkState
from kevy_ring.replica.backoff import Backoff
from kevy_ring.replica.patience import Patience
from kevy_ring.replica.runner import Runner, RunnerExit
from live_replica import LiveReplica
from recording_sender import RecordingSender
from redis_server import RedisServer, find_redis, find_valkey, redis_version, start_redis
from scripted_peer import PeerConnection, Script, ScriptedPeer

__all__ = ["redis_version", "start_redis"]  # fixtures

DEADLINE_S = 120.0
StartRedis = Callable[..., RedisServer]
newest = pytest.mark.parametrize("redis_version", ["7.0"], indirect=True)


def impatient() -> Patience:
    return Patience(Backoff(0.001, 0.02), Backoff(0.001, 0.02), Backoff(0.001, 0.02))


def refused(url: str, **options: object) -> tuple[Refusal, str]:
    """Follow ``url`` until the refusal is confirmed. Returns the facts and the words."""
    runner = Runner(url, RecordingSender(), patience=impatient(), ends_when_refused=True, **options)  # type: ignore[arg-type]
    exits: list[RunnerExit] = []
    thread = threading.Thread(target=lambda: exits.append(runner.run()), daemon=True)
    thread.start()
    thread.join(DEADLINE_S)
    runner.stop.set()
    thread.join(DEADLINE_S)
    assert exits == [RunnerExit.REFUSED], runner.last_problem
    assert runner.state is LinkState.REFUSED
    found = runner.refusal
    assert found is not None
    assert found.is_confirmed
    assert found.remedy in runner.last_problem
    return found, runner.last_problem


# --- logins and permissions ------------------------------------------------------------------------------------


@pytest.mark.parametrize("login", ["", ":wrong@", "somebody:else@"])
def test_a_missing_or_wrong_login_is_a_refusal_of_the_login(start_redis: StartRedis, login: str) -> None:
    server = start_redis("--requirepass", "open sesame")
    found, _ = refused(f"redis://{login}127.0.0.1:{server.port}")
    assert found.kind is RefusalKind.LOGIN
    assert "check the user and the password (percent-encode reserved characters in a URL)" in found.remedy


def test_a_password_for_a_server_without_one_is_to_be_taken_out(start_redis: StartRedis) -> None:
    found, _ = refused(f"redis://:needless@127.0.0.1:{start_redis().port}")
    assert found.kind is RefusalKind.LOGIN
    assert found.remedy == "the server has no password: give none"


@pytest.mark.parametrize("allowed", [("+ping", "+replconf"), ("+ping", "+psync"), ("+psync", "+replconf")])
def test_the_rule_that_the_remedy_names_lets_a_user_in_who_lacked_a_permission(
    start_redis: StartRedis, allowed: tuple[str, ...]
) -> None:
    server = start_redis()
    client = server.client()
    client.execute_command("ACL", "SETUSER", "repl", "on", ">sesame", *allowed)
    url = f"redis://repl:sesame@127.0.0.1:{server.port}"
    if "+ping" in allowed:
        found, words = refused(url)
        assert found.kind is RefusalKind.PERMISSION
        assert "NOPERM" in words
        assert found.remedy == "run ACL SETUSER repl +psync +replconf +ping on the upstream"
        client.execute_command(*found.remedy.removeprefix("run ").removesuffix(" on the upstream").split())
    with LiveReplica(url) as replica:
        replica.wait_applied(client)


# --- PSYNC -----------------------------------------------------------------------------------------------------


def test_a_forbidden_psync_is_a_refusal_of_the_command(start_redis: StartRedis) -> None:
    found, _ = refused(start_redis("--rename-command", "PSYNC", "").url)
    assert found.kind is RefusalKind.COMMAND
    assert "--psync-command NAME" in found.remedy
    assert "managed services that forbid PSYNC cannot be followed" in found.remedy


def test_a_renamed_psync_is_followed_by_its_name_though_the_server_answers_it_as_sync(start_redis: StartRedis) -> None:
    server = start_redis("--rename-command", "PSYNC", "SECRET")
    client = server.client()
    client.mset({f"key:{n}": n for n in range(5000)})
    with LiveReplica(server.url, psync_command="SECRET") as replica:
        replica.wait_synced()
        client.incrby("counter", 100)
        # A server that answers as to SYNC does not learn what a replica has applied: WAIT does not count the replica.
        offset = client.info("replication")["master_repl_offset"]
        replica.wait_until(lambda: (replica.sender.applied_offset or 0) >= offset, "applied")
        assert client.client_kill_filter(_type="replica") == 1
        client.set("after", "the kill")
        replica.wait_until(lambda: b"after" in replica.keyspace(), "a second full sync")
        assert replica.runner.resume_point is None or len(replica.runner.resume_point.upstream_id) == 40
    assert replica.keyspace()[b"counter"][1] == b"100"


def test_a_name_that_no_command_has_is_a_refusal_that_says_so(start_redis: StartRedis) -> None:
    found, _ = refused(start_redis("--rename-command", "PSYNC", "SECRET").url, psync_command="SECRE")
    assert found.kind is RefusalKind.COMMAND
    assert found.remedy.startswith("the server has no command SECRE")


@pytest.mark.parametrize("name", ["", "a b", "line\n", "ключ", "x" * 65])
def test_a_name_that_cannot_be_a_commands_is_refused_at_once(name: str) -> None:
    with pytest.raises(ValueError, match="visible ASCII"):
        Runner("redis://h", RecordingSender(), psync_command=name)


@pytest.fixture
def sentinel_port(start_redis: StartRedis, redis_version: str, tmp_path: Path) -> Iterator[tuple[int, int]]:
    """The port of a Sentinel, and of the primary that it watches."""
    primary = start_redis()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    configuration = tmp_path / "sentinel.conf"
    configuration.write_text(f"port {port}\nbind 127.0.0.1\nsentinel monitor the-one 127.0.0.1 {primary.port} 1\n")
    command = [str(find_redis(redis_version)), str(configuration), "--sentinel"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=tmp_path)
    try:
        wait_for_port(port)
        yield port, primary.port
    finally:
        process.terminate()
        process.wait(DEADLINE_S)


def wait_for_port(port: int) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        else:
            return


def test_a_sentinel_is_known_and_the_primary_that_it_names_is_told(sentinel_port: tuple[int, int]) -> None:
    port, primary_port = sentinel_port
    found, _ = refused(f"redis://127.0.0.1:{port}")
    assert found.kind is RefusalKind.SENTINEL
    assert f"follow the primary that it names, redis://127.0.0.1:{primary_port} (the-one)" in found.remedy


# --- TLS -------------------------------------------------------------------------------------------------------


@pytest.fixture(params=["no", "yes"], ids=["any client", "clients with a certificate"])
def tls_server(start_redis: StartRedis, tmp_path: Path, request: pytest.FixtureRequest) -> tuple[RedisServer, str, str]:
    """A server with TLS, a query that trusts it, and whether it requires a certificate."""
    made = make_certificates(tmp_path)
    files = ("--tls-cert-file", str(made.certificate), "--tls-key-file", str(made.key))
    wants: str = request.param
    server = start_redis(*files, "--tls-ca-cert-file", str(made.authority), "--tls-auth-clients", wants, tls=True)
    return server, f"?ssl_ca_certs={made.authority}", wants


@newest
@pytest.mark.parametrize(
    ("start", "remedy"),
    [
        ("redis://", "the port speaks TLS: use rediss://"),
        ("redis://:password@", "the port speaks TLS: use rediss://"),
        ("kevy://", "kevy's replication does not"),
        ("rediss://", "ssl_ca_certs=FILE"),
    ],
)
def test_a_port_with_tls_and_a_url_without_is_told(
    tls_server: tuple[RedisServer, str, str], start: str, remedy: str
) -> None:
    found, _ = refused(f"{start}127.0.0.1:{tls_server[0].port}")
    assert found.kind is RefusalKind.TLS
    assert remedy in found.remedy


@newest
@pytest.mark.parametrize("tls_server", ["yes"], indirect=True)
@pytest.mark.parametrize("login", ["", ":password@"])
def test_a_server_that_wants_a_certificate_of_the_replica_is_told(
    tls_server: tuple[RedisServer, str, str], login: str
) -> None:
    server, trust, _ = tls_server
    found, _ = refused(f"rediss://{login}127.0.0.1:{server.port}{trust}")
    assert found.kind is RefusalKind.TLS
    assert "ssl_certfile=FILE" in found.remedy


@pytest.mark.parametrize("login", ["", ":password@"])
def test_a_port_without_tls_and_a_url_with_it_is_told(start_redis: StartRedis, login: str) -> None:
    found, _ = refused(f"rediss://{login}127.0.0.1:{start_redis().port}", connect_timeout_s=0.5)
    assert found.kind is RefusalKind.TLS
    assert found.remedy == "the port does not speak TLS: use redis://"


# --- waiting ---------------------------------------------------------------------------------------------------


def test_a_runner_that_waits_for_minutes_repeats_its_reason_and_ends_at_once_when_stopped(
    start_redis: StartRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kevy_ring.replica.runner.runner.REPEAT_S", 0.2)
    server = start_redis("--requirepass", "open sesame")
    told: list[tuple[LinkState, str]] = []
    runner = Runner(
        server.url,
        RecordingSender(),
        patience=Patience(Backoff(0.01, 0.02), Backoff(300.0, 300.0)),
        notify=lambda state, text: told.append((state, text)),
    )
    thread = threading.Thread(target=runner.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + DEADLINE_S
    while len([text for state, text in told if state is LinkState.REFUSED]) < 4:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert len([state for state, _ in told if state is LinkState.CONNECTING]) == 1  # one attempt, reported four times
    runner.stop.set()
    thread.join(DEADLINE_S)  # and not after 300 s
    assert told[-1][0] is LinkState.STOPPED


def test_a_refusal_that_passes_is_forgotten(start_redis: StartRedis) -> None:
    server = start_redis("--requirepass", "open sesame")
    with LiveReplica(f"redis://:later@127.0.0.1:{server.port}", patience=impatient()) as replica:
        replica.wait_until(lambda: replica.runner.refusal is not None, "refused")
        server.client(password="open sesame").config_set("requirepass", "later")
        replica.wait_synced()
        assert replica.runner.refusal is None


# --- kevy ------------------------------------------------------------------------------------------------------


def test_a_redis_port_behind_a_kevy_url_is_told(start_redis: StartRedis) -> None:
    found, _ = refused(f"kevy://127.0.0.1:{start_redis().port}")
    assert found.kind is RefusalKind.COMMAND
    assert "use redis://" in found.remedy


def plain_port(script: Script) -> Script:
    """The script for handshakes without TLS. It closes a probe for TLS at once."""

    def looked_at(connection: PeerConnection) -> None:
        if connection.read_some()[:1] in (b"*", b"P"):
            script(connection)

    return looked_at


def test_an_upstream_that_closes_both_handshakes_of_kevy_without_a_byte_is_no_primary() -> None:
    with ScriptedPeer(plain_port(lambda connection: None)) as peer:
        found, words = refused(f"kevy://127.0.0.1:{peer.port}")
    assert found.kind is RefusalKind.SILENT
    assert "handshake of kevy2 and of kevy1" in words
    assert "give the replication port of a kevy primary" in found.remedy


def test_a_proxy_whose_redis_is_away_closes_without_a_byte_and_is_no_refusal() -> None:
    sender = RecordingSender()
    with ScriptedPeer(plain_port(lambda connection: None)) as peer:
        runner = Runner(f"redis://127.0.0.1:{peer.port}", sender, patience=impatient(), ends_when_refused=True)
        thread = threading.Thread(target=runner.run, daemon=True)
        thread.start()
        peer.wait_for_connections(12)
        assert runner.refusal is None
        runner.stop.set()
        thread.join(DEADLINE_S)


# --- what fails again and again --------------------------------------------------------------------------------

HISTORY = b"1" * 40


def answers(wire: bytes) -> Script:
    """A primary that accepts the handshake, answers PSYNC with ``wire`` and closes the link."""

    def script(connection: PeerConnection) -> None:
        with contextlib.suppress(EOFError):  # the runner was stopped
            for mark in (b"PING\r\n", b"listening-port", b"9.0.0\r\n"):
                connection.read_until(mark)
                connection.send(b"+OK\r\n")
            connection.read_until(b"PSYNC\r\n")
            connection.send(wire)
        connection.socket.shutdown(socket.SHUT_WR)
        connection.read_to_end()

    return script


@pytest.mark.parametrize("rdb", [b"", b"$1000\r\nREDIS0011", b"-ERR BGSAVE failed, replication can't continue\r\n"])
def test_a_full_sync_that_ends_before_its_rdb_three_times_in_a_row_points_at_bgsave(rdb: bytes) -> None:
    with ScriptedPeer(answers(b"+FULLRESYNC " + HISTORY + b" 100\r\n" + rdb)) as peer:
        found, _ = refused(f"redis://127.0.0.1:{peer.port}")
        assert len(peer.connections) == 3
    assert (found.kind, found.times) == (RefusalKind.SNAPSHOT, 3)
    assert found.remedy == "the primary could not make a snapshot: look for BGSAVE in its log"


@newest
def test_a_primary_whose_bgsave_fails_is_told_and_not_asked_again_and_again(start_redis: StartRedis) -> None:
    server = start_redis("--repl-diskless-sync", "no", "--enable-protected-configs", "yes")
    client = server.client()
    before = client.config_get("dir")["dir"]
    client.config_set("dir", "/proc")  # no file can be made there
    found, _ = refused(server.url)
    assert (found.kind, found.times) == (RefusalKind.SNAPSHOT, 3)
    assert client.info("stats")["sync_full"] == 3
    client.config_set("dir", before)
    with LiveReplica(server.url) as replica:
        replica.wait_applied(client)


def test_a_valkey_9_whose_fields_expire_is_followed_because_it_learns_which_rdb_is_known(tmp_path: Path) -> None:
    server = RedisServer(find_valkey("9.1"), tmp_path / "valkey")
    try:
        client = server.client()
        client.hset("hash", mapping={"field": "value", "kept": "value"})
        client.execute_command("HEXPIRE", "hash", 1000, "FIELDS", 1, "field")
        (at_ms,) = client.execute_command("HPEXPIRETIME", "hash", "FIELDS", 1, "field")
        with LiveReplica(server.url.replace("redis://", "valkey://")) as replica:
            replica.wait_applied(client)
        entry = replica.sink.keyspace()[b"hash"]
        assert entry.value == {b"field": b"value", b"kept": b"value"}
        assert entry.field_expiries == {b"field": at_ms}
        assert client.info("stats")["sync_full"] == 1
    finally:
        server.stop()


def test_the_same_violation_three_times_in_a_row_is_permanent() -> None:
    with ScriptedPeer(answers(b"+NONSENSE\r\n")) as peer:
        found, words = refused(f"redis://127.0.0.1:{peer.port}")
    assert (found.kind, found.times) == (RefusalKind.PROTOCOL, 3)
    assert "+NONSENSE" in words


def test_a_server_that_is_loading_is_waited_for_however_often_it_says_so() -> None:
    sender = RecordingSender()
    with ScriptedPeer(answers(b"-LOADING Redis is loading the dataset in memory\r\n")) as peer:
        runner = Runner(f"redis://127.0.0.1:{peer.port}", sender, patience=impatient(), ends_when_refused=True)
        thread = threading.Thread(target=runner.run, daemon=True)
        thread.start()
        peer.wait_for_connections(8)
        runner.stop.set()
        thread.join(DEADLINE_S)
        assert runner.state is LinkState.STOPPED
