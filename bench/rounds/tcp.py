"""A round of ``tcp``: an upstream serves live frames over loopback.

``prepared`` sends bytes that were made before, as fast as they are taken; ``embedded`` is the embedded primary, which
counts and keeps what it sends. ``ours``: a runner process, the ring, and a shard with the null sink, which computes a
CRC-32 over every byte. ``bare``: one process that receives into one buffer and drops the bytes; ``touching`` also adds
up one byte of every 4 KiB.
"""

from __future__ import annotations

import socket
import threading
import time
from multiprocessing.connection import Connection
from typing import Any

from bench.measure import WrongAnswer
from bench.processes import Report, Role, answer, at_the_start, fork_role, now_ns, time_sides
from bench.rounds.ingest import FIRST_OFFSET, make_wire
from kevy_ring import replica_inbox_pair
from kevy_ring.events import Frame
from kevy_ring.replica.runner import Runner
from kevy_ring.replica.snapshots.canonical import digest_frames
from kevy_ring.shard.shard import Shard
from kevy_ring.shard.sinks.null import NullSink
from kevy_ring.testing import EmbeddedPrimary
from kevy_ring.testing.upstream_shard import encode_frame

_CAPACITY_BYTES = 8 << 20
_RECEIVE_BYTES = 512 << 10
_PAGE = 4096
_DEADLINE_S = 60.0
_ASK = b"*5\r\n$9\r\nREPLICATE\r\n$4\r\nFROM\r\n$1\r\n0\r\n$2\r\nID\r\n$4\r\nbare\r\n"


class Prepared:
    """A process that answers a replica with an empty snapshot, and with frames that were encoded before."""

    def __init__(self, frames: int) -> None:
        self._wire = make_wire(frames)
        self.wire_bytes = len(self._wire.received)
        self.last_offset = FIRST_OFFSET + frames - 1
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._side = fork_role(self._serve)

    def _serve(self, connection: Connection) -> Report:
        link, _ = self._listener.accept()
        link.recv(4096)
        body = b"KEVYSNAP\x04\x00"
        link.sendall(b"+ACK 0\r\n+SNAPSHOT\r\n$%d\r\n%b\r\n+SNAPSHOT_END %d\r\n" % (len(body), body, FIRST_OFFSET))
        connection.recv()
        link.sendall(self._wire.received)
        return {}

    def start_live(self) -> None:
        """Let the live frames flow."""
        self._side.send("live")

    def digest(self) -> tuple[int, bytes]:
        """How many frames there are, and the digest of their canonical records."""
        return digest_frames(Frame(FIRST_OFFSET + i, argv) for i, argv in enumerate(self._wire.argvs))

    def close(self) -> None:
        """End the process."""
        self._side.send("done")


class Embedded:
    """The embedded primary, its live frames encoded ahead."""

    def __init__(self, frames: int) -> None:
        self._primary = EmbeddedPrimary.start(
            shards=1, keys=100, ops=frames, big_values=0, protocol=1, auto_live=False, backlog_bytes=1 << 30
        )
        workload = self._primary.workloads[0]
        commands = enumerate(workload.commands(), workload.first_offset)
        self.wire_bytes = sum(len(encode_frame(offset, argv)) for offset, argv in commands)
        self.port = self._primary.ports[0]
        self.last_offset = self._primary.final_offset(0)

    def start_live(self) -> None:
        """Let the live frames flow."""
        self._primary.start_live()

    def digest(self) -> tuple[int, bytes]:
        """How many frames there are, and the digest of their canonical records."""
        return self._primary.frame_digest(0)

    def close(self) -> None:
        """End the process."""
        self._primary.close()


def _run_runner(port: int, sender: Any, connection: Connection) -> Report:
    runner = Runner(f"kevy://127.0.0.1:{port}", sender, protocol="kevy1")
    threading.Thread(target=runner.run, daemon=True).start()
    at_the_start(connection)
    return {}


def _run_shard(upstream: Prepared | Embedded, receiver: Any, connection: Connection, is_checked: bool) -> Report:
    sink = NullSink()
    shard = Shard(receiver, sink, max_events=8192)
    while not sink.snapshots:
        if not shard.tick():
            receiver.wait(1.0)
    at_the_start(connection)
    began = time.monotonic()
    while (shard.applied_offset or 0) < upstream.last_offset:
        if not shard.tick():
            receiver.wait(1.0)
        if time.monotonic() > began + _DEADLINE_S:
            raise WrongAnswer(f"no end: offset {shard.applied_offset} of {upstream.last_offset}")
    ended = now_ns()
    if is_checked and (sink.frames, sink.digest) != upstream.digest():
        raise WrongAnswer(f"{sink.frames} frames, and another digest")
    return {"at": ended}


def _run_bare(upstream: Prepared | Embedded, touch: bool, connection: Connection) -> Report:
    received = bytearray(_RECEIVE_BYTES)
    view, sum_of_pages, got = memoryview(received), 0, 0
    with socket.create_connection(("127.0.0.1", upstream.port), timeout=_DEADLINE_S) as link:
        link.sendall(_ASK)
        head = b""
        while b"+SNAPSHOT_END" not in head or not head.endswith(b"\r\n"):
            head += link.recv(_RECEIVE_BYTES)
        at_the_start(connection)
        while got < upstream.wire_bytes:
            count = link.recv_into(view)
            if not count:
                break
            if touch:
                sum_of_pages += sum(received[:count:_PAGE])
            got += count
    ended = now_ns()
    if got != upstream.wire_bytes:
        raise WrongAnswer(f"{got} bytes of {upstream.wire_bytes}")
    return {"at": ended}


def run(tag: str, way: str, source: str, frames: int, is_checked: bool = False) -> Report:
    """One upstream, one link; seconds from the start of the live frames to the last one applied."""
    upstream = Prepared(frames) if source == "prepared" else Embedded(frames)
    roles: list[Role] = [lambda c: _run_bare(upstream, way == "touching", c)]
    if way == "ours":
        sender, receiver = replica_inbox_pair(_CAPACITY_BYTES)
        roles = [
            lambda c: _run_shard(upstream, receiver, c, is_checked),
            lambda c: _run_runner(upstream.port, sender, c),
        ]
    began = 0

    def at_go() -> None:
        nonlocal began
        began = now_ns()
        upstream.start_live()

    taken = time_sides(roles, lambda: None, at_go)[0]
    upstream.close()
    seconds = (taken["at"] - began) / 1e9
    return answer(seconds, upstream.wire_bytes, {"frames_per_s": frames / seconds})
