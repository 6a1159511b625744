"""The fleet starts, watches, replaces and ends processes, over real sockets and real rings."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from fleet_shards import QuickBackoff, deaf_shard, failing_shard, raising_shard, recording_shard
from kevy_ring.replica.fleet import Fleet, FleetEnd, FleetEvent, FleetEventKind, LinkState, Role
from kevy_ring.ring import inspect_ring, ring_names
from kevy_wire import asked_from, frames, snapshot, take_request
from places import SUPPORT
from scripted_peer import PeerConnection, ScriptedPeer

DEADLINE_S = 120.0
SECRET = "open-sesame"


def wait_until(condition: Callable[[], bool], step: Callable[[float], None] = time.sleep) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, "not in time"
        step(0.05)


def is_gone(pid: int) -> bool:
    """True when the process has ended (a zombie has)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


class Primary(ScriptedPeer):
    """A kevy 2 primary: sends a snapshot at offset 10 and three frames to each client, and keeps the handshakes."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, int]] = []
        self.more = threading.Event()
        super().__init__(self._serve_replica)

    def _serve_replica(self, connection: PeerConnection) -> None:
        request = asked_from(take_request(connection))
        self.asked.append(request)
        connection.send(b"+ACK 7 0\r\n" + snapshot(10, b"body-%d" % self.port) + frames(10, 12))
        while not connection.closing.is_set():
            connection.send(b"+PING 7 13\r\n")
            connection.closing.wait(0.2)

    @property
    def url(self) -> str:
        return f"kevy://127.0.0.1:{self.port}"


class Watch:
    """Keeps the events of a fleet."""

    def __init__(self) -> None:
        self.events: list[FleetEvent] = []

    def __call__(self, event: FleetEvent) -> None:
        self.events.append(event)

    def of(self, kind: FleetEventKind, role: Role | None = None) -> list[FleetEvent]:
        return [event for event in self.events if event.kind is kind and role in (None, event.role)]


class TalkativePrimary(Primary):
    """On request it sends more frames than a small ring holds, and then no more."""

    LAST = 900

    def _serve_replica(self, connection: PeerConnection) -> None:
        take_request(connection)
        connection.send(b"+ACK 7 0\r\n" + snapshot(10, b"body"))
        self.more.wait(DEADLINE_S)
        connection.send(frames(10, self.LAST))
        connection.closing.wait(DEADLINE_S)


@pytest.fixture
def watch() -> Watch:
    return Watch()


@pytest.fixture
def primary() -> Iterator[Primary]:
    with Primary() as peer:
        yield peer


def caught_up(fleet: Fleet) -> bool:
    return all(status.ring is not None and status.ring.applied_offset == 12 for status in fleet.status())


def test_each_upstream_is_followed_by_a_process_of_its_own_into_a_shard_of_its_own(
    watch: Watch, tmp_path: Path
) -> None:
    with Primary() as one, Primary() as other:
        fleet = Fleet([one.url, other.url], partial(recording_shard, tmp_path), on_event=watch)
        with fleet:
            wait_until(lambda: caught_up(fleet), fleet.step)
            statuses = fleet.status()
            pids = {pid for status in statuses for pid in (status.runner_pid, status.shard_pid)}
            assert len(pids) == 4
            assert os.getpid() not in pids
            assert [status.upstream for status in statuses] == [one.url, other.url]
            wait_until(lambda: all(s.link_state is LinkState.STREAMING for s in fleet.status()), fleet.step)
            names = [status.ring.name for status in statuses if status.ring]
            assert set(names) <= set(ring_names())
    assert [result["snapshot"] for result in fleet.results] == [f"body-{one.port}", f"body-{other.port}"]
    assert [result["offsets"] for result in fleet.results] == [[10, 11, 12]] * 2
    assert all(is_gone(pid) for pid in pids)
    assert not set(names) & set(ring_names())
    exits = watch.of(FleetEventKind.EXITED)
    assert [(event.exit_code, event.expected) for event in exits] == [(0, True)] * 4


def test_a_kevy_url_stands_for_a_port_per_shard_and_the_names_carry_the_prefix() -> None:
    fleet = Fleet(["kevy://127.0.0.1:7000", "redis://h"], failing_shard, shards=3, name_prefix="orders")
    assert [status.upstream for status in fleet.status()] == [
        "kevy://127.0.0.1:7000", "kevy://127.0.0.1:7001", "kevy://127.0.0.1:7002", "redis://h:6379",
    ]  # fmt: skip
    assert [status.ring for status in fleet.status()] == [None] * 4
    fleet.close()


@pytest.mark.parametrize(
    ("urls", "options"),
    [([], {}), (["http://h"], {}), (["kevy://h:1"], {"shards": 0}), (["kevy://h:65535"], {"shards": 2}),
     (["redis://h"], {"protocol": "kevy1"})],
)  # fmt: skip
def test_addresses_that_cannot_be_are_refused_before_anything_starts(urls: list[str], options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"."):
        Fleet(urls, failing_shard, **options)


def test_a_runner_that_is_killed_is_reported_and_replaced_and_everything_is_synced_again(
    watch: Watch, primary: Primary, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fleet = Fleet(primary.url, partial(recording_shard, tmp_path), on_event=watch, backoff=QuickBackoff)
    with fleet:
        wait_until(lambda: caught_up(fleet), fleet.step)
        first = fleet.status()[0]
        assert first.runner_pid
        os.kill(first.runner_pid, signal.SIGKILL)
        wait_until(lambda: fleet.status()[0].runner_restarts > 0, fleet.step)
        wait_until(lambda: len(primary.asked) >= 2 and caught_up(fleet), fleet.step)
        assert fleet.status()[0].runner_pid != first.runner_pid
    death = watch.of(FleetEventKind.EXITED, Role.RUNNER)[0]
    assert (death.pid, death.signal_number, death.exit_code) == (first.runner_pid, signal.SIGKILL, None)
    assert not death.expected
    assert death.restart_in_s is not None
    assert f"the runner (pid {first.runner_pid}) was ended by SIGKILL, a new one starts in" in caplog.text
    assert set(primary.asked) == {(2, 0)}
    assert fleet.results[0]["offsets"] == [10, 11, 12]


def test_a_shard_that_waits_for_another_runner_keeps_its_ring_and_its_life(
    watch: Watch, primary: Primary, tmp_path: Path
) -> None:
    shard_main = partial(recording_shard, tmp_path, patient=True)
    with Fleet(primary.url, shard_main, on_event=watch, backoff=QuickBackoff) as fleet:
        wait_until(lambda: caught_up(fleet), fleet.step)
        first = fleet.status()[0]
        assert first.runner_pid
        assert first.ring
        os.kill(first.runner_pid, signal.SIGKILL)
        wait_until(lambda: len(primary.asked) == 2, fleet.step)
        wait_until(lambda: (tmp_path / f"0-{first.shard_pid}").read_text().count("12\n") == 2, fleet.step)
        again = fleet.status()[0]
        assert (again.shard_pid, again.runner_restarts, again.shard_restarts) == (first.shard_pid, 1, 0)
        assert again.ring
        assert again.ring.name == first.ring.name
    assert fleet.results[0]["offsets"] == [10, 11, 12]


def test_a_shard_that_is_killed_takes_its_store_along_so_that_runner_and_ring_are_replaced_too(
    watch: Watch, primary: Primary, tmp_path: Path
) -> None:
    prefix = f"kr-test-{os.getpid()}"
    shard_main = partial(recording_shard, tmp_path)
    fleet = Fleet(primary.url, shard_main, on_event=watch, backoff=QuickBackoff, name_prefix=prefix)
    with fleet:
        wait_until(lambda: caught_up(fleet), fleet.step)
        first = fleet.status()[0]
        assert first.shard_pid
        os.kill(first.shard_pid, signal.SIGKILL)
        wait_until(lambda: fleet.status()[0].shard_restarts == 1, fleet.step)
        wait_until(lambda: caught_up(fleet), fleet.step)
        again = fleet.status()[0]
        assert (again.runner_restarts, again.shard_restarts) == (1, 1)
        assert again.ring
        assert first.ring
        assert again.ring.name == first.ring.name == f"{prefix}-0"
        assert again.ring.created_unix_s > first.ring.created_unix_s
    death = watch.of(FleetEventKind.EXITED, Role.SHARD)[0]
    assert (death.pid, death.signal_number) == (first.shard_pid, signal.SIGKILL)
    assert primary.asked == [(2, 0), (2, 0)]
    assert fleet.results[0] == {"snapshot": f"body-{primary.port}", "offsets": [10, 11, 12], "pid": again.shard_pid}


@pytest.mark.parametrize(("shard_main", "code"), [(failing_shard, 7), (raising_shard, 1)])
def test_a_shard_that_fails_is_reported_with_its_exit_code_and_tried_again_and_again(
    watch: Watch, primary: Primary, shard_main: Any, code: int
) -> None:
    with Fleet(primary.url, shard_main, on_event=watch, backoff=QuickBackoff) as fleet:
        wait_until(lambda: len(watch.of(FleetEventKind.EXITED, Role.SHARD)) >= 2, fleet.step)
    deaths = watch.of(FleetEventKind.EXITED, Role.SHARD)[:2]
    assert [(death.exit_code, death.signal_number, death.expected) for death in deaths] == [(code, None, False)] * 2


def test_a_shard_that_hears_nothing_is_killed_when_the_time_is_up(watch: Watch, primary: Primary) -> None:
    fleet = Fleet(primary.url, deaf_shard, on_event=watch, close_timeout_s=1.0).start()
    wait_until(lambda: bool(watch.of(FleetEventKind.LINK)), fleet.step)
    fleet.close()
    assert watch.of(FleetEventKind.EXITED, Role.SHARD)[0].signal_number == signal.SIGKILL


def test_a_stopped_shard_with_a_full_ring_is_told_once_and_once_more_when_it_goes_on(
    watch: Watch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("kevy_ring.replica.fleet.fleet._LOOK_S", 0.05)

    def has_the_snapshot(fleet: Fleet) -> bool:
        (status,) = fleet.status()
        return status.ring is not None and status.ring.events_out >= 3

    with TalkativePrimary() as primary, caplog.at_level(logging.WARNING, "kevy_ring"):
        fleet = Fleet(primary.url, partial(recording_shard, tmp_path), on_event=watch, capacity=4096, stall_after_s=0.3)
        with fleet:
            wait_until(lambda: has_the_snapshot(fleet), fleet.step)
            pid = fleet.status()[0].shard_pid
            assert pid is not None
            os.kill(pid, signal.SIGSTOP)
            primary.more.set()
            wait_until(lambda: bool(watch.of(FleetEventKind.STALLED)), fleet.step)
            for _ in range(20):
                fleet.step(0.02)
            os.kill(pid, signal.SIGCONT)
            wait_until(lambda: bool(watch.of(FleetEventKind.DRAINED)), fleet.step)
    (stall,) = watch.of(FleetEventKind.STALLED)
    assert (stall.shard, stall.role, stall.pid) == (0, Role.SHARD, pid)
    assert f"its consumer, pid {pid}, is stopped (T)" in str(stall)
    assert len(watch.of(FleetEventKind.DRAINED)) == 1
    assert len([record for record in caplog.records if record.name == "kevy_ring.replica.stall_watch"]) == 2


def test_a_stopped_runner_cannot_hold_the_closing_up(watch: Watch, primary: Primary, tmp_path: Path) -> None:
    fleet = Fleet(primary.url, partial(recording_shard, tmp_path), on_event=watch, close_timeout_s=1.0).start()
    wait_until(lambda: caught_up(fleet), fleet.step)
    pid = fleet.status()[0].runner_pid
    assert pid
    os.kill(pid, signal.SIGSTOP)
    fleet.close()
    assert is_gone(pid)
    assert watch.of(FleetEventKind.EXITED, Role.RUNNER)[0].signal_number == signal.SIGKILL


def test_a_link_in_trouble_is_told_with_the_upstreams_words(watch: Watch, tmp_path: Path) -> None:
    def refuse(connection: PeerConnection) -> None:
        take_request(connection)
        connection.send(b"-LOADING not yet\r\n")

    with (
        ScriptedPeer(refuse) as peer,
        Fleet(f"kevy://127.0.0.1:{peer.port}", partial(recording_shard, tmp_path), on_event=watch) as fleet,
    ):
        wait_until(lambda: fleet.status()[0].link_state is LinkState.REFUSED, fleet.step)
        wait_until(lambda: fleet.status()[0].link_text == "LOADING not yet", fleet.step)
    assert any(event.text == "LOADING not yet" for event in watch.of(FleetEventKind.LINK))


def test_no_password_stands_in_a_command_line_an_environment_or_an_event(
    watch: Watch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(connection: PeerConnection) -> None:
        connection.read_until(SECRET.encode() + b"\r\n")
        connection.send(b"-WRONGPASS not " + SECRET.encode() + b"\r\n")

    caplog.set_level(logging.DEBUG)
    url = f"redis://repl:{SECRET}@127.0.0.1:"
    with (
        ScriptedPeer(refuse) as peer,
        Fleet(f"{url}{peer.port}", partial(recording_shard, tmp_path), on_event=watch) as fleet,
    ):
        wait_until(lambda: any(e.link_state is LinkState.REFUSED for e in watch.of(FleetEventKind.LINK)), fleet.step)
        status = fleet.status()[0]
        for pid in (status.runner_pid, status.shard_pid):
            assert SECRET.encode() not in Path(f"/proc/{pid}/cmdline").read_bytes()
            assert SECRET.encode() not in Path(f"/proc/{pid}/environ").read_bytes()
    assert "***" in caplog.text
    assert SECRET not in caplog.text + repr(watch.events) + repr(status)


def test_run_ends_when_its_condition_holds_and_tells_so(primary: Primary, tmp_path: Path) -> None:
    with Fleet(primary.url, partial(recording_shard, tmp_path)) as fleet:
        assert fleet.run(lambda: caught_up(fleet), tick_s=0.05) is FleetEnd.UNTIL
    assert fleet.results[0]["offsets"] == [10, 11, 12]


def test_run_ends_when_another_thread_says_stop(primary: Primary, tmp_path: Path) -> None:
    with Fleet(primary.url, partial(recording_shard, tmp_path)) as fleet:
        threading.Timer(0.2, fleet.stop.set).start()
        assert fleet.run() is FleetEnd.STOPPED


def test_a_failure_to_start_leaves_nothing_behind(primary: Primary) -> None:
    prefix = f"kr-start-{os.getpid()}"
    fleet = Fleet([primary.url, primary.url], lambda *_: None, name_prefix=prefix)
    with pytest.raises(Exception, match=r"pickle|local object"):
        fleet.start()
    assert not [name for name in ring_names() if name.startswith(prefix)]
    assert [(status.runner_pid, status.shard_pid) for status in fleet.status()] == [(None, None)] * 2


class RunningProgram:
    """A fleet in its own process group, as a shell starts it."""

    def __init__(self, directory: Path, *urls: str) -> None:
        self.errors = directory / "stderr"
        with open(self.errors, "w") as errors:
            self.process = subprocess.Popen(
                [sys.executable, str(SUPPORT / "fleet_shards.py"), str(directory), *urls],
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                start_new_session=True,
                env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            )
        assert self.process.stdout
        self.output = self.process.stdout
        self.pids: list[int] = self._said("pids")
        self.rings: list[str] = self._said("rings")

    def _said(self, key: str) -> list[Any]:
        while line := self.output.readline():
            if key in (said := json.loads(line)):
                return list(said[key])
        raise AssertionError(f"it ended before it said {key}: {self.errors.read_text()}")

    def finish(self) -> tuple[dict[str, Any], str]:
        """Wait for the end. Returns the last line of the output, and all of stderr."""
        self.process.wait(DEADLINE_S)
        return json.loads(self.output.read().splitlines()[-1]), self.errors.read_text()


@pytest.fixture
def program(primary: Primary, tmp_path: Path) -> Iterator[RunningProgram]:
    running = RunningProgram(tmp_path, primary.url)
    try:
        wait_until(lambda: inspect_ring(running.rings[0]).applied_offset == 12)
        yield running
    finally:
        for pid in [running.process.pid, *running.pids]:
            if not is_gone(pid):
                os.kill(pid, signal.SIGKILL)
        running.process.wait(DEADLINE_S)
        running.output.close()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_whole_group_ends_everything_in_order(program: RunningProgram, number: signal.Signals) -> None:
    os.killpg(program.process.pid, number)
    last, errors = program.finish()
    assert last["end"] == "signalled"
    assert last["results"][0]["offsets"] == [10, 11, 12]
    assert program.process.returncode == 0
    assert all(is_gone(pid) for pid in program.pids)
    assert not set(program.rings) & set(ring_names())
    assert "Traceback" not in errors


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_parent_alone_ends_everything_in_order(program: RunningProgram, number: signal.Signals) -> None:
    os.kill(program.process.pid, number)
    last, errors = program.finish()
    assert last["results"][0]["offsets"] == [10, 11, 12]
    assert all(is_gone(pid) for pid in program.pids)
    assert errors == ""


def test_a_signal_that_comes_while_the_children_are_still_starting_ends_everything_in_order(
    primary: Primary, tmp_path: Path
) -> None:
    running = RunningProgram(tmp_path, primary.url)
    os.killpg(running.process.pid, signal.SIGINT)
    last, errors = running.finish()
    assert last["end"] == "signalled"
    assert all(is_gone(pid) for pid in running.pids)
    assert errors == ""


def test_children_end_by_themselves_when_the_parent_is_killed(program: RunningProgram) -> None:
    os.kill(program.process.pid, signal.SIGKILL)
    program.process.wait(DEADLINE_S)
    wait_until(lambda: all(is_gone(pid) for pid in program.pids))
