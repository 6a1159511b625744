"""What a handle says in its repr: its name, what it is, and its state."""

from __future__ import annotations

from kevy_ring import Frame, Ring, replica_inbox_pair
from kevy_ring.metrics import collector
from kevy_ring.replica.fleet import Fleet
from kevy_ring.replica.runner import Runner
from kevy_ring.replica.stall_watch import StallWatch
from kevy_ring.replica.stop import StopSignal
from kevy_ring.shard import Shard
from kevy_ring.shard.sinks.null import NullSink
from kevy_ring.testing import EmbeddedPrimary


def test_every_handle_says_in_its_repr_what_it_is_and_its_state() -> None:
    with Ring.create(1 << 12, name=None) as ring:
        assert repr(ring) == f"<Ring {ring.name!r}, 4096 bytes: open, made here>"
        with Ring.attach(ring.name) as other:
            assert repr(other) == f"<Ring {ring.name!r}, 4096 bytes: open, attached>"
        assert repr(other) == f"<Ring {ring.name!r}, 4096 bytes: closed>"
        with ring.producer() as producer, ring.consumer() as consumer:
            assert repr(producer) == f"<Producer of ring {ring.name!r}, 4096 bytes: open>"
            assert repr(consumer) == f"<Consumer of ring {ring.name!r}, 4096 bytes: open>"
        assert repr(producer) == f"<Producer of ring {ring.name!r}, 4096 bytes: closed>"


def test_a_shard_and_a_runner_say_which_ring_and_how_far() -> None:
    sender, receiver = replica_inbox_pair(1 << 16)
    with sender, receiver:
        shard = Shard(receiver, NullSink())
        assert repr(shard) == f"<Shard of ring {receiver.name!r} into NullSink: nothing applied>"
        sender.send(Frame(7, [b"PING"]))
        shard.tick()
        assert repr(shard) == f"<Shard of ring {receiver.name!r} into NullSink: applied up to 7>"
        runner = Runner("redis://user:secret@127.0.0.1:1", sender)
        assert repr(runner) == f"<Runner of redis://127.0.0.1:1 into ring {sender.name!r}: not started>"
        runner.stop.close()


def test_the_reprs_of_what_runs_in_the_background() -> None:
    fleet = Fleet("redis://user:secret@127.0.0.1:1", print)
    assert repr(fleet) == "<Fleet of redis://127.0.0.1:1: not started>"
    fleet.close()
    assert repr(fleet) == "<Fleet of redis://127.0.0.1:1: closed>"
    stop = StopSignal()
    assert repr(stop) == "<StopSignal: not set>"
    stop.set()
    stop.close()
    assert repr(stop) == "<StopSignal: set, closed>"
    assert repr(StallWatch(10)) == "<StallWatch, after 10 s: 0 rings, 0 stalled>"
    rings = collector("orders-")
    assert repr(rings) == "<RingCollector of rings whose names begin with 'orders-'>"
    rings.close()
    with EmbeddedPrimary.start(1, 1, 1) as primary:
        assert repr(primary) == f"<EmbeddedPrimary at {primary.url}, pid {primary.pid}: running>"
    assert repr(primary).endswith(": closed>")
