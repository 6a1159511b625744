"""The loop of the upstream in a thread: ports, wrong clients, limits, and other descriptors that it watches."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager

import pytest

from kevy_ring.testing import primary_loop
from kevy_ring.testing.options import PrimaryOptions
from kevy_ring.testing.primary_loop import PrimaryLoop, listen
from kevy_ring.testing.upstream_shard import UpstreamShard
from kevy_ring.testing.workload import Workload
from plain_replica import PATIENCE_S, PlainReplica


@contextmanager
def running(
    on_turn: Callable[[], None] | None = None, before: Callable[[PrimaryLoop], None] | None = None
) -> Iterator[int]:
    """A loop with one shard in a thread. Yields its port."""
    listeners = listen(1)
    port: int = listeners[0].getsockname()[1]
    workload = Workload(shard=0, shards=1, keys=20, ops=50)
    loop = PrimaryLoop([UpstreamShard(workload, generation=9, backlog_bytes=1 << 20)], listeners, PrimaryOptions())
    if before is not None:
        before(loop)
    thread = threading.Thread(target=loop.run, args=(on_turn,), daemon=True)
    thread.start()
    try:
        yield port
    finally:
        loop.stop()
        thread.join(PATIENCE_S)
        assert not thread.is_alive()


def test_listeners_have_ports_in_a_row() -> None:
    listeners = listen(5)
    ports = [listener.getsockname()[1] for listener in listeners]
    with pytest.raises(OSError, match="free ports"):
        listen(3, ports[0] - 2)
    for listener in listeners:
        listener.close()
    assert ports == list(range(ports[0], ports[0] + 5))
    again = listen(5, ports[0])
    assert [listener.getsockname()[1] for listener in again] == ports
    for listener in again:
        listener.close()


def test_ports_beyond_the_last_one_are_an_error() -> None:
    with pytest.raises(OSError, match="free ports"):
        listen(2, 65535)


def test_a_peer_that_does_not_introduce_itself_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(primary_loop, "HANDSHAKE_TIMEOUT_S", 0.2)
    with running() as port, PlainReplica(port) as replica:
        replica.sync()
        with closing(socket.create_connection(("127.0.0.1", port), PATIENCE_S)) as stranger:
            stranger.sendall(b"*5\r\n$9\r\n")
            assert stranger.recv(1) == b""
        replica.follow(70)


def test_one_peer_too_many_is_closed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(primary_loop, "MAX_LINKS", 3)
    with running() as port, ExitStack() as stack:
        replicas = [stack.enter_context(PlainReplica(port)) for _ in range(3)]
        for replica in replicas:
            replica.sync()
        with closing(socket.create_connection(("127.0.0.1", port), PATIENCE_S)) as fourth:
            assert fourth.recv(1) == b""
        for replica in replicas:
            replica.follow(70)


def test_the_loop_watches_what_it_is_given_and_tells_its_turns() -> None:
    turns: list[float] = []
    heard: list[bytes] = []
    end, theirs = os.pipe()
    with (
        open(end, "rb", buffering=0) as source,
        open(theirs, "wb", buffering=0) as other,
        running(
            lambda: turns.append(time.monotonic()),
            lambda loop: loop.watch(source, lambda: heard.append(source.read(9))),
        ),
    ):
        other.write(b"hello")
        deadline_s = time.monotonic() + PATIENCE_S
        while (not heard or len(turns) < 3) and time.monotonic() < deadline_s:
            time.sleep(0.01)
        assert heard == [b"hello"]
        assert len(turns) >= 3


def test_an_idle_loop_sleeps() -> None:
    turns: list[None] = []
    with running(lambda: turns.append(None)) as port, PlainReplica(port) as replica:
        replica.follow(70)
        replica.pings.clear()
        while not replica.pings:
            replica.read_unit()
        before = len(turns)
        while len(replica.pings) < 2:
            replica.read_unit()
        assert len(turns) - before < 100
