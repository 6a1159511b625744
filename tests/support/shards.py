"""Functions for child processes of tests. Every start method can import them."""

from __future__ import annotations

import contextlib
import os
import time
from multiprocessing.connection import Connection

from kevy_ring import Frame, RecvError, ReplicaInboxReceiver, ReplicaInboxSender, SnapshotChunk


def frame(number: int, size: int = 24) -> Frame:
    """A frame whose every byte follows from its offset."""
    return Frame(number, [b"SET", b"key:%d" % number, number.to_bytes(8, "little") * (size // 8)])


def check(event: object, number: int) -> None:
    """Assert that the event is the frame with that number, to the last byte."""
    if event != frame(number, len(event.argv[2])):  # type: ignore[attr-defined]
        raise AssertionError(f"frame {number} arrived as {event!r}")


def drain_until_gone(receiver: ReplicaInboxReceiver, results: Connection) -> None:
    """Drain, check and count frames until the sender is gone, then report the number of the next one."""
    number = 0
    while not receiver.sender_gone:
        receiver.wait(60)
        with receiver.drain() as batch:
            for event in batch:
                check(event, number)
                number += 1
    results.send(number)
    receiver.close()


def send_frames(sender: ReplicaInboxSender, first: int, count: int, results: Connection) -> None:
    """Send frames and close in order."""
    for number in range(first, first + count):
        sender.send(frame(number))
    results.send(sender.close(timeout=60))


def hold_receiver(receiver: ReplicaInboxReceiver, results: Connection) -> None:
    """Take the role, say so, and sleep until killed."""
    receiver.drain().release()
    results.send(os.getpid())
    time.sleep(600)


def hold_sender(sender: ReplicaInboxSender, results: Connection, count: int = 0) -> None:
    """Take the role by sending ``count`` frames, say so, and sleep until killed."""
    for number in range(count):
        sender.send(frame(number))
    sender.flush(0)
    results.send(os.getpid())
    time.sleep(600)


def hold_sender_with_a_child(sender: ReplicaInboxSender, results: Connection) -> None:
    """The same, with a forked child that inherits everything and lives on."""
    sender.send(frame(0))
    child = os.fork()
    if child == 0:
        time.sleep(600)
        os._exit(0)
    results.send((os.getpid(), child))
    time.sleep(600)


def park_until_gone(receiver: ReplicaInboxReceiver, results: Connection) -> None:
    """Sleep in recv with no deadline and report how it ended and when."""
    receiver.drain().release()
    results.send("parked")
    with contextlib.suppress(TimeoutError):
        try:
            while receiver.recv() is not None:
                pass
        except RecvError as end:
            results.send((end.cause, time.monotonic()))


def exit_with_a_full_overflow(name: str, count: int) -> None:
    """End the process normally, without a close and with events in the overflow."""
    sender = ReplicaInboxSender.attach(name)
    sender.send_many([SnapshotChunk(bytes(1000))] * count)
