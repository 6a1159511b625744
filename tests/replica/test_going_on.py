"""After a kill a fleet continues where its process ended. It finds kept rings again, and its limits hold."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleet_life import CAPACITY, Life, everything_once
from kevy_ring import ReplicaInboxSender, RoleTaken, SegmentError, replica_inbox_pair
from kevy_ring.inbox.header_words import LinkState, ProducerWord
from kevy_ring.replica.fleet import Fleet, FleetEventKind, Role
from kevy_ring.replica.fleet.child import EXIT_TRUNCATED
from kevy_ring.replica.fleet.child_process import ChildProcess
from kevy_ring.replica.fleet.pair_ring import kept_ring
from kevy_ring.replica.runner import Runner
from kevy_ring.replica.stop import StopSignal
from kevy_ring.ring import Ring, ring_names
from kevy_ring.ring.outside.leftovers import is_abandoned, is_unused, remove_abandoned
from kevy_ring.shard.shard_process import ShardProcess
from kevy_ring.testing import EmbeddedPrimary

DEADLINE_S = 120.0


@pytest.fixture
def primary() -> Iterator[EmbeddedPrimary]:
    # The first frame of a link shows how it synced, so frames must still come when the processes are replaced.
    with EmbeddedPrimary.start(1, 500, 6_000, rate=1_500, big_values=0, protocol=2) as primary:
        yield primary


def test_a_killed_runner_is_replaced_and_the_stream_goes_on(primary: EmbeddedPrimary, tmp_path: Path) -> None:
    life = Life(primary.url, f"jsonl:{tmp_path / 'log'}", resumable=True)
    with life.fleet:
        life.wait_for(lambda: life.applied() > primary.first_offset(0))
        life.kill(Role.RUNNER)
        life.wait_for(lambda: len(life.syncs) == 2 and life.applied() == primary.final_offset(0))
    assert life.syncs == ["full", "partial"]
    everything_once(primary, tmp_path / "log")
    told = [str(event) for event in life.events if event.kind is FleetEventKind.SYNCED]
    assert "continues after offset" in told[1]


def test_a_killed_shard_is_replaced_on_its_ring(primary: EmbeddedPrimary, tmp_path: Path) -> None:
    life = Life(primary.url, f"jsonl:{tmp_path / 'log'}", resumable=True)
    with life.fleet:
        life.wait_for(lambda: life.applied() > primary.first_offset(0))
        ring = life.fleet.status()[0].ring
        life.kill(Role.SHARD)
        life.wait_for(lambda: len(life.syncs) == 2 and life.applied() == primary.final_offset(0))
        after = life.fleet.status()[0].ring
        assert ring is not None
        assert after is not None
        assert after.name == ring.name
        assert after.consumer.epoch == ring.consumer.epoch + 1
    assert life.syncs == ["full", "partial"]
    everything_once(primary, tmp_path / "log")


def test_a_store_that_went_with_its_shard_is_loaded_anew(primary: EmbeddedPrimary) -> None:
    life = Life(primary.url, "memory")
    with life.fleet:
        life.wait_for(lambda: life.applied() > primary.first_offset(0))
        life.kill(Role.RUNNER)
        life.wait_for(lambda: len(life.syncs) == 2)
        life.wait_for(lambda: life.applied() > primary.first_offset(0))
        life.kill(Role.SHARD)
        life.wait_for(lambda: len(life.syncs) == 3 and life.applied() == primary.final_offset(0))
    assert life.syncs == ["full", "partial", "full"]


def test_a_shard_that_got_an_event_in_part_goes_on_with_a_new_ring_behind_what_it_applied(
    primary: EmbeddedPrimary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def truncated(child: ChildProcess) -> int | None:
        return EXIT_TRUNCATED if child.role is Role.SHARD else child._process.exitcode

    life = Life(primary.url, f"jsonl:{tmp_path / 'log'}", resumable=True)
    with life.fleet:
        life.wait_for(lambda: life.applied() > primary.first_offset(0))
        ring = life.fleet.status()[0].ring
        with monkeypatch.context() as patched:
            # The text that the shard's own process would give for this event.
            patched.setattr(ChildProcess, "exit_code", property(truncated))
            life.kill(Role.SHARD)
        life.wait_for(lambda: len(life.syncs) == 2 and life.applied() == primary.final_offset(0))
        after = life.fleet.status()[0].ring
        assert ring is not None
        assert after is not None
        assert after.name != ring.name
    assert life.syncs == ["full", "partial"]
    everything_once(primary, tmp_path / "log")


def test_kept_rings_are_found_again_by_the_next_fleet(primary: EmbeddedPrimary, tmp_path: Path) -> None:
    prefix = f"kept{secrets.token_hex(4)}"
    options = {"resumable": True, "keep_rings": True, "name_prefix": prefix}
    first = Life(primary.url, f"jsonl:{tmp_path / 'log'}", **options)
    with first.fleet:
        first.wait_for(lambda: first.applied() > primary.first_offset(0))
    assert f"{prefix}-0" in ring_names()
    second = Life(primary.url, f"jsonl:{tmp_path / 'log'}", **options)
    with second.fleet:
        second.wait_for(lambda: bool(second.syncs) and second.applied() == primary.final_offset(0))
        stats = second.fleet.status()[0].ring
        assert stats is not None
        assert stats.creator_pid == os.getpid()
        assert not is_unused(stats)
    assert (first.syncs, second.syncs) == (["full"], ["partial"])
    everything_once(primary, tmp_path / "log")
    Ring.attach(f"{prefix}-0").remove()
    assert f"{prefix}-0" not in ring_names()


def test_the_last_word_of_an_earlier_runner_is_not_taken_for_the_link_of_now(
    primary: EmbeddedPrimary, tmp_path: Path
) -> None:
    prefix = f"kept{secrets.token_hex(4)}"
    with Ring.create(CAPACITY, f"{prefix}-0", keep=True) as ring, ReplicaInboxSender.attach(ring.name) as sender:
        sender.set_word(ProducerWord.LINK_STATE, LinkState.STREAMING)  # the state that a killed runner leaves
    life = Life(primary.url, f"jsonl:{tmp_path / 'log'}", resumable=True, keep_rings=True, name_prefix=prefix)
    try:
        life.fleet.make_rings()
        (status,) = life.fleet.status()
        assert status.ring is not None
        assert status.ring.producer_words[ProducerWord.LINK_STATE] == LinkState.STREAMING
        assert status.link_state is LinkState.NONE
        with life.fleet:
            life.wait_for(lambda: life.fleet.status()[0].link_state is LinkState.STREAMING)
            runner = life.fleet.status()[0].runner_pid
            assert runner is not None
            os.kill(runner, signal.SIGKILL)
            life.wait_for(lambda: life.fleet.status()[0].runner_pid != runner)
            # The fleet reports a successor in its next step at the earliest.
            assert life.fleet.status()[0].link_state is LinkState.NONE
    finally:
        Ring.attach(f"{prefix}-0").remove()


def test_rings_that_are_kept_need_a_name() -> None:
    with pytest.raises(ValueError, match="name_prefix"):
        Fleet("kevy://127.0.0.1:1", ShardProcess("null"), keep_rings=True)


def test_a_kept_ring_is_taken_only_when_nobody_lives_in_it_and_it_is_the_right_one() -> None:
    name = f"kept{secrets.token_hex(4)}"
    assert kept_ring(name, 4096) is None
    ring = Ring.create(4096, name, keep=True)
    try:
        consumer = ring.consumer()
        with pytest.raises(RoleTaken) as taken:
            kept_ring(name, 4096)
        assert (taken.value.role, taken.value.pid) == ("consumer", os.getpid())
        consumer.close()
        with pytest.raises(SegmentError, match="capacity is 4096"):
            kept_ring(name, 8192)
        found = kept_ring(name, 4096)
        assert found is not None
        found.close()
        ring.close()
        assert name in ring_names()
    finally:
        ring.remove()
    assert name not in ring_names()


def test_a_kept_ring_outlives_the_process_that_made_it_and_is_removed_only_by_who_means_it() -> None:
    name = f"kept{secrets.token_hex(4)}"
    program = f"from kevy_ring import Ring; Ring.create(4096, {name!r}, keep=True).producer().try_write(b'left')"
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True, timeout=120)
    assert name in ring_names()
    with Ring.attach(name) as ring:
        assert ring.consumer().read_many() == [b"left"]
        assert (ring.stats().is_kept, is_unused(ring.stats()), is_abandoned(ring.stats())) == (True, True, False)
    assert remove_abandoned(name) is None
    assert name in ring_names()
    assert remove_abandoned(name, kept=True) is not None
    assert name not in ring_names()


def test_above_its_limit_the_overflow_stops_the_reading_and_nothing_is_lost() -> None:
    limit = 200_000
    notices: list[str] = []
    with EmbeddedPrimary.start(1, 10, 30_000, big_values=0, protocol=2) as primary:
        sender, receiver = replica_inbox_pair(CAPACITY)
        stop = StopSignal()
        runner = Runner(
            primary.url, sender, stop=stop, overflow_limit=limit, notify=lambda state, text: notices.append(text)
        )
        receiver.try_recv()
        thread = threading.Thread(target=runner.run, daemon=True)
        thread.start()
        deadline = time.monotonic() + DEADLINE_S
        while not any(text.startswith("reading stops") for text in notices):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        time.sleep(0.3)
        # The encoded records are one reception larger than the limit.
        assert limit < sender.overflow.bytes < limit + (2 << 20)
        last = None
        while last != primary.final_offset(0):
            assert time.monotonic() < deadline
            with receiver.drain() as batch:
                if len(batch):
                    last = int(batch.offsets[-1])
                    continue
            receiver.wait(0.1)
        assert "reading continues" in notices
        stop.set()
        thread.join(DEADLINE_S)
        sender.close(0)
        receiver.close()


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_of_nothing_is_refused(limit: int) -> None:
    sender, receiver = replica_inbox_pair(4096)
    with sender, receiver, pytest.raises(ValueError, match="at least one byte"):
        Runner("kevy://127.0.0.1:1", sender, overflow_limit=limit)
