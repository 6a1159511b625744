"""A running fleet replaces a ring whose names in /dev/shm were removed, and the stream continues."""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from fleet_life import CAPACITY, Life, everything_once
from kevy_ring import Ring, SegmentError
from kevy_ring.cli.compare.jsonl_keys import JsonlKeys
from kevy_ring.replica.fleet import Fleet, FleetEvent, FleetEventKind, Role
from kevy_ring.replica.fleet import fleet as fleet_module
from kevy_ring.replica.stop import StopSignal
from kevy_ring.ring import ring_names
from kevy_ring.shard.shard_process import ShardProcess
from kevy_ring.testing import EmbeddedPrimary
from kevy_ring_command import RunningCommand
from redis_server import RedisServer, redis_version, start_redis
from torture_ledger import changes_of

__all__ = ["redis_version", "start_redis"]  # fixtures

SHM = Path("/dev/shm")
SEGMENT, DATA, SPACE = "", ".data", ".space"
ALL = (SEGMENT, DATA, SPACE)


@pytest.fixture
def primary() -> Iterator[EmbeddedPrimary]:
    # The first frame of a link shows how it synced, so frames must still come when the processes are replaced.
    with EmbeddedPrimary.start(1, 300, 4_000, rate=1_000, big_values=0, protocol=2) as primary:
        yield primary


def ring_of(life: Life) -> str:
    ring = life.fleet.status()[0].ring
    assert ring is not None
    return ring.name


def lose(life: Life, suffixes: tuple[str, ...]) -> str:
    """Remove names of the ring, as logind's RemoveIPC, a cleaner or an ``rm`` does."""
    name = ring_of(life)
    for suffix in suffixes:
        (SHM / f"{name}{suffix}").unlink()
    return name


def told_of_ring(life: Life) -> list[str]:
    return [event.text for event in life.events if event.kind is FleetEventKind.RING]


def restarts(life: Life) -> list[int]:
    status = life.fleet.status()[0]
    return [status.runner_restarts, status.shard_restarts]


def finish(life: Life, primary: EmbeddedPrimary) -> None:
    # A resumable sink marks the new ring before the new link synced, so wait for that sync as well.
    life.wait_for(
        lambda: restarts(life) == [1, 1] and len(life.syncs) == 2 and life.applied() == primary.final_offset(0)
    )
    new = ring_of(life)
    assert all((SHM / f"{new}{suffix}").exists() for suffix in ALL)
    assert restarts(life) == [1, 1]


@pytest.mark.parametrize(
    ("sink", "lost", "death"),
    [
        ("jsonl", (SEGMENT,), Role.RUNNER),
        ("jsonl", (DATA,), Role.SHARD),
        ("jsonl", (SPACE,), Role.RUNNER),
        ("jsonl", ALL, Role.SHARD),
        ("sqlite", (SEGMENT,), Role.SHARD),
        ("sqlite", ALL, Role.RUNNER),
    ],
)
def test_after_a_death_a_ring_without_its_names_is_replaced_and_a_resumable_sink_has_everything_once(
    primary: EmbeddedPrimary,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    sink: str,
    lost: tuple[str, ...],
    death: Role,
) -> None:
    monkeypatch.setattr(fleet_module, "_LOOK_S", 3600.0)
    path = tmp_path / "sink"
    life = Life(primary.url, f"{sink}:{path}", resumable=True)
    with life.fleet:
        life.wait_for(lambda: life.applied() > primary.first_offset(0))
        old = lose(life, lost)
        life.kill(death)
        finish(life, primary)
        assert ring_of(life) != old
    assert life.syncs == ["full", "partial"]
    everything_once(primary, path, sink)
    found, replaced = told_of_ring(life)
    assert f"ring '{old}' lost its names" in found
    assert all(f"{old}{suffix}" in found for suffix in lost)
    assert "a new ring is made: the stream continues after the applied offset" in replaced


def test_without_a_death_the_names_are_missed_by_a_regular_look(
    primary: EmbeddedPrimary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(fleet_module, "_LOOK_S", 0.1)
    prefix = f"lost{secrets.token_hex(4)}"
    options = {"resumable": True, "keep_rings": True, "name_prefix": prefix}
    life = Life(primary.url, f"jsonl:{tmp_path}", **options)
    try:
        with caplog.at_level(logging.WARNING, "kevy_ring"), life.fleet:
            life.wait_for(lambda: life.applied() > primary.first_offset(0))
            lose(life, (DATA,))
            finish(life, primary)
            assert ring_of(life) == f"{prefix}-0"
            status = life.fleet.status()[0].ring
            assert status is not None
            assert status.is_kept
        assert life.syncs == ["full", "partial"]
        everything_once(primary, tmp_path)
        assert f"{prefix}-0.data in /dev/shm; a new ring takes its place" in caplog.text
    finally:
        Ring.attach(f"{prefix}-0").remove()


@pytest.mark.parametrize(("lost", "death"), [((SEGMENT,), Role.RUNNER), ((DATA,), Role.SHARD), (ALL, Role.RUNNER)])
def test_a_store_that_is_lost_with_its_process_gets_a_full_sync_which_is_told_in_one_line(
    primary: EmbeddedPrimary, lost: tuple[str, ...], death: Role
) -> None:
    life = Life(primary.url, "memory")
    with life.fleet:
        life.wait_for(lambda: life.applied() > primary.first_offset(0))
        old = lose(life, lost)
        life.wait_for(lambda: len(told_of_ring(life)) == 1)
        assert restarts(life) == [0, 0]  # while both live, nothing is lost
        life.kill(death)
        finish(life, primary)
    assert life.syncs == ["full", "full"]
    found, replaced = told_of_ring(life)
    assert f"ring '{old}' lost its names" in found
    assert replaced == "a new ring is made: a full sync follows"


def test_names_that_are_lost_a_second_time_before_anything_came_do_not_cost_a_full_sync(
    primary: EmbeddedPrimary, tmp_path: Path
) -> None:
    life = Life(primary.url, f"jsonl:{tmp_path}", resumable=True)
    with life.fleet:
        life.wait_for(lambda: life.applied() > primary.first_offset(0))
        first = lose(life, ALL)
        life.wait_for(lambda: ring_of(life) != first)
        lose(life, ALL)  # no process has attached yet
        life.wait_for(lambda: life.applied() == primary.final_offset(0))
    assert "full" not in life.syncs[1:]
    everything_once(primary, tmp_path)


def test_another_segment_by_the_same_name_is_left_alone(primary: EmbeddedPrimary, tmp_path: Path) -> None:
    prefix = f"lost{secrets.token_hex(4)}"
    life = Life(primary.url, f"jsonl:{tmp_path}", resumable=True, name_prefix=prefix)
    other: Ring | None = None
    try:
        with pytest.raises(SegmentError) as refused, life.fleet:
            life.wait_for(lambda: life.applied() > primary.first_offset(0))
            name = lose(life, ALL)
            other = Ring.create(CAPACITY, name)
            life.wait_for(lambda: False)  # runs until the fleet refuses the ring
        assert (refused.value.name, refused.value.reason) == (name, "exists")
        assert other is not None
        assert other.lost_names() == []
        with other.producer() as producer:
            assert producer.try_write(b"untouched")
    finally:
        if other is not None:
            other.close()


def test_a_ring_that_lost_a_name_says_which_and_removes_only_its_own_files() -> None:
    with Ring.create(4096) as ring:
        assert ring.lost_names() == []
        doorbell = SHM / f"{ring.name}.data"
        doorbell.unlink()
        assert ring.lost_names() == [doorbell.name]
        doorbell.write_text("another program's")
        assert ring.lost_names() == [doorbell.name]
        segment = SHM / ring.name
        segment.unlink()
        assert ring.lost_names() == [ring.name, doorbell.name]
    assert doorbell.read_text() == "another program's"
    doorbell.unlink()
    assert not (SHM / f"{ring.name}.space").exists()


def attaches_to_nothing(ring_name: str, index: int, stop: StopSignal) -> None:
    Ring.attach(f"{ring_name}-not")


def attaches_twice(ring_name: str, index: int, stop: StopSignal) -> None:
    with Ring.attach(ring_name) as ring, ring.consumer(), Ring.attach(ring_name) as other:
        other.consumer()


@pytest.mark.parametrize(
    ("shard_main", "words"),
    [
        (attaches_to_nothing, "missing: there is no ring of this name"),
        (attaches_twice, "the consumer role is held by the live process"),
    ],
)
def test_a_shard_that_gets_no_ring_says_why_in_one_line_and_prints_no_traceback(
    capfd: pytest.CaptureFixture[str], shard_main: object, words: str
) -> None:
    life = Life("kevy://127.0.0.1:1", "null")
    life.fleet = Fleet("kevy://127.0.0.1:1", shard_main, on_event=life.events.append)  # type: ignore[arg-type]

    def deaths() -> list[FleetEvent]:
        return [each for each in life.events if each.kind is FleetEventKind.EXITED and each.role is Role.SHARD]

    with life.fleet:
        life.wait_for(lambda: bool(deaths()))
    death = deaths()[0]
    assert death.exit_code == 1
    assert words in str(death)
    assert "\n" not in str(death)
    assert "Traceback" not in capfd.readouterr().err


def test_a_runner_that_gets_no_ring_says_why_in_one_line_and_prints_no_traceback(
    primary: EmbeddedPrimary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    life = Life(primary.url, f"jsonl:{tmp_path}", resumable=True)

    def failures() -> list[FleetEvent]:
        return [each for each in life.events if each.kind is FleetEventKind.EXITED and each.exit_code == 1]

    with life.fleet:
        life.wait_for(lambda: life.applied() > primary.first_offset(0))
        with monkeypatch.context() as patched:
            patched.setattr(Ring, "lost_names", lambda ring: [])  # as if the names were lost a moment later
            name = lose(life, ALL)
            life.kill(Role.RUNNER)
            life.wait_for(lambda: bool(failures()))
        life.wait_for(lambda: life.applied() == primary.final_offset(0))
    failure = failures()[0]
    assert f"exited with code 1 (segment '{name}': missing: there is no ring of this name)" in str(failure)
    assert "Traceback" not in capfd.readouterr().err
    everything_once(primary, tmp_path)


def test_of_eight_rings_of_which_one_cannot_be_made_none_stays_and_no_process_was_started() -> None:
    prefix = f"eight{secrets.token_hex(4)}"
    events: list[object] = []
    with Ring.create(4096, f"{prefix}-6") as taken:
        fleet = Fleet(
            "kevy://127.0.0.1:17000", ShardProcess("null"), shards=8, name_prefix=prefix, on_event=events.append
        )
        with pytest.raises(SegmentError, match=r"ring 7 of 8 cannot be made: a segment of this name exists") as refused:
            fleet.start()
        assert (refused.value.name, refused.value.reason) == (taken.name, "exists")
        assert [name for name in ring_names() if name.startswith(prefix)] == [taken.name]
        assert events == []
        fleet.close()
    assert not [name for name in os.listdir(SHM) if name.startswith(prefix)]


def test_a_run_whose_lost_name_something_else_has_taken_ends_with_the_reason_and_its_summary(
    primary: EmbeddedPrimary, tmp_path: Path
) -> None:
    name = f"taken{secrets.token_hex(4)}"
    arguments = ["ingest", primary.url, "--name", name, "--sink", f"jsonl:{tmp_path}", "--json"]
    with RunningCommand(*arguments) as running:
        running.read_until(lambda found: found["type"] == "progress" and found["shards"][0]["snapshots"] == 1)
        try:
            (SHM / f"{name}.new").write_bytes(b"no ring" * 1000)
            (SHM / f"{name}.new").replace(SHM / f"{name}-0")
            done = running.finish()
        finally:
            for file in SHM.glob(f"{name}*"):
                file.unlink()
    assert done.code == 1
    assert done.summary["problem"].startswith(f"segment '{name}-0': not-a-ring: something else has this name")
    assert done.err == f"kevy-ring: {done.summary['problem']}\n"


@pytest.mark.parametrize(("lost", "death"), [(ALL, Role.SHARD), ((DATA,), Role.RUNNER), ((SEGMENT,), None)])
def test_with_a_real_redis_every_change_arrives_once_although_the_names_were_lost(
    start_redis: Callable[..., RedisServer], tmp_path: Path, lost: tuple[str, ...], death: Role | None
) -> None:
    server = start_redis()
    path = tmp_path / "log"
    url = f"redis://127.0.0.1:{server.port}"
    clients = [redis.Redis(port=server.port, db=db) for db in (0, 1)]
    written = 0

    def write(count: int) -> None:
        nonlocal written
        for _ in range(count):
            clients[written % 2].set("number", written)
            written += 1

    write(10)
    life = Life(url, f"jsonl:{path}", resumable=True)
    with life.fleet:
        life.wait_for(lambda: life.syncs == ["full"] and life.applied() >= 0)
        write(500)
        lose(life, lost)
        write(500)
        if death is not None:
            life.kill(death)
        write(500)
        life.wait_for(lambda: restarts(life) == [1, 1] and len(life.syncs) == 2)
        write(500)
        life.wait_for(lambda: last_number_so_far(path) == written - 1)
    assert life.syncs == ["full", "partial"]
    numbers = [int(argv[2]) for _, argv in changes_of("jsonl", path) if argv[0] == b"SET"]
    assert numbers == list(range(numbers[0], written))
    assert numbers[0] <= 10
    for db, client in enumerate(clients):
        assert JsonlKeys(path).read(db, [b"number"])[b"number"].value == client.get("number")
        client.close()


def last_number_so_far(path: Path) -> int:
    try:
        numbers = [int(argv[2]) for _, argv in changes_of("jsonl", path) if argv[0] == b"SET"]
    except ValueError:  # the last line is being written
        return -1
    return numbers[-1] if numbers else -1
