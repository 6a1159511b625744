"""The embedded upstream over real sockets, followed by a plain replica."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from kevy_ring.errors import ClosedError, PrimaryGone
from kevy_ring.replica.snapshots.canonical import digest_frames
from kevy_ring.testing.options import PrimaryOptions
from kevy_ring.testing.primary import EmbeddedPrimary, UpstreamStatus, serve
from kevy_ring.testing.primary_loop import listen
from plain_replica import PATIENCE_S, PlainReplica


def eventually(is_so: Callable[[], bool]) -> None:
    """Wait until the condition holds."""
    deadline_s = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < deadline_s, "it never came to be so"
        time.sleep(0.01)


def is_running(pid: int) -> bool:
    """False for a zombie too, because another process reaps an orphan."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in {"Z", "X"}


def assert_followed(primary: EmbeddedPrimary, shard: int, replica: PlainReplica) -> None:
    """Assert that the replica has everything that the shard has."""
    replica.follow(primary.final_offset(shard) + 1)
    assert replica.next_offset == primary.final_offset(shard) + 1
    assert replica.keyspace.entries == primary.keyspace(shard)


@pytest.fixture
def still() -> Iterator[EmbeddedPrimary]:
    """One shard whose live frames wait for ``start_live``."""
    with EmbeddedPrimary.start(shards=1, keys=300, ops=4000, auto_live=False, big_values=1) as primary:
        yield primary


@pytest.mark.parametrize("protocol", [1, 2])
def test_a_replica_of_every_shard_ends_with_the_keys_of_the_upstream(protocol: int) -> None:
    with EmbeddedPrimary.start(shards=2, keys=501, ops=6001, big_values=3) as primary:
        assert primary.ports == [primary.ports[0], primary.ports[0] + 1]
        assert primary.url == f"kevy://127.0.0.1:{primary.ports[0]}"
        with PlainReplica(primary.ports[0], protocol) as first, PlainReplica(primary.ports[1], protocol) as second:
            first.sync()
            second.sync()
            assert [first.next_offset, second.next_offset] == [primary.first_offset(0), primary.first_offset(1)]
            assert_followed(primary, 0, first)
            assert_followed(primary, 1, second)
            assert primary.live_done()
            assert digest_frames(first.frames) == primary.frame_digest(0)
            assert len(first.frames) + len(second.frames) == 6001
            tail = second.frames[-10:]
            assert digest_frames(tail) == primary.frame_digest(1, start_offset=tail[0].offset)


def test_without_keys_the_stream_starts_at_offset_0_without_a_snapshot() -> None:
    with EmbeddedPrimary.start(shards=1, keys=0, ops=500) as primary, PlainReplica(primary.ports[0]) as replica:
        assert_followed(primary, 0, replica)
        assert (replica.snapshots, len(replica.frames)) == (0, 500)


def test_live_frames_wait_until_every_shard_has_a_synced_replica() -> None:
    with EmbeddedPrimary.start(shards=2, keys=20, ops=100) as primary, PlainReplica(primary.ports[0]) as first:
        first.sync()
        first.acknowledge()
        eventually(lambda: primary.acked(0) == {b"replica": 10})
        assert [primary.next_offset(shard) for shard in (0, 1)] == [10, 10]
        with PlainReplica(primary.ports[1]) as second:
            assert_followed(primary, 1, second)
            assert_followed(primary, 0, first)


def test_live_frames_are_prepared_before_they_start(still: EmbeddedPrimary) -> None:
    eventually(still.live_ready)
    assert not still.live_done()
    assert still.next_offset(0) == still.first_offset(0)
    still.start_live()
    eventually(still.live_done)
    assert still.next_offset(0) == still.final_offset(0) + 1


@pytest.mark.parametrize("protocol", [1, 2])
def test_a_replica_that_comes_back_continues_where_it_stopped(still: EmbeddedPrimary, protocol: int) -> None:
    with PlainReplica(still.ports[0], protocol) as replica:
        replica.sync()
        still.start_live()
        replica.follow(1500)
        replica.close()
        replica.connect(still.ports[0])
        assert_followed(still, 0, replica)
        assert replica.snapshots == 1
        assert digest_frames(replica.frames) == still.frame_digest(0)


def test_a_replica_that_comes_back_too_late_gets_a_new_snapshot() -> None:
    with (
        EmbeddedPrimary.start(shards=1, keys=300, ops=4000, auto_live=False, backlog_bytes=20_000) as primary,
        PlainReplica(primary.ports[0]) as replica,
    ):
        replica.sync()
        replica.close()
        eventually(lambda: primary.links(0) == 0)
        primary.start_live()
        eventually(primary.live_done)
        replica.connect(primary.ports[0])
        replica.sync()
        assert (replica.snapshots, replica.next_offset) == (2, primary.final_offset(0) + 1)
        assert_followed(primary, 0, replica)


def test_another_generation_gets_a_snapshot(still: EmbeddedPrimary) -> None:
    with PlainReplica(still.ports[0]) as replica:
        replica.sync()
        replica.close()
        replica.generation += 1
        replica.connect(still.ports[0])
        replica.sync()
        assert replica.snapshots == 2
        assert replica.generation == still.generation


def test_without_a_rate_the_only_replica_is_never_left_behind() -> None:
    with (
        EmbeddedPrimary.start(shards=1, keys=10, ops=30_000, backlog_bytes=20_000, big_values=2) as primary,
        PlainReplica(primary.ports[0], receive_bytes=4096) as replica,
    ):
        replica.sync()
        time.sleep(0.3)
        assert_followed(primary, 0, replica)
        assert replica.snapshots == 1


def test_two_replicas_follow_at_once(still: EmbeddedPrimary) -> None:
    with PlainReplica(still.ports[0], 1, b"one") as one, PlainReplica(still.ports[0], 2, b"two") as two:
        one.sync()
        two.sync()
        assert still.links(0) == 2
        still.start_live()
        assert_followed(still, 0, one)
        assert_followed(still, 0, two)
        one.acknowledge()
        two.acknowledge()
        position = still.final_offset(0) + 1
        eventually(lambda: still.acked(0) == {b"one": position, b"two": position})


def test_a_replica_that_stopped_reading_holds_nobody_up_and_loses_its_place() -> None:
    with (
        EmbeddedPrimary.start(
            shards=1, keys=10, ops=100_000, value_bytes=500, backlog_bytes=100_000, auto_live=False
        ) as primary,
        PlainReplica(primary.ports[0], name=b"stopped", receive_bytes=4096) as stopped,
        PlainReplica(primary.ports[0], name=b"good") as good,
    ):
        stopped.sync()
        good.sync()
        primary.start_live()
        assert_followed(primary, 0, good)
        assert good.snapshots == 1
        with pytest.raises((EOFError, ConnectionError)):
            stopped.follow(primary.final_offset(0) + 1)
        stopped.close()
        stopped.connect(primary.ports[0])
        stopped.sync()
        assert_followed(primary, 0, stopped)


def test_a_rate_spreads_the_frames_over_time() -> None:
    with (
        EmbeddedPrimary.start(shards=2, keys=10, ops=1000, rate=1000) as primary,
        PlainReplica(primary.ports[0]) as first,
        PlainReplica(primary.ports[1]) as second,
    ):
        first.sync()
        second.sync()
        started_s = time.monotonic()
        assert_followed(primary, 0, first)
        assert_followed(primary, 1, second)
        assert time.monotonic() - started_s > 0.5


def test_pings_tell_the_generation_and_the_next_offset_about_every_second(still: EmbeddedPrimary) -> None:
    with PlainReplica(still.ports[0]) as replica:
        replica.sync()
        replica.pings.clear()
        started_s = time.monotonic()
        while len(replica.pings) < 3:
            replica.read_unit()
        assert replica.pings == [300, 300, 300]
        assert time.monotonic() - started_s > 1.0


@pytest.mark.parametrize(("spoken", "tried"), [(1, 2), (2, 1)])
def test_a_replica_of_the_other_protocol_is_refused_without_a_byte(spoken: int, tried: int) -> None:
    with EmbeddedPrimary.start(shards=1, keys=5, ops=0, protocol=spoken) as primary:
        with PlainReplica(primary.ports[0], tried) as refused:
            assert refused.socket.recv(1) == b""
        with PlainReplica(primary.ports[0], spoken) as accepted:
            accepted.sync()
            assert accepted.keyspace.entries == primary.keyspace(0)


def test_hostile_requests_close_only_their_own_link(still: EmbeddedPrimary) -> None:
    with PlainReplica(still.ports[0]) as honest:
        honest.sync()
        for request in (b"x" * 100_000, b"\x00" * 300, b"*5\r\n$999999999\r\n", b"GET / HTTP/1.1\r\n\r\n", b"*" * 5000):
            with closing(socket.create_connection(("127.0.0.1", still.ports[0]), PATIENCE_S)) as hostile:
                answer = b""
                try:
                    hostile.sendall(request)
                    while received := hostile.recv(4096):
                        answer += received
                except ConnectionError:
                    pass
                assert answer == b"" or answer.startswith(b"-ERR")
        still.start_live()
        assert_followed(still, 0, honest)


def test_links_cut_in_the_middle_of_a_snapshot_start_it_anew() -> None:
    with (
        EmbeddedPrimary.start(shards=1, keys=300, ops=1000, big_values=24) as primary,
        PlainReplica(primary.ports[0], receive_bytes=4096) as replica,
    ):
        while not replica.read_unit().startswith(b"$"):
            pass
        assert primary.drop_links() == 1
        with pytest.raises((EOFError, ConnectionError)):
            replica.sync()
        assert replica.in_snapshot
        assert (replica.next_offset, replica.keyspace.entries) == (0, {})
        replica.close()
        replica.connect(primary.ports[0])
        assert_followed(primary, 0, replica)
        assert replica.snapshots == 1


def test_links_cut_in_the_stream_go_on_after_reconnecting() -> None:
    with (
        EmbeddedPrimary.start(shards=1, keys=50, ops=3000, rate=6000) as primary,
        PlainReplica(primary.ports[0]) as replica,
    ):
        for _ in range(3):
            replica.follow(replica.next_offset + 300)
            assert primary.drop_links(0) == 1
            with pytest.raises((EOFError, ConnectionError)):
                replica.follow(primary.final_offset(0) + 1)
            replica.close()
            replica.connect(primary.ports[0])
        assert_followed(primary, 0, replica)
        assert replica.snapshots == 1
        assert digest_frames(replica.frames) == primary.frame_digest(0)


def test_a_port_that_is_taken_is_an_error() -> None:
    listeners = listen(2)
    try:
        port = listeners[1].getsockname()[1]
        assert port == listeners[0].getsockname()[1] + 1
        with pytest.raises(OSError, match="free ports"):
            EmbeddedPrimary.start(shards=1, keys=0, ops=0, port=port)
    finally:
        for listener in listeners:
            listener.close()


@pytest.mark.parametrize(
    "arguments",
    [{"shards": 0}, {"keys": -1}, {"rate": 0}, {"rate": -5.0}, {"backlog_bytes": 0}, {"protocol": 3}],
)
def test_arguments_out_of_range_are_refused_before_anything_starts(arguments: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r".+"):
        EmbeddedPrimary.start(**arguments)  # type: ignore[arg-type]


def test_closing_ends_the_process_and_the_handle(still: EmbeddedPrimary) -> None:
    assert is_running(still.pid)
    still.close()
    still.close()
    assert not is_running(still.pid)
    with pytest.raises(ClosedError):
        still.live_done()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_process_that_was_ended_is_reported(still: EmbeddedPrimary, number: signal.Signals) -> None:
    os.kill(still.pid, number)
    eventually(lambda: not is_running(still.pid))
    with pytest.raises(PrimaryGone) as caught:
        still.live_done()
    assert caught.value.pid == still.pid
    assert caught.value.exitcode == (0 if number == signal.SIGTERM else -signal.SIGKILL)


PARENT = """
import os, sys, time
from kevy_ring.testing import EmbeddedPrimary
if __name__ == "__main__":
    primary = EmbeddedPrimary.start(shards=1, keys=5, ops=5)
    if sys.argv[1] == "forked" and os.fork() == 0:
        time.sleep(50)  # holds the parent's end of the pipe
        os._exit(0)
    print(primary.pid, flush=True)
    time.sleep(50)
"""


@pytest.mark.parametrize("way", ["alone", "forked"])
def test_the_process_exits_when_its_parent_is_killed(tmp_path: Path, way: str) -> None:
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    parent = subprocess.Popen(
        [sys.executable, str(script), way], stdout=subprocess.PIPE, env=environment, start_new_session=True
    )
    try:
        assert parent.stdout is not None
        ready, _, _ = select.select([parent.stdout], [], [], PATIENCE_S)
        assert ready
        pid = int(parent.stdout.readline())
        assert is_running(pid)
        parent.kill()
        parent.wait(PATIENCE_S)
        eventually(lambda: not is_running(pid))
    finally:
        os.killpg(parent.pid, signal.SIGKILL) if way == "forked" else parent.kill()
        parent.wait(PATIENCE_S)
        if parent.stdout is not None:
            parent.stdout.close()


SERVER = """
import sys
from kevy_ring.testing.options import PrimaryOptions
from kevy_ring.testing.primary import serve
if __name__ == "__main__":
    def report(statuses):
        print(*[(s.port, s.published, s.frames, s.links) for s in statuses], sep=";", flush=True)
    serve(PrimaryOptions(shards=2, keys=10, ops=20), on_status=report, status_interval_s=0.05)
    print("over", flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serving_in_the_foreground_ends_with_a_signal(tmp_path: Path, number: signal.Signals) -> None:
    script = tmp_path / "server.py"
    script.write_text(SERVER)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    server = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, env=environment, text=True)
    try:
        assert server.stdout is not None
        ports = [int(part.strip("(").split(",")[0]) for part in server.stdout.readline().split(";")]
        with PlainReplica(ports[0]) as first, PlainReplica(ports[1]) as second:
            first.follow(15)
            second.follow(15)
            server.send_signal(number)
            rest, _ = server.communicate(timeout=PATIENCE_S)
        assert server.returncode == 0
        assert rest.splitlines()[-1] == "over"
        assert f"({ports[0]}, 10, 10, 0);({ports[1]}, 10, 10, 0)" in rest.splitlines()[-2]
    finally:
        server.kill()
        server.wait(PATIENCE_S)


def test_serving_restores_the_signal_handlers() -> None:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    seen: list[list[UpstreamStatus]] = []

    def report(statuses: list[UpstreamStatus]) -> None:
        seen.append(statuses)
        if len(seen) == 2:
            os.kill(os.getpid(), signal.SIGTERM)

    serve(PrimaryOptions(shards=1, keys=3, ops=0), on_status=report, status_interval_s=0.01)
    assert {number: signal.getsignal(number) for number in before} == before
    assert len(seen) >= 3
    assert (seen[0][0].frames, seen[0][0].links, seen[0][0].acked) == (0, 0, {})
