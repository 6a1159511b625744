"""Two processes that share /dev/shm and see different pids, as in two containers, learn of each other's death."""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from absent import absent
from kevy_ring import RecvError, ReplicaInboxReceiver, Ring

UNSHARE = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
HOLD = """
import os, sys, time
from kevy_ring import Frame, ReplicaInboxReceiver, ReplicaInboxSender
name, side = sys.argv[1:]
if side == "sender":
    sender = ReplicaInboxSender.attach(name)
    sender.send(Frame(os.getpid(), [b"PING"]))
else:
    receiver = ReplicaInboxReceiver.attach(name)
print(os.getpid(), flush=True)
time.sleep(60)
"""
# Waits as `side` in its own namespace, and prints what it saw.
WAIT = """
import os, select, sys
from kevy_ring import Frame, ReplicaInboxReceiver, RecvError
name, how = sys.argv[1:]
with ReplicaInboxReceiver.attach(name) as receiver:
    assert receiver.recv(60) == Frame(1, [b"PING"])
    assert os.getpid() == 1
    watched = select.epoll()
    if how == "epoll":
        watched.register(receiver.fileno(), select.EPOLLIN)
    print("waiting", flush=True)
    while not receiver.sender_gone:
        if how == "epoll":
            assert watched.poll(60)
            receiver.fileno()
        else:
            receiver.wait(60)
    try:
        receiver.recv()
    except RecvError as error:
        print(error.cause, error.pid, flush=True)
"""


@pytest.fixture(autouse=True, scope="module")
def namespaces() -> None:
    if shutil.which("unshare") is None:
        absent("no program `unshare` (Debian: apt install util-linux)")
    done = subprocess.run([*UNSHARE, "true"], capture_output=True, text=True, timeout=120, check=False)
    if done.returncode:
        absent(f"no pid namespace can be made here: {done.stderr.strip()}")


@pytest.fixture
def ring() -> Iterator[Ring]:
    with Ring.create(1 << 16) as made:
        yield made


class Elsewhere:
    """A program that is the only process of its pid namespace: its pid there is 1."""

    def __init__(self, program: str, *arguments: str) -> None:
        self._outer = subprocess.Popen(
            [*UNSHARE, sys.executable, "-c", program, *arguments], stdout=subprocess.PIPE, text=True
        )
        self.says = self._outer.stdout

    def line(self) -> str:
        assert self.says is not None
        return self.says.readline().strip()

    def kill(self) -> None:
        """``kill -9`` of the program itself."""
        children = Path(f"/proc/{self._outer.pid}/task/{self._outer.pid}/children").read_text().split()
        os.kill(int(children[0]), signal.SIGKILL)

    def __enter__(self) -> Elsewhere:
        return self

    def __exit__(self, *exc: object) -> None:
        self._outer.kill()
        self._outer.wait(60)
        if self.says is not None:
            self.says.close()


def test_an_event_loop_is_woken_by_a_death_in_another_pid_namespace(ring: Ring) -> None:
    with Elsewhere(HOLD, ring.name, "sender") as holder, ReplicaInboxReceiver.attach(ring.name) as receiver:
        assert holder.line() == "1"
        assert receiver.recv(60) is not None
        with select.epoll() as watched:
            watched.register(receiver.fileno(), select.EPOLLIN)
            holder.kill()
            while not receiver.sender_gone:
                assert watched.poll(60)
                receiver.fileno()
        with pytest.raises(RecvError) as gone:
            receiver.recv()
        assert (gone.value.cause, gone.value.pid) == ("dead", 1)


def test_a_producer_is_woken_by_a_death_in_another_pid_namespace(ring: Ring) -> None:
    with Elsewhere(HOLD, ring.name, "receiver") as holder, ring.producer() as producer:
        assert holder.line() == "1"
        while producer.try_write(b"x" * 1000):
            pass
        with select.epoll() as watched:
            watched.register(producer.fileno(1000), select.EPOLLIN)
            holder.kill()
            while not producer.receiver_gone:
                assert watched.poll(60)
                producer.fileno(1000)


@pytest.mark.parametrize("how", ["epoll", "wait"])
def test_a_death_is_seen_where_both_sides_are_pid_1(ring: Ring, how: str) -> None:
    with Elsewhere(HOLD, ring.name, "sender") as holder, Elsewhere(WAIT, ring.name, how) as waiter:
        assert holder.line() == "1"
        assert waiter.line() == "waiting"
        time.sleep(0.5)  # let it fall asleep: this test is about who wakes it
        holder.kill()
        assert waiter.line() == "dead 1"
