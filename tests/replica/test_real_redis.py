"""Real Redis servers as upstreams: the replica ends equal to the primary after any trouble with the link."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis
from test_runner import running

from certificates import make_certificates
from cut_proxy import CutProxy
from kevy_ring.events import SnapshotBegin
from kevy_ring.inbox.header_words import LinkState, ProducerWord
from live_replica import LiveReplica, differences
from recording_sender import RecordingSender
from redis_server import RedisServer, read_keyspace, redis_version, start_redis
from redis_workload import Writes, fill

__all__ = ["redis_version", "start_redis"]  # fixtures

StartRedis = Callable[..., RedisServer]
MANY_KEYS = 100_000
DISK = ("--repl-diskless-sync", "no")
DISKLESS = ("--repl-diskless-sync", "yes")
# A server gives the milliseconds left, not the time of expiry. The test adds them to a time read in the same moment.
EXPIRY_TOLERANCE_MS = 2000
# Redis 6.2 passes an EXPIRE on unchanged, in seconds from now. A replica's expiry is later by the time to apply it.
RELATIVE_EXPIRY_TOLERANCE_MS = 60_000


def assert_equal(replica: LiveReplica, server: RedisServer, *dbs: int, **options: Any) -> None:
    """Stop following and compare every key."""
    replica.stop()
    is_relative = server.client(**options).info("server")["redis_version"].startswith("6.")
    tolerance_ms = RELATIVE_EXPIRY_TOLERANCE_MS if is_relative else EXPIRY_TOLERANCE_MS
    for db in dbs or (0,):
        upstream = read_keyspace(server.client(db, **options))
        found = differences(replica.keyspace(db), upstream, tolerance_ms)
        assert not found, f"db {db}: {len(found)} differences: {found[:10]}"
        assert upstream or dbs, "an empty keyspace proves nothing"


def syncs(client: redis.Redis) -> tuple[int, int]:
    """How often the primary counted a full and a partial sync."""
    info = client.info("stats")
    return info["sync_full"], info["sync_partial_ok"]


# --- full sync -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [DISK, DISKLESS], ids=["disk", "diskless"])
def test_a_full_sync_of_100_000_keys_under_writes_gives_the_same_keys(
    start_redis: StartRedis, mode: tuple[str]
) -> None:
    server = start_redis(*mode)
    client = server.client()
    fill(client, MANY_KEYS)
    with Writes(server.client(), MANY_KEYS) as writes, LiveReplica(server.url) as replica:
        replica.wait_synced()
        writes.streams = True
        seen = writes.count
        replica.wait_until(lambda: writes.count > seen + 200, "writes after the sync")
        writes.close()
        client.set("last", 1)
        replica.wait_applied(client)
        assert replica.word(ProducerWord.FULL_SYNCS) == 1
        assert replica.word(ProducerWord.SNAPSHOT_BYTES) > 1 << 20
        assert (replica.word(ProducerWord.SNAPSHOT_TOTAL) > 0) == (mode is DISK)
        assert replica.shard.skipped == 0
        assert_equal(replica, server)
        assert len(replica.keyspace()) > MANY_KEYS * 0.9


def test_an_empty_primary_is_followed_from_its_first_key(start_redis: StartRedis) -> None:
    server = start_redis()
    client = server.client()
    with LiveReplica(server.url) as replica:
        replica.wait_synced()
        client.mset({"a": 1, "b": 2})
        replica.wait_applied(client)
        assert_equal(replica, server)


def test_a_primary_that_is_restarted_with_other_data_is_followed_again(start_redis: StartRedis) -> None:
    server = start_redis(*DISK)
    client = server.client()
    fill(client, 500)
    with LiveReplica(server.url) as replica:
        replica.wait_applied(client)
        server.restart(forgets=True)
        fill(client, 300)
        replica.wait_until(lambda: replica.word(ProducerWord.FULL_SYNCS) == 2, "a second full sync")
        replica.wait_applied(client)
        assert_equal(replica, server)
        assert b"key:400" not in replica.keyspace()


def test_a_primary_that_is_restarted_with_its_data_is_followed_again(start_redis: StartRedis) -> None:
    server = start_redis(*DISK)
    client = server.client()
    fill(client, 500)
    with LiveReplica(server.url) as replica:
        replica.wait_applied(client)
        client.save()
        server.restart()
        client.set("after the restart", 1)
        replica.wait_until(lambda: client.info("replication")["connected_slaves"] == 1, "connected")
        replica.wait_applied(client)
        assert_equal(replica, server)
        assert b"key:400" in replica.keyspace()


# --- lost links ------------------------------------------------------------------------------------------------


def test_a_cut_link_is_resumed_without_a_second_full_sync(start_redis: StartRedis) -> None:
    server = start_redis(*DISKLESS)
    client = server.client()
    fill(client, 2000)
    with CutProxy(server.port) as proxy, LiveReplica(f"redis://127.0.0.1:{proxy.port}") as replica:
        replica.wait_synced()
        for round_ in range(3):
            proxy.refusing = True
            proxy.cut()
            client.set(f"while it was cut {round_}", "x" * 1000)
            client.xadd("stream", {"round": round_})
            proxy.refusing = False
            client.set(f"and after {round_}", 1)
            replica.wait_applied(client)
        assert syncs(client) == (1, 3)
        assert (replica.word(ProducerWord.FULL_SYNCS), replica.word(ProducerWord.PARTIAL_SYNCS)) == (1, 3)
        assert_equal(replica, server)


def test_a_link_that_is_cut_again_and_again_under_writes_loses_nothing(start_redis: StartRedis) -> None:
    server = start_redis(*DISK)
    client = server.client()
    fill(client, 1000)
    with (
        Writes(server.client(), 1000) as writes,
        CutProxy(server.port) as proxy,
        LiveReplica(f"redis://127.0.0.1:{proxy.port}") as replica,
    ):
        replica.wait_synced()
        writes.streams = True
        proxy.limits = [5_000, 1, 20_001, 100, 3]
        proxy.cut()
        replica.wait_until(lambda: proxy.cuts == 5, "five cuts")
        writes.close()
        client.set("last", 1)
        replica.wait_applied(client)
        assert syncs(client)[0] == 1
        assert_equal(replica, server)


@pytest.mark.parametrize("mode", [DISK, DISKLESS], ids=["disk", "diskless"])
def test_a_cut_in_mid_rdb_is_followed_by_a_whole_one(start_redis: StartRedis, mode: tuple[str, str]) -> None:
    server = start_redis(*mode)
    client = server.client()
    fill(client, 20_000)
    with CutProxy(server.port, 300_000, 60) as proxy, LiveReplica(f"redis://127.0.0.1:{proxy.port}") as replica:
        replica.wait_applied(client)
        assert proxy.cuts == 2
        assert replica.shard.snapshots == 1
        assert replica.word(ProducerWord.FULL_SYNCS) >= 2
        assert_equal(replica, server)


def test_client_kill_type_replica_is_a_link_that_is_resumed(start_redis: StartRedis) -> None:
    server = start_redis()
    client = server.client()
    fill(client, 500)
    with LiveReplica(server.url) as replica:
        replica.wait_synced()
        for _ in range(3):
            replica.wait_until(lambda: client.info("replication")["connected_slaves"] == 1, "connected")
            assert client.client_kill_filter(_type="replica") == 1
            client.incr("counter")
            replica.wait_applied(client)
        assert syncs(client)[0] == 1
        assert replica.word(ProducerWord.RECONNECTS) >= 3
        assert_equal(replica, server)


def test_a_replica_that_fell_out_of_the_backlog_is_synced_anew(start_redis: StartRedis) -> None:
    server = start_redis("--repl-backlog-size", "16kb")
    client = server.client()
    fill(client, 500)
    with CutProxy(server.port) as proxy, LiveReplica(f"redis://127.0.0.1:{proxy.port}") as replica:
        replica.wait_synced()
        proxy.refusing = True
        proxy.cut()
        for i in range(100):
            client.set(f"too much {i}", "x" * 1000)
        client.delete("key:8")
        proxy.refusing = False
        replica.wait_applied(client)
        assert syncs(client) == (2, 0)
        assert_equal(replica, server)


# --- the stream ------------------------------------------------------------------------------------------------


def test_wait_on_the_primary_counts_the_replica(start_redis: StartRedis) -> None:
    server = start_redis()
    client = server.client()
    with LiveReplica(server.url) as replica:
        replica.wait_synced()
        replica.wait_until(lambda: client.wait(1, 500) == 1, "the first acknowledgement")
        for i in range(20):
            client.set("k", i)
            assert client.wait(1, 20_000) == 1
            assert replica.sender.applied_offset is not None
        assert_equal(replica, server)


def test_selected_databases_survive_a_cut(start_redis: StartRedis) -> None:
    server = start_redis()
    clients = [server.client(db) for db in range(10)]
    for db in (0, 3, 9):
        fill(clients[db], 100)
    with CutProxy(server.port) as proxy, LiveReplica(f"redis://127.0.0.1:{proxy.port}") as replica:
        replica.wait_synced()
        for db in (9, 0, 3, 3, 9):
            clients[db].set("a key of all", f"in {db}")
        replica.wait_applied(clients[9])
        proxy.cut()
        clients[9].rpush("only in 9", "first")
        clients[9].rpush("only in 9", "second")
        clients[3].move("a key of all", 7)
        clients[9].swapdb(0, 9) if hasattr(clients[9], "swapdb") else clients[9].execute_command("SWAPDB", 0, 9)
        replica.wait_applied(clients[9])
        assert_equal(replica, server, 0, 3, 7, 9)
        assert replica.keyspace(0)[b"only in 9"] == ("list", [b"first", b"second"], None)


def test_a_transaction_arrives_whole_and_in_order(start_redis: StartRedis) -> None:
    server = start_redis()
    client = server.client()
    sender = RecordingSender()
    with running(server.url, sender):
        sender.wait_until(lambda: sender.word(ProducerWord.LINK_STATE) == LinkState.STREAMING)
        sender.wait_until(lambda: sender.count(SnapshotBegin) == 1 and not sender.loading)
        with client.pipeline(transaction=True) as transaction:
            transaction.set("a", 1).incr("a").rpush("l", "x", "y")
            transaction.execute()
        sender.wait_until(lambda: any(frame.argv == [b"EXEC"] for frame in sender.frames))
    words = [[bytes(word) for word in frame.argv] for frame in sender.frames]
    assert words[-5:] == [
        [b"MULTI"], [b"SET", b"a", b"1"], [b"INCR", b"a"], [b"RPUSH", b"l", b"x", b"y"], [b"EXEC"],
    ] or words[-5:] == [
        [b"MULTI"], [b"SET", b"a", b"1"], [b"INCRBY", b"a", b"1"], [b"RPUSH", b"l", b"x", b"y"], [b"EXEC"],
    ]  # fmt: skip
    assert sender.offsets == sorted(set(sender.offsets))


def test_transactions_and_scripts_give_the_same_keys(start_redis: StartRedis) -> None:
    server = start_redis()
    client = server.client()
    with LiveReplica(server.url) as replica:
        replica.wait_synced()
        for i in range(50):
            with client.pipeline(transaction=True) as transaction:
                transaction.set("a", i).zincrby("z", 1, f"m{i % 5}").expire("a", 10_000).hset("h", f"f{i}", i)
                transaction.execute()
            client.eval("redis.call('SADD', 's', ARGV[1]); return redis.call('SPOP', 's2')", 0, i)
        replica.wait_applied(client)
        assert_equal(replica, server)


def test_a_replica_that_loads_for_long_is_not_cut_off(start_redis: StartRedis) -> None:
    server = start_redis("--repl-timeout", "2", "--repl-ping-replica-period", "1")
    client = server.client()
    fill(client, 100)
    sender = RecordingSender(applies=False)
    with running(server.url, sender):
        sender.wait_until(lambda: client.info("replication")["connected_slaves"] == 1)
        ends = time.monotonic() + 5
        sender.wait_until(lambda: time.monotonic() > ends)
        assert sender.word(ProducerWord.RECONNECTS) == 0
        assert sender.count(SnapshotBegin) == 1
        client.set("still", "here")
        sender.wait_until(lambda: any(b"still" in frame.argv for frame in sender.frames))


# --- getting in ------------------------------------------------------------------------------------------------


def test_an_acl_user_with_just_the_replication_commands_gets_in(start_redis: StartRedis) -> None:
    server = start_redis()
    client = server.client()
    client.execute_command("ACL", "SETUSER", "repl", "on", ">open/sesame", "+psync", "+replconf", "+ping")
    client.execute_command("ACL", "SETUSER", "default", ">other words")
    fill(client, 100)
    with LiveReplica(f"redis://repl:open%2Fsesame@127.0.0.1:{server.port}") as replica:
        replica.wait_applied(client)
        assert_equal(replica, server, password="other words")


def test_the_password_of_the_default_user_gets_in(start_redis: StartRedis) -> None:
    server = start_redis("--requirepass", "open sesame")
    client = server.client(password="open sesame")
    fill(client, 100)
    with LiveReplica(f"redis://:open%20sesame@127.0.0.1:{server.port}") as replica:
        replica.wait_applied(client)
        assert_equal(replica, server, password="open sesame")


@pytest.mark.parametrize(
    ("login", "reply"),
    [("", "NOAUTH"), (":wrong@", "invalid username-password"), ("ping:open@", "NOPERM")],
)
def test_a_login_that_does_not_do_is_refused_in_the_servers_words_until_it_does(
    start_redis: StartRedis, login: str, reply: str
) -> None:
    server = start_redis()
    client = server.client()
    client.execute_command("ACL", "SETUSER", "ping", "on", ">open", "+ping", "+replconf")
    fill(client, 100)
    client.execute_command("ACL", "SETUSER", "default", ">open")
    with LiveReplica(f"redis://{login}127.0.0.1:{server.port}") as replica:
        replica.wait_until(lambda: replica.word(ProducerWord.LINK_STATE) == LinkState.REFUSED, "refused")
        assert reply in replica.runner.last_problem
        assert replica.sender.applied_offset is None
        client.execute_command("ACL", "SETUSER", "ping", "+psync")
        client.execute_command("ACL", "SETUSER", "default", ">wrong" if "wrong" in login else "nopass")
        replica.wait_applied(client)
        assert_equal(replica, server, **({"password": "wrong"} if "wrong" in login else {}))


@pytest.mark.parametrize("redis_version", ["7.0"], indirect=True)
def test_tls_with_a_certificate_on_both_sides(start_redis: StartRedis, tmp_path: Path) -> None:
    made = make_certificates(tmp_path)
    server = start_redis(
        "--tls-cert-file", str(made.certificate), "--tls-key-file", str(made.key),
        "--tls-ca-cert-file", str(made.authority), "--tls-auth-clients", "yes", "--requirepass", "open", tls=True,
    )  # fmt: skip
    trust = {
        "ssl": True, "ssl_ca_certs": str(made.authority), "ssl_certfile": str(made.certificate),
        "ssl_keyfile": str(made.key), "host": "localhost", "password": "open",
    }  # fmt: skip
    client = server.client(**trust)
    fill(client, 20_000)
    query = f"ssl_ca_certs={made.authority}&ssl_certfile={made.certificate}&ssl_keyfile={made.key}"
    with CutProxy(server.port) as proxy, LiveReplica(f"rediss://:open@localhost:{proxy.port}?{query}") as replica:
        replica.wait_applied(client)
        proxy.cut()
        client.set("after the cut", "x" * 100_000)
        replica.wait_applied(client)
        assert syncs(client) == (1, 1)
        assert_equal(replica, server, **trust)


def test_a_unix_socket_is_an_address_too(start_redis: StartRedis, tmp_path: Path) -> None:
    server = start_redis("--unixsocket", str(tmp_path / "s"))
    client = server.client()
    fill(client, 100)
    with LiveReplica(f"unix://{tmp_path}/s") as replica:
        replica.wait_applied(client)
        assert_equal(replica, server)
