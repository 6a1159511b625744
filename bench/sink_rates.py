"""How many frames a second one shard applies to each sink: SET alone, and a mixed load.

    python bench/sink_rates.py                                     the table of docs/sinks.md
    python bench/sink_rates.py redis --beside OTHER/bin/python     also with the kevy-ring of another environment
    python bench/sink_rates.py memory redis --filters              the table of docs/guides/filters.md

All frames are in the ring before the clock starts. It stops when everything is flushed: on the disk, or answered by the
server. Each figure comes from separate processes, which take turns round by round. The rate by CPU time counts only
what the shard's process uses. It does not depend on what else the machine does, and it leaves out waits for the server
and the disk.
"""

from __future__ import annotations

import argparse
import os
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence

from kevy_ring import Frame, replica_inbox_pair
from kevy_ring.shard import Shard, Sink, sink_from_url

FILTERS = ("none", "all by prefix", "all by database", "half by glob", "half by function", "nothing")

SINKS = {
    "null": "null",
    "memory": "memory",
    "jsonl": "jsonl:{folder}/lines",
    "sqlite": "sqlite:{folder}/replica.db",
    "redis": "redis://127.0.0.1:{port}",
    "python": "python:sink_rates:ignore",
}
KEYS = 10_000
VALUE = b"v" * 64
SERVER_DEADLINE_S = 20


def ignore(offset: int, argv: Sequence[bytes]) -> None:
    """The callable of the sink `python`. It does nothing, so the rate is that of calling it."""


def is_even(db: int, key: bytes) -> bool:
    """The function of a filter that half of the keys pass."""
    return key[-1] % 2 == 0


def filtered_sink(url: str, name: str) -> Sink:
    """The sink behind one of FILTERS. (An environment of an earlier version has no filters.)"""
    if name == "none":
        return sink_from_url(url)
    from kevy_ring.shard import KeyFilter
    from kevy_ring.shard.sinks.options import SinkOptions

    chosen = {
        "all by prefix": KeyFilter(keys=[b"key:*"]),
        "all by database": KeyFilter(databases=[0]),
        "half by glob": KeyFilter(keys=[b"key:*[02468]"]),
        "half by function": KeyFilter(function="sink_rates:is_even"),
        "nothing": KeyFilter(keys=[b"other:*"]),
    }
    return sink_from_url(url, options=SinkOptions(filter=chosen[name]))


def frames_of(load: str, count: int) -> list[Frame]:
    """`set`: SET of 64 bytes. `mixed`: equally often SET, HSET, INCR, PEXPIREAT and LPUSH."""
    rng = random.Random(1)
    frames = []
    for offset in range(count):
        key = b"%d" % rng.randrange(KEYS)
        mixed = (
            [b"SET", b"key:" + key, VALUE],
            [b"HSET", b"hash:" + key, b"field:%d" % (offset % 8), VALUE],
            [b"INCR", b"count:" + key],
            [b"PEXPIREAT", b"key:" + key, b"4000000000000"],
            [b"LPUSH", b"list:" + key, VALUE],
        )
        frames.append(Frame(offset, mixed[offset % len(mixed) if load == "mixed" else 0]))
    return frames


def measure(url: str, load: str, count: int, chosen: str = "none") -> tuple[float, float]:
    """Frames a second and frames a second of CPU time, in this process. Those that a filter drops count too."""
    sender, receiver = replica_inbox_pair(1 << (256 * count).bit_length())
    sink = filtered_sink(url, chosen)
    shard = Shard(receiver, sink)
    first, *frames = frames_of(load, count + 1)
    sender.send(first)
    shard.tick()  # it imports numpy, and the sink claims its place
    sender.send_many(frames)
    begin, cpu_begin = time.perf_counter(), time.process_time()
    while shard.tick():
        pass
    shard.close()
    took_s, cpu_s = time.perf_counter() - begin, time.process_time() - cpu_begin
    assert shard.frames + getattr(shard, "frames_filtered", 0) == count + 1
    assert getattr(sink, "refusals", None) is None or sink.refusals.count == 0  # type: ignore[attr-defined]
    sink.close()
    receiver.close()
    sender.close()
    return count / took_s, count / cpu_s


def measure_apart(python: str, sink: str, load: str, count: int, chosen: str = "none") -> tuple[float, float]:
    """As :func:`measure`, in a new process and, for `redis`, with a new server."""
    with tempfile.TemporaryDirectory() as folder, socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
        free.close()
        options = ["--port", str(port), "--save", "", "--dir", folder]
        server = subprocess.Popen(["redis-server", *options], stdout=subprocess.DEVNULL) if sink == "redis" else None
        try:
            if server is not None:
                wait_for_port(port)
            url = SINKS[sink].format(folder=folder, port=port)
            command = [python, __file__, "--one", url, "--load", load, "--frames", str(count), "--filter", chosen]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=600)
            by_clock, by_cpu = map(float, done.stdout.split())
            return by_clock, by_cpu
        finally:
            if server is not None:
                server.terminate()
                server.wait(SERVER_DEADLINE_S)


def wait_for_port(port: int) -> None:
    deadline = time.monotonic() + SERVER_DEADLINE_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def compare(sinks: list[str], pythons: list[str], rounds: int, count: int) -> None:
    """Print the median and the spread of each figure; with another environment the ratio within each round."""
    found: dict[tuple[str, str], list[list[tuple[float, float]]]] = {}
    before = os.getloadavg()[0]
    for _ in range(rounds):
        for sink in sinks:
            for load in ("set", "mixed"):
                row = [measure_apart(python, sink, load, count) for python in pythons]
                found.setdefault((sink, load), []).append(row)
    print(f"{rounds} rounds of {count} frames; load average {before:.1f} before, {os.getloadavg()[0]:.1f} after")
    for (sink, load), rows in found.items():
        for at, clock in enumerate(("by the clock", "by CPU time")):
            shown = [spread([row[python][at] for row in rows], ",.0f") + "/s" for python in range(len(pythons))]
            if len(pythons) > 1:
                shown.append(spread([row[0][at] / row[1][at] for row in rows], ".2f") + " x")
            print(f"{sink:8} {load:6} {clock:13} " + " | ".join(shown))


def compare_filters(sinks: list[str], rounds: int, count: int) -> None:
    """Print the median rate of SET with each filter, and its ratio to the rate without one, round by round."""
    found: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for _ in range(rounds):
        for sink in sinks:
            for chosen in FILTERS:
                found.setdefault((sink, chosen), []).append(measure_apart(sys.executable, sink, "set", count, chosen))
    print(f"{rounds} rounds of {count} frames; load average {os.getloadavg()[0]:.1f} after")
    for (sink, chosen), rows in found.items():
        for at, clock in enumerate(("by the clock", "by CPU time")):
            base = [row[at] for row in found[sink, "none"]]
            ratios = [row[at] / without for row, without in zip(rows, base, strict=True)]
            rate = spread([row[at] for row in rows], ",.0f")
            print(f"{sink:8} {chosen:16} {clock:13} {rate}/s | {spread(ratios, '.2f')} x")


def spread(figures: list[float], form: str) -> str:
    return f"{statistics.median(figures):{form}} ({min(figures):{form}} to {max(figures):{form}})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sinks", nargs="*", choices=[*SINKS, []], help="those to measure (default: all)")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--frames", type=int, default=100_000)
    parser.add_argument("--beside", help="the interpreter of another environment with a kevy-ring")
    parser.add_argument("--filters", action="store_true", help="SET alone, with each kind of filter")
    parser.add_argument("--filter", default="none", help=argparse.SUPPRESS)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--load", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(*measure(options.one, options.load, options.frames, options.filter))
        return
    if options.filters:
        compare_filters(options.sinks or list(SINKS), options.rounds, options.frames)
        return
    pythons = [sys.executable] + ([options.beside] if options.beside else [])
    compare(options.sinks or list(SINKS), pythons, options.rounds, options.frames)


if __name__ == "__main__":
    main()
