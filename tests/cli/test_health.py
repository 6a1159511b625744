"""When a run is alive and ready, and what it tells a service manager."""

from __future__ import annotations

import json
import os
import signal
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kevy_ring.cli.ingest.health import ALIVE_WITHIN_S, LOOK_WITHIN_S, Health
from kevy_ring.cli.ingest.progress import ShardProgress
from kevy_ring.cli.ingest.systemd_notifier import SystemdNotifier, notifier_of
from kevy_ring.inbox.header_words import LinkState
from kevy_ring.ring import inspect_ring
from kevy_ring.testing import EmbeddedPrimary
from kevy_ring_command import RunningCommand, wait_until
from progress_of import progress_of
from service_manager import ServiceManager


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def shard(state: LinkState = LinkState.STREAMING, **facts: Any) -> ShardProgress:
    return replace(progress_of(state, **facts), shard_pid=1, runner_pid=2)


def reasons(*looks: Sequence[ShardProgress]) -> tuple[str, ...]:
    """Why a run is not ready after these looks, 8 s apart; none: it is."""
    clock = Clock()
    health = Health(10.0, clock=clock)
    for shards in looks:
        clock.now += 8
        health.looked(shards)
    return health.ready().reasons


def test_a_run_is_not_ready_before_its_shards_were_looked_at() -> None:
    assert Health().ready().reasons == ("no shard has been looked at yet",)
    assert Health().alive().holds


def test_an_idle_run_whose_links_stream_is_ready() -> None:
    assert reasons([shard()], [shard(index=1)]) == ()


@pytest.mark.parametrize("state", [state for state in LinkState if state is not LinkState.STREAMING])
def test_one_link_that_does_not_stream_makes_the_run_unready(state: LinkState) -> None:
    found = reasons([shard(), shard(state, index=1)])
    assert len(found) == 1
    assert found[0].startswith("shard 1: ")


def test_each_other_thing_that_is_missing_makes_it_unready() -> None:
    assert reasons([replace(shard(), shard_pid=None)]) == ("shard 0: its shard process does not run",)
    not_loaded = ("shard 0: its snapshot is not loaded yet",)
    assert reasons([shard(full_syncs=1, snapshots_sent=0, snapshots_applied=0)]) == not_loaded
    assert reasons([shard()], [shard(full_syncs=2)]) == not_loaded  # its second snapshot has not begun
    assert reasons([shard(snapshots_sent=2, waiting_bytes=80)]) == not_loaded
    assert reasons([shard()], [shard(full_syncs=2, snapshots_sent=2, snapshots_applied=2)]) == ()
    assert reasons([replace(shard(), ring=None)])[0].startswith("shard 0: no link")


def test_an_event_that_waits_too_long_makes_it_unready_until_it_is_applied() -> None:
    waits = [shard(waiting_bytes=80, tail=80)]
    assert reasons([shard()], waits) == ()
    assert reasons([shard()], waits, waits) == ("shard 0: an event waits for 16.0 s, and --ready-lag is 10.0 s",)
    assert reasons([shard()], waits, waits, [shard(tail=80, head=80)]) == ()


def test_a_password_never_shows() -> None:
    refused = replace(shard(LinkState.REFUSED), link_text="redis://u:secret@h:1 says WRONGPASS")
    assert "secret" not in "".join(reasons([refused]))


def test_a_supervisor_that_makes_no_pass_is_not_alive_and_an_old_look_is_not_ready() -> None:
    clock = Clock()
    health = Health(clock=clock)
    health.passed()
    health.looked([shard()])
    clock.now += LOOK_WITHIN_S + 1
    assert health.alive().holds
    assert health.ready().reasons == ("the supervisor has not looked at the shards for 6.00 s",)
    clock.now += ALIVE_WITHIN_S
    assert health.alive().reasons == ("the supervisor has made no pass for 36.0 s",)
    health.passed()
    assert health.alive().holds


def test_a_run_that_ends_is_alive_and_not_ready() -> None:
    health = Health()
    health.looked([shard()])
    assert health.ready().holds
    health.ending()
    health.looked([shard()])
    assert (health.alive().holds, health.ready().reasons) == (True, ("the run ends",))


@pytest.mark.parametrize("is_abstract", [False, True])
def test_the_manager_is_told_each_thing_when_it_is_true(tmp_path: Path, is_abstract: bool) -> None:
    clock = Clock()
    health = Health(clock=clock)
    with ServiceManager(tmp_path, is_abstract=is_abstract) as manager:
        notifier = SystemdNotifier(health, manager.address, 3.0, clock=clock)
        health.listeners.append(notifier)
        health.passed()
        health.looked([shard(LinkState.CONNECTING)])
        first, extends, status = manager.read_waiting()
        assert (first, extends) == ("WATCHDOG=1", "EXTEND_TIMEOUT_USEC=60000000")
        assert status.startswith("STATUS=Not ready: shard 0: no link since ")
        health.passed()
        health.looked([shard(LinkState.CONNECTING)])
        assert manager.read_waiting() == []
        clock.now += 1
        health.passed()
        health.looked([shard()])
        assert manager.read_waiting() == [
            "WATCHDOG=1", "STATUS=Following 1 stream; nothing waits for a second", "READY=1",
        ]  # fmt: skip
        clock.now += 60
        health.looked([shard(LinkState.WAITING)])
        health.looked([shard()])
        assert [line[:12] for line in manager.read_waiting()] == ["STATUS=Not r", "STATUS=Follo"]  # and no second READY
        health.ending()
        health.ending()
        assert manager.read_waiting()[:2] == ["WATCHDOG=1", "STOPPING=1"]
        notifier.close()


def test_a_manager_that_reads_late_blocks_nothing_and_misses_nothing(tmp_path: Path) -> None:
    clock = Clock()
    health = Health(clock=clock)
    with ServiceManager(tmp_path) as manager:
        notifier = SystemdNotifier(health, manager.address, 3.0, clock=clock)
        health.listeners.append(notifier)
        while notifier._send("X=1"):
            pass
        health.looked([shard()])
        health.ending()
        manager.read_waiting()
        health.passed()
        assert manager.read_waiting()[:2] == ["WATCHDOG=1", "STOPPING=1"]
        notifier.close()


def test_a_ready_that_could_not_be_sent_is_sent_again(tmp_path: Path) -> None:
    health = Health()
    notifier = SystemdNotifier(health, str(tmp_path / "notify"), None)
    health.listeners.append(notifier)
    health.looked([shard()])
    with ServiceManager(tmp_path) as manager:
        health.looked([shard()])
        assert "READY=1" in manager.read_waiting()
    health.looked([shard()])  # the manager is gone
    notifier.close()


def test_the_environment_says_whether_and_how_often_to_notify(tmp_path: Path) -> None:
    def made(**environment: str) -> SystemdNotifier | None:
        notifier = notifier_of(Health(), environment)
        assert environment == {"OTHER": "1"}  # children must not notify
        if notifier is not None:
            notifier.close()
        return notifier

    at = str(tmp_path / "notify")
    assert made(OTHER="1") is None
    assert made(OTHER="1", NOTIFY_SOCKET="vsock:2:1") is None
    plain = made(OTHER="1", NOTIFY_SOCKET=at)
    assert plain is not None
    assert plain._ping_every_s is None
    for pid, every in ((str(os.getpid()), 2.0), ("1", None), ("", 2.0)):
        notifier = made(OTHER="1", NOTIFY_SOCKET=at, WATCHDOG_USEC="6000000", WATCHDOG_PID=pid)
        assert notifier is not None
        assert notifier._ping_every_s == every
    for nonsense in ("0", "-5", "many"):
        notifier = made(OTHER="1", NOTIFY_SOCKET=at, WATCHDOG_USEC=nonsense)
        assert notifier is not None
        assert notifier._ping_every_s is None


# The command, whose supervisor hangs from SIGUSR1 on.
HANGS = """
import signal, time
from kevy_ring.cli import main
from kevy_ring.cli.ingest import health
from kevy_ring.cli.ingest.narration import Narrator

hangs = []
signal.signal(signal.SIGUSR1, lambda number, frame: hangs.append(number))
signal.signal(signal.SIGUSR2, lambda number, frame: hangs.clear())
looked = Narrator.looked

def look(*arguments):
    while hangs:
        time.sleep(0.01)
    looked(*arguments)

Narrator.looked = look
health.ALIVE_WITHIN_S = 1.0
main()
"""


def answer(url: str) -> tuple[int, dict[str, Any]]:
    try:
        with urllib.request.urlopen(url, timeout=120) as found:
            return found.status, json.loads(found.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def base_url(running: RunningCommand) -> str:
    note = running.read_until(lambda found: found["type"] == "note" and "metrics" in found["text"])
    return str(note["text"]).split()[-1].removesuffix("/metrics")


def samples(base: str, start: str) -> list[float]:
    """The values of the metrics whose lines begin with ``start``."""
    with urllib.request.urlopen(f"{base}/metrics", timeout=120) as found:
        lines = [line for line in found.read().decode().splitlines() if line.startswith(start)]
    return [float(line.split()[-1]) for line in lines]


def test_a_real_run_tells_its_manager_and_its_probes_the_same(tmp_path: Path) -> None:
    with (
        ServiceManager(tmp_path) as manager,
        EmbeddedPrimary.start(1, 50, 400, big_values=0, protocol=2, auto_live=False) as primary,
        RunningCommand(
            "ingest", primary.url, "--sink", "null", "--json", "--metrics-port", "0", "--ready-lag", "1",
            NOTIFY_SOCKET=manager.address, WATCHDOG_USEC="1000000",
        ) as running,
    ):  # fmt: skip
        base = base_url(running)
        manager.read_until(lambda text: "READY=1" in text)
        assert answer(f"{base}/ready") == (200, {"ready": True, "reasons": []})
        assert answer(f"{base}/healthz") == (200, {"alive": True, "reasons": []})
        progress = running.read_until(lambda found: found["type"] == "progress" and found["shards"][0]["ring"])
        ring = progress["shards"][0]["ring"]
        shard_pid = inspect_ring(ring).consumer.pid
        os.kill(shard_pid, signal.SIGSTOP)
        primary.start_live()
        wait_until(lambda: answer(f"{base}/ready")[0] == 503)
        assert "shard 0: an event waits for " in answer(f"{base}/ready")[1]["reasons"][0]
        manager.read_until(lambda text: "STATUS=Not ready: shard 0: an event waits" in text)
        assert answer(f"{base}/healthz")[0] == 200
        os.kill(shard_pid, signal.SIGCONT)
        wait_until(lambda: answer(f"{base}/ready")[0] == 200)
        os.kill(shard_pid, signal.SIGKILL)
        wait_until(lambda: answer(f"{base}/ready")[0] == 503)
        wait_until(lambda: answer(f"{base}/ready")[0] == 200)
        # null keeps no position, so a new ring took the place of the old one. The fleet's counts continue.
        assert samples(base, f'kevy_ring_capacity_bytes{{ring="{ring}"}}') == []
        assert samples(base, "kevy_ring_restarts_total") == [1.0, 1.0]
        running.signal(signal.SIGTERM)
        manager.read_until(lambda text: "STOPPING=1" in text)
        running.finish()
        sent = [line for line in manager.sent + manager.read_waiting() if not line.startswith("STATUS=")]
        assert sent.count("READY=1") == sent.count("STOPPING=1") == 1
        assert sent.count("WATCHDOG=1") > 3


def test_a_hanging_supervisor_is_not_alive_and_pings_no_watchdog(tmp_path: Path) -> None:
    with (
        ServiceManager(tmp_path, is_abstract=True) as manager,
        EmbeddedPrimary.start(1, 10, 10, big_values=0, protocol=2) as primary,
        RunningCommand(
            "ingest", primary.url, "--sink", "null", "--json", "--metrics-port", "0", program=HANGS,
            NOTIFY_SOCKET=manager.address, WATCHDOG_USEC="300000",
        ) as running,
    ):  # fmt: skip
        base = base_url(running)
        manager.read_until(lambda text: "READY=1" in text)
        manager.read_until(lambda text: text == "WATCHDOG=1")
        running.signal(signal.SIGUSR1)
        wait_until(lambda: answer(f"{base}/healthz")[0] == 503)
        manager.read_waiting()
        why = answer(f"{base}/healthz")[1]["reasons"][0]
        assert why.startswith("the supervisor has made no pass for ")
        wait_until(lambda: answer(f"{base}/healthz")[1]["reasons"][0] != why)
        assert manager.read_waiting() == []
        running.signal(signal.SIGUSR2)
        manager.read_until(lambda text: text == "WATCHDOG=1")
        wait_until(lambda: answer(f"{base}/healthz")[0] == 200)
