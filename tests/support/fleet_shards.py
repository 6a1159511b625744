"""Functions for the shard processes of fleet tests, which a spawned child can import, and a program with a fleet."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

from kevy_ring.events import Frame, SnapshotBegin, SnapshotChunk
from kevy_ring.inbox import ReplicaInboxReceiver
from kevy_ring.replica.backoff import Backoff
from kevy_ring.replica.fleet import Fleet
from kevy_ring.replica.stop import StopSignal


class QuickBackoff(Backoff):
    def __init__(self) -> None:
        super().__init__(0.01, 0.05)


def recording_shard(
    directory: Path, ring_name: str, index: int, stop: StopSignal, *, patient: bool = False
) -> dict[str, object]:
    """Write the received events into a file, and return a summary: the snapshot's bytes and the offsets.

    ``patient``: wait for another sender when one is gone.
    """
    summary: dict[str, object] = {"snapshot": "", "offsets": [], "pid": os.getpid()}
    offsets: list[int] = []
    with (
        ReplicaInboxReceiver.attach(ring_name, timeout=60) as receiver,
        open(directory / f"{index}-{os.getpid()}", "w", buffering=1) as file,
    ):
        while not stop.is_set():
            gone = receiver.sender_gone
            with receiver.drain() as batch:
                for event in batch:
                    if isinstance(event, SnapshotBegin):
                        offsets, summary["snapshot"] = [], ""
                        print("begin", file=file)
                    elif isinstance(event, SnapshotChunk):
                        summary["snapshot"] = str(summary["snapshot"]) + bytes(event.data).decode("latin-1")
                    elif isinstance(event, Frame):
                        offsets.append(event.offset)
                        print(event.offset, file=file)
                        receiver.mark_applied(event.offset)
                count = len(batch)
            if not count:
                if gone and not patient:
                    break
                receiver.wait(0.1)
    summary["offsets"] = offsets
    return summary


def failing_shard(ring_name: str, index: int, stop: StopSignal) -> None:
    """End with exit code 7."""
    sys.exit(7)


def raising_shard(ring_name: str, index: int, stop: StopSignal) -> None:
    raise ZeroDivisionError("on purpose")


def deaf_shard(ring_name: str, index: int, stop: StopSignal) -> None:
    """Ignore both a stop and the end of the sender."""
    with ReplicaInboxReceiver.attach(ring_name, timeout=60):
        while True:
            time.sleep(1)


def main() -> None:
    """``fleet_shards.py DIRECTORY URL``: run a fleet until a signal, and print its events as JSON lines."""
    from functools import partial

    directory, *urls = sys.argv[1:]

    def show(event: object) -> None:
        print(json.dumps({"event": str(event)}), flush=True)

    fleet = Fleet(urls, partial(recording_shard, Path(directory)), on_event=show, backoff=QuickBackoff)

    def look() -> bool:
        if not shown:
            shown.append(True)
            print(
                json.dumps({"pids": [pid for s in fleet.status() for pid in (s.runner_pid, s.shard_pid)]}), flush=True
            )
            print(json.dumps({"rings": [s.ring.name for s in fleet.status() if s.ring]}), flush=True)
        return False

    shown: list[bool] = []
    ended = fleet.run(look)
    print(json.dumps({"end": ended.value, "results": fleet.results}), flush=True)


if __name__ == "__main__":
    main()
