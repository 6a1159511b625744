"""A blocking replica of one kevy shard, written only from the protocol's description."""

from __future__ import annotations

import socket
from types import TracebackType

from kevy_ring.events import Frame
from kevy_ring.replica.snapshots.kevysnap import SnapshotReader
from kevy_ring.testing.keyspace import Keyspace

PATIENCE_S = 60.0


class PlainReplica:
    """Checks the order of all units and applies them to a model."""

    def __init__(self, port: int, protocol: int = 2, name: bytes = b"replica", receive_bytes: int = 0) -> None:
        self.keyspace = Keyspace()
        self.protocol = protocol
        self.generation = 0
        self.next_offset = 0
        self.frames: list[Frame] = []
        self.snapshots = 0
        self.pings: list[int] = []
        self.in_snapshot = False
        self._name = name
        self._receive_bytes = receive_bytes
        self.connect(port)

    def connect(self, port: int) -> None:
        self.socket = socket.socket()
        if self._receive_bytes:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._receive_bytes)
        self.socket.settimeout(PATIENCE_S)
        self.socket.connect(("127.0.0.1", port))
        self._file = self.socket.makefile("rb")
        self.in_snapshot = False
        words = [b"REPLICATE", b"FROM", b"%d" % self.next_offset, b"ID", self._name]
        if self.protocol == 2:
            words.insert(2, b"%d" % self.generation)
        self.socket.sendall(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(w), w) for w in words))

    def acknowledge(self) -> None:
        self.socket.sendall(b"REPLCONF ACK %d\r\n" % self.next_offset)

    def follow(self, until: int) -> None:
        """Read until the frame before offset ``until`` is applied."""
        while self.next_offset < until or self.in_snapshot:
            self.read_unit()

    def sync(self) -> None:
        """Read the answer to the handshake and, if a snapshot follows, all of it."""
        snapshots = self.snapshots
        while self.snapshots == snapshots:
            self.read_unit()

    def read_unit(self) -> bytes:
        """Read one line, chunk or frame. Raises EOFError at the end of the link."""
        line = self._file.readline()
        if not line.endswith(b"\r\n"):
            raise EOFError
        if line.startswith(b"$"):
            assert self.in_snapshot
            chunk = self._bulk(line)
            assert 0 < len(chunk) <= 65536
            for entry in self._snapshot.feed(chunk):
                self._loaded.entries[entry.key] = entry
        elif line.startswith(b"*"):
            self._frame(line)
        else:
            self._control(line.split())
        return line

    def _control(self, words: list[bytes]) -> None:
        numbers = [int(word) for word in words[1:]]
        if words[0] == b"+ACK":
            if self.protocol == 2:
                self.generation = numbers[0]
            assert numbers[-1] == self.next_offset
        elif words[0] == b"+SNAPSHOT":
            self.in_snapshot = True
            self._snapshot, self._loaded = SnapshotReader(0), Keyspace()
        elif words[0] == b"+SNAPSHOT_END":
            self._snapshot.close()
            self.keyspace, self.next_offset = self._loaded, numbers[0]
            self.in_snapshot = False
            self.snapshots += 1
            self.frames.clear()
        else:
            assert words[0] == b"+PING"
            assert (self.protocol, numbers[0]) == (2, self.generation)
            self.pings.append(numbers[1])

    def _frame(self, line: bytes) -> None:
        assert not self.in_snapshot
        assert line == b"*2\r\n"
        assert self._file.readline() == b":%d\r\n" % self.next_offset
        argv = [self._bulk(self._file.readline()) for _ in range(int(self._file.readline()[1:]))]
        self.keyspace.apply(argv)
        self.frames.append(Frame(self.next_offset, argv))
        self.next_offset += 1

    def _bulk(self, line: bytes) -> bytes:
        length = int(line[1:])
        whole = self._file.read(length + 2)
        if len(whole) < length + 2:
            raise EOFError
        assert whole.endswith(b"\r\n")
        return whole[:-2]

    def close(self) -> None:
        self._file.close()
        self.socket.close()

    def __enter__(self) -> PlainReplica:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
