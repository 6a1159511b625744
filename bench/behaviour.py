"""What each rival does when it is full, when its consumer is killed, and when its producer is killed.

``python -m bench.behaviour [--json FILE]``: real processes, real SIGKILL, every step with a deadline. A side that has
said nothing when the deadline passes counts as blocked; this program then ends it by its process id.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import json
import multiprocessing
import os
import secrets
import signal
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

from bench.transport import Transport, transport_class, why_missing

RIVALS = [
    "ours",
    "standard_queue",
    "standard_pipe",
    "os_pipe",
    "socket_pair",
    "fifo",
    "cloudtoid",
    "membridge",
    "zeroq",
    "kickmsg",
    "tachyon",
    "zmq",
    "iceoryx2",
]
DEADLINE_S = 3.0
RECORD = b"x" * 88
CAPACITY_BYTES = 1 << 16
ENOUGH = 40_000  # records: fifty times what the capacity holds
CONTEXT = multiprocessing.get_context("fork")


def _put_until_told(transport: Transport, pipe: Connection) -> None:
    """Fill up, then go on: one word for what the rival said first that was not yes."""
    transport.open_sender()
    pipe.send("open")
    for number in range(ENOUGH):
        try:
            if transport.put(RECORD) in (False, None, 0):
                pipe.send(f"says full (after {number} records)")
                return
        except Exception as error:
            pipe.send(f"raises {type(error).__name__} (after {number} records)")
            return
    pipe.send(f"takes everything ({ENOUGH} records)")


def _put_for_ever(transport: Transport, pipe: Connection) -> None:
    """Put until an exception tells that nobody is there, and not only that there is no room."""
    transport.open_sender()
    pipe.send("open")
    refused = 0
    full = getattr(transport, "full_error", "")
    until = time.monotonic() + DEADLINE_S
    while time.monotonic() < until:
        try:
            if transport.put(RECORD) in (False, None, 0):
                refused += 1
            time.sleep(0.0005)
        except Exception as error:
            if type(error).__name__ == full:
                refused += 1
                time.sleep(0.0005)
                continue
            pipe.send((time.monotonic(), f"raises {type(error).__name__}"))
            return
    pipe.send((0.0, "says full, and nothing else" if refused else "keeps taking records"))


def _take_one_and_wait(transport: Transport, pipe: Connection) -> None:
    """Be the consumer that is killed: open, take what comes first, say so, sleep."""
    transport.open_receiver()
    pipe.send("open")
    with contextlib.suppress(Exception):
        (getattr(transport, "get", None) or (lambda: _polled(transport)))()
    pipe.send("took")
    time.sleep(600)


def _open_and_sleep(transport: Transport, pipe: Connection) -> None:
    """Be the consumer that never takes anything."""
    transport.open_receiver()
    pipe.send("open")
    time.sleep(600)


def _put_one_and_wait(transport: Transport, pipe: Connection) -> None:
    """Be the producer that is killed."""
    transport.open_sender()
    pipe.send("open")
    transport.put(RECORD)
    pipe.send("put")
    time.sleep(600)


def _get_twice(transport: Transport, pipe: Connection) -> None:
    """Wait for one record, and then for one that never comes."""
    transport.open_receiver()
    pipe.send("open")
    get = getattr(transport, "get", None) or (lambda: _polled(transport))
    get()
    pipe.send("got")
    try:
        ended = get()
    except Exception as error:
        pipe.send((time.monotonic(), f"raises {type(error).__name__}"))
    else:
        pipe.send((time.monotonic(), "wakes" if ended in (b"", None, False) else f"returns {ended!r:.20}"))


def _polled(transport: Transport) -> object:
    """A record of a rival that cannot wait: it is asked again and again."""
    while not (record := transport.poll()):
        time.sleep(0.0002)
    return record


class Sides:
    """A sender and a receiver process over one transport, both ended at the end."""

    def __init__(self, transport: Transport, sender: Callable[..., None], receiver: Callable[..., None]) -> None:
        self._transport = transport
        transport.create()
        self.receiver, self.from_receiver = self._start(receiver)
        self.sender, self.from_sender = self._start(sender)
        transport.settle()

    def _start(self, run: Callable[..., None]) -> tuple[BaseProcess, Connection]:
        ours, theirs = CONTEXT.Pipe()
        process = CONTEXT.Process(target=run, args=(self._transport, theirs), daemon=True)
        process.start()
        theirs.close()
        return process, ours

    def __enter__(self) -> Sides:
        return self

    def __exit__(self, *exc_info: object) -> None:
        for process in (self.sender, self.receiver):
            if process.pid is not None and process.is_alive():
                os.kill(process.pid, signal.SIGKILL)
            process.join()
        with contextlib.suppress(Exception):
            self._transport.remove()


def _hear(pipe: Connection, seconds: float = DEADLINE_S) -> object:
    """What the process says in time; None when it says nothing."""
    try:
        return pipe.recv() if pipe.poll(seconds) else None
    except EOFError:
        return "ends"


def _kill(process: BaseProcess) -> float:
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    return time.monotonic()


def _told(answer: object, killed: float) -> str:
    if answer is None:
        return "waits without end"
    if not isinstance(answer, tuple):
        return str(answer)
    when, what = answer
    return f"{what} after {max(0.0, when - killed) * 1000:.1f} ms" if when else f"{what}"


def when_full(transport: Transport) -> str:
    """The consumer opens and takes nothing."""
    with Sides(transport, _put_until_told, _open_and_sleep) as sides:
        if _hear(sides.from_sender) != "open":
            return "did not open"
        return str(_hear(sides.from_sender) or "blocks")


def when_the_consumer_is_killed(transport: Transport) -> str:
    """The consumer takes a record and is killed while the producer goes on."""
    with Sides(transport, _put_for_ever, _take_one_and_wait) as sides:
        if _hear(sides.from_sender) != "open" or _hear(sides.from_receiver) != "open":
            return "did not open"
        _hear(sides.from_receiver)
        killed = _kill(sides.receiver)
        return _told(_hear(sides.from_sender, DEADLINE_S + 1), killed).replace("waits", "blocks")


def when_the_producer_is_killed(transport: Transport) -> str:
    """The producer puts a record and is killed while the consumer waits for the next."""
    with Sides(transport, _put_one_and_wait, _get_twice) as sides:
        if _hear(sides.from_sender) != "open" or _hear(sides.from_receiver) != "open":
            return "did not open"
        _hear(sides.from_sender)
        if _hear(sides.from_receiver) != "got":
            return "the record did not arrive"
        time.sleep(0.05)
        killed = _kill(sides.sender)
        return _told(_hear(sides.from_receiver), killed)


EXPERIMENTS = {
    "full": when_full,
    "consumer killed": when_the_consumer_is_killed,
    "producer killed": when_the_producer_is_killed,
}


def behaviour_of(module: str) -> dict[str, str]:
    """One row of the table."""
    try:
        kind = transport_class(module)
        missing = why_missing(kind)
    except Exception as error:
        return {"name": module, "version": "", "missing": f"{type(error).__name__}: {error}"}
    version = ""
    if kind.distribution:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            version = importlib.metadata.version(kind.distribution)
    row = {"name": kind.name, "version": version, "missing": missing}
    if missing:
        return row
    full_error = ""  # what this rival raises for want of room tells nothing of a death
    for what, experiment in EXPERIMENTS.items():
        try:
            transport = kind("b" + secrets.token_hex(4), len(RECORD), CAPACITY_BYTES)
            transport.full_error = full_error  # type: ignore[attr-defined]
            row[what] = experiment(transport)
            if what == "full" and row[what].startswith("raises "):
                full_error = row[what].split()[1]
        except Exception as error:
            row[what] = f"failed: {type(error).__name__}: {error}"
    return row


def as_markdown(rows: list[dict[str, str]]) -> str:
    """The table of the README."""
    lines = ["| | full | consumer killed: the producer | producer killed: the waiting consumer |", "|---|---|---|---|"]
    for row in rows:
        name = f"{row['name']} {row['version']}".strip()
        if row["missing"]:
            lines.append(f"| {name} | not measured: {row['missing']} | | |")
        else:
            lines.append(f"| {name} | " + " | ".join(row[what] for what in EXPERIMENTS) + " |")
    return "\n".join(lines)


def main() -> None:
    """Run all experiments and print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.behaviour", description=__doc__)
    parser.add_argument("--json", type=Path, help="write the rows here too")
    parser.add_argument("--only", action="append", help="a rival's module, as in bench/rivals; may be repeated")
    arguments = parser.parse_args()
    rows = [behaviour_of(module) for module in arguments.only or RIVALS]
    print(as_markdown(rows))
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
