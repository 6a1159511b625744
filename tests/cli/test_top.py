"""The command ``kevy-ring top``: once, as JSON, and live on a terminal."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from kevy_ring import Frame, Ring, replica_inbox_pair
from kevy_ring.cli.command import command
from kevy_ring.ring import inspect_ring

DEADLINE_S = 120.0
PREFIX = f"kr-top-{os.getpid()}"


def invoke(*arguments: str) -> str:
    result = CliRunner().invoke(command, ["top", PREFIX, "--interval", "0.05", *arguments], standalone_mode=False)
    assert result.exception is None, result.exception
    return result.output


def ring_of(output: str, name: str) -> dict[str, Any]:
    (found,) = (ring for ring in json.loads(output)["rings"] if ring["name"] == name)
    return dict(found)


def test_once_as_json_is_one_object_with_all_rings() -> None:
    sender, receiver = replica_inbox_pair(4096, name=f"{PREFIX}-a")
    with Ring.create(4096, f"{PREFIX}-b"):
        sender.send_many([Frame(n, [b"SET", b"key", b"v" * 50]) for n in range(200)])
        found = ring_of(invoke("--once", "--json"), f"{PREFIX}-a")
        assert found["faults"] == []
        assert found["overflow_events"] == sender.overflow.events > 0
        assert (found["in_events_per_s"], found["wakes_per_s"], found["behind"]) == (0, 0, None)
        assert found["producer"] == {"state": "alive", "pid": os.getpid(), "taken": 1}
        assert ring_of(invoke("--once", "--json"), f"{PREFIX}-b")["used_bytes"] == 0
    receiver.close()
    sender.close(timeout=0)


def test_looking_on_changes_no_byte_of_header_and_records() -> None:
    sender, receiver = replica_inbox_pair(4096, name=f"{PREFIX}-still")
    sender.send_many([Frame(n, [b"SET", b"key", b"v" * 50]) for n in range(20)])
    receiver.drain(max_events=3).release()
    before = Path("/dev/shm", sender.name).read_bytes()
    invoke("--once")
    invoke("--once", "--json")
    with LiveTop("--interval", "0.05") as live:
        live.read_until(sender.name)
        live.press("\n")
        live.press("\x1b")
    assert Path("/dev/shm", sender.name).read_bytes() == before
    receiver.close()
    sender.close(timeout=0)


def test_a_pipe_gets_a_table_and_a_corrupt_ring_is_told_in_it() -> None:
    with Ring.create(4096, f"{PREFIX}-a") as ring:
        with open(f"/dev/shm/{ring.name}", "r+b") as file:
            file.seek(0x100)
            file.write(b"\x08" * 8)
        (line,) = [line for line in invoke().splitlines() if ring.name in line]
        assert "corrupt: head and tail are" in line
        assert ring_of(invoke("--once", "--json"), ring.name)["faults"][0].startswith("corrupt: head and tail")


class LiveTop:
    """The command on a terminal of 100 columns and 30 lines."""

    def __init__(self, *arguments: str) -> None:
        self._arguments = arguments
        self.shown = ""

    def __enter__(self) -> LiveTop:
        self.pid, self._fd = pty.fork()
        if not self.pid:
            path = os.pathsep.join(filter(None, sys.path))
            environment = {**os.environ, "PYTHONPATH": path, "TERM": "xterm-256color", "COLUMNS": "100", "LINES": "30"}
            os.execve(sys.executable, [sys.executable, "-m", "kevy_ring", "top", PREFIX, *self._arguments], environment)
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
        return self

    def read_until(self, words: str) -> None:
        """Read until the words are shown again. Earlier output does not count."""
        deadline, self.shown = time.monotonic() + DEADLINE_S, ""
        while not re.search(words, self.shown):
            assert time.monotonic() < deadline, self.shown
            if select.select([self._fd], [], [], 0.1)[0]:
                self.shown += os.read(self._fd, 65536).decode("utf-8", "replace")

    def press(self, keys: str) -> None:
        os.write(self._fd, keys.encode())

    def finish(self) -> int:
        """Wait for its end and return its exit code, or the signal as a negative number."""
        deadline = time.monotonic() + DEADLINE_S
        while time.monotonic() < deadline:
            if select.select([self._fd], [], [], 0.05)[0]:
                try:
                    self.shown += os.read(self._fd, 65536).decode("utf-8", "replace")
                except OSError:
                    break
        pid, self.pid = self.pid, 0
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    def __exit__(self, *exc_info: object) -> None:
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self._fd)


@pytest.fixture
def ring() -> Iterator[Ring]:
    with Ring.create(4096, f"{PREFIX}-live") as ring:
        yield ring


def test_the_live_view_follows_rings_and_keys_and_leaves_the_terminal_in_order(ring: Ring) -> None:
    with LiveTop("--interval", "0.05", "--sort", "rate") as live, ring.producer() as producer:
        live.read_until(ring.name)
        assert "\x1b[?1049h" in live.shown
        with Ring.create(4096, f"{PREFIX}-zzz") as second:
            live.press("n")
            live.read_until("by name")
            live.read_until(second.name)
            live.press("G")
            time.sleep(0.2)
            live.press("\n")
            live.read_until("created")
        live.read_until("gone")
        live.press("\x1b")
        live.read_until("by name")
        assert producer.try_write(b"x" * 2000)
        live.press("f")
        live.read_until("by fill")
        live.read_until("49 %")
        live.press("q")
        assert live.finish() == 0
        assert live.shown.rstrip().endswith("\x1b[?1049l")
    assert inspect_ring(ring.name).consumer.epoch == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_gives_the_terminal_back(ring: Ring, number: signal.Signals) -> None:
    with LiveTop() as live:
        live.read_until(ring.name)
        os.kill(live.pid, number)
        assert live.finish() == 0
        assert "\x1b[?1049l" in live.shown
