"""What each rival does when it is full, when its consumer is killed, and when its producer is killed.

``python -m bench.behaviour [--json FILE]`` uses real processes and SIGKILL, and every step has a deadline. A side that
reports nothing before the deadline counts as blocked, and is then ended by its process id.
"""

from __future__ import annotations

import argparse
import contextlib
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

from bench.rivals import transport_class
from bench.transport import Transport

RIVALS = (
    *("ours", "standard_queue", "standard_pipe", "os_pipe", "socket_pair", "fifo", "cloudtoid"),
    *("membridge", "zeroq", "kickmsg", "tachyon", "zmq", "iceoryx2"),
)
DEADLINE_S = 3.0
RECORD = b"x" * 88
CAPACITY_BYTES = 1 << 16
ENOUGH = 40_000  # records: fifty times what the capacity holds
CONTEXT = multiprocessing.get_context("fork")

Side = Callable[[Transport, Connection], None]


def _put_until_full(transport: Transport, pipe: Connection) -> None:
    """Put records until the rival says for the first time that it took none."""
    for number in range(ENOUGH):
        try:
            if not transport.put_one(RECORD):
                pipe.send(f"says full (after {number} records)")
                return
        except Exception as error:
            pipe.send(f"raises {type(error).__name__} (after {number} records)")
            return
    pipe.send(f"takes everything ({ENOUGH} records)")


def _put_until_an_error(transport: Transport, pipe: Connection) -> None:
    """Put records until an exception says that the consumer is gone, and not only that there is no room."""
    refused, until = 0, time.monotonic() + DEADLINE_S
    while time.monotonic() < until:
        try:
            refused += not transport.put_one(RECORD)
        except Exception as error:
            if type(error).__name__ != transport.full_error:
                pipe.send((time.monotonic(), f"raises {type(error).__name__}"))
                return
            refused += 1
        time.sleep(0.0005)
    pipe.send((0.0, "says full, and nothing else" if refused else "keeps taking records"))


def _put_one(transport: Transport, pipe: Connection) -> None:
    transport.put_one(RECORD)
    pipe.send("put")
    time.sleep(600)


def _take_nothing(transport: Transport, pipe: Connection) -> None:
    time.sleep(600)


def _take_one(transport: Transport, pipe: Connection) -> None:
    with contextlib.suppress(Exception):
        transport.get()
    pipe.send("took")
    time.sleep(600)


def _take_two(transport: Transport, pipe: Connection) -> None:
    """Wait for one record, and then for one that never comes."""
    transport.get()
    pipe.send("took")
    try:
        ended = transport.get()
    except Exception as error:
        pipe.send((time.monotonic(), f"raises {type(error).__name__}"))
    else:
        pipe.send((time.monotonic(), "wakes" if ended in (b"", None, False) else f"returns {ended!r:.20}"))


def _start(transport: Transport, side: Side, is_sender: bool) -> tuple[BaseProcess, Connection]:
    ours, theirs = CONTEXT.Pipe()

    def run() -> None:
        (transport.open_sender if is_sender else transport.open_receiver)()
        theirs.send("open")
        side(transport, theirs)

    process = CONTEXT.Process(target=run, daemon=True)
    process.start()
    theirs.close()
    return process, ours


def _hear(pipe: Connection, seconds: float = DEADLINE_S) -> object:
    """The report of the process, or None if none comes in time."""
    try:
        return pipe.recv() if pipe.poll(seconds) else None
    except EOFError:
        return "ends"


def _kill(process: BaseProcess) -> float:
    if process.pid is not None and process.is_alive():
        os.kill(process.pid, signal.SIGKILL)
    return time.monotonic()


def _told(answer: object, killed: float) -> str:
    if answer is None:
        return "waits without end"
    if not isinstance(answer, tuple):
        return str(answer)
    when, what = answer
    return f"{what} after {max(0.0, when - killed) * 1000:.1f} ms" if when else f"{what}"


# Experiment: what the sender does, what the receiver does, who is killed.
EXPERIMENTS: dict[str, tuple[Side, Side, str]] = {
    "full": (_put_until_full, _take_nothing, ""),
    "consumer killed": (_put_until_an_error, _take_one, "consumer"),
    "producer killed": (_put_one, _take_two, "producer"),
}


def observed(transport: Transport, what: str) -> str:
    """What was seen in one experiment. Both processes are ended afterwards."""
    send, take, victim = EXPERIMENTS[what]
    transport.create()
    receiver, from_receiver = _start(transport, take, False)
    sender, from_sender = _start(transport, send, True)
    transport.settle()
    try:
        if _hear(from_sender) != "open" or _hear(from_receiver) != "open":
            return "did not open"
        if not victim:
            return str(_hear(from_sender) or "blocks")
        if victim == "consumer":
            _hear(from_receiver)
            killed = _kill(receiver)
            return _told(_hear(from_sender, DEADLINE_S + 1), killed).replace("waits", "blocks")
        _hear(from_sender)
        if _hear(from_receiver) != "took":
            return "the record did not arrive"
        time.sleep(0.05)
        killed = _kill(sender)
        return _told(_hear(from_receiver), killed)
    finally:
        for process in (sender, receiver):
            _kill(process)
            process.join()
        with contextlib.suppress(Exception):
            transport.remove()


def behaviour_of(rival: str) -> dict[str, str]:
    """One row of the table."""
    kind = transport_class(rival)
    row = {"name": kind.name, "version": kind.version(), "missing": kind.why_missing()}
    if row["missing"]:
        return row
    full_error = ""  # this rival raises it when it is full, so it is no sign of a death
    for what in EXPERIMENTS:
        try:
            transport = kind("b" + secrets.token_hex(4), len(RECORD), CAPACITY_BYTES)
            transport.full_error = full_error
            row[what] = observed(transport, what)
            if what == "full" and row[what].startswith("raises "):
                full_error = row[what].split()[1]
        except Exception as error:
            row[what] = f"failed: {type(error).__name__}: {error}"
    return row


def as_markdown(rows: list[dict[str, str]]) -> str:
    """The table of the README."""
    lines = [
        "| | when it is full, a send | after the consumer is killed, the producer "
        "| after the producer is killed, the waiting consumer |",
        "|---|---|---|---|",
    ]
    for row in rows:
        said = [row[what] for what in EXPERIMENTS if what in row] or [f"not measured: {row['missing']}", "", ""]
        lines.append(f"| {row['name']} {row['version']} | ".replace("  |", " |") + " | ".join(said) + " |")
    return "\n".join(lines)


def main() -> None:
    """Run all experiments and print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.behaviour", description=__doc__)
    parser.add_argument("--json", type=Path, help="write the rows here too")
    parser.add_argument("--only", action="append", help="a rival's name in bench/rivals; may be repeated")
    arguments = parser.parse_args()
    rows = [behaviour_of(rival) for rival in arguments.only or RIVALS]
    print(as_markdown(rows))
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
