"""The primary's end of one replica's link, kevy protocol 1 or 2: bytes in, bytes to send. No I/O, no clock."""

from __future__ import annotations

from collections.abc import Collection
from enum import Enum

from kevy_ring.replica.protocols.request import RequestParser
from kevy_ring.replica.protocols.resp import MAX_GENERATION, MAX_OFFSET, parse_decimal
from kevy_ring.testing.upstream_shard import SnapshotImage, UpstreamShard

PROTOCOLS = (1, 2)
#: Protocol 2 promises a ping about this often.
PING_INTERVAL_S = 1.0
#: The bytes that are encoded for one link at a time. More would only wait in memory for a slow replica.
BATCH_BYTES = 64 << 10


class DownlinkState(Enum):
    """The states of a link; :data:`TRANSITIONS` has the allowed changes."""

    HANDSHAKE = "handshake"
    SNAPSHOT = "snapshot"
    STREAMING = "streaming"
    CLOSING = "closing"


TRANSITIONS = {
    DownlinkState.HANDSHAKE: {DownlinkState.SNAPSHOT, DownlinkState.STREAMING, DownlinkState.CLOSING},
    DownlinkState.SNAPSHOT: {DownlinkState.STREAMING, DownlinkState.CLOSING},
    DownlinkState.STREAMING: {DownlinkState.CLOSING},
    DownlinkState.CLOSING: set[DownlinkState](),
}


class Downlink:
    """One replica, from its handshake to its last acknowledgement.

    ``acked``: the last acknowledged position (the next offset that the replica needs), None before the first one.
    ``next_offset``: the offset of the next frame for this link, None before the handshake. In the state ``CLOSING`` the
    owner sends the remaining bytes, then closes the link.
    """

    def __init__(self, shard: UpstreamShard, protocols: Collection[int] = PROTOCOLS) -> None:
        self.state = DownlinkState.HANDSHAKE
        self.protocol: int | None = None
        self.replica_id = b""
        self.acked: int | None = None
        self.next_offset: int | None = None
        self._shard = shard
        self._protocols = protocols
        self._parser = RequestParser()
        self._unsent: list[bytes] = []
        self._image: SnapshotImage | None = None
        self._part = 0
        self._ping_due_s = 0.0

    @property
    def is_synced(self) -> bool:
        """True when the replica has the keyspace and gets frames."""
        return self.state is DownlinkState.STREAMING

    @property
    def is_closing(self) -> bool:
        """True when the link must be closed after the remaining bytes are sent."""
        return self.state is DownlinkState.CLOSING

    def receive(self, data: bytes) -> None:
        """Take bytes from the replica. An invalid request closes the link."""
        if self.is_closing:
            return
        for request in self._parser.feed(data):
            if self.state is DownlinkState.HANDSHAKE:
                self._shake_hands(request)
            elif not self.is_closing:
                self._acknowledge(request)
        if self._parser.malformed is not None and not self.is_closing:
            self._refuse(b"-ERR Protocol error\r\n")

    def next_bytes(self, now_s: float) -> bytes:
        """The next bytes to write, whole units of the protocol; empty when there are none now."""
        if not self._unsent:
            if self.state is DownlinkState.SNAPSHOT:
                self._more_snapshot(now_s)
            elif self.state is DownlinkState.STREAMING:
                self._more_frames(now_s)
        batch = b"".join(self._unsent)
        self._unsent.clear()
        return batch

    def _to(self, state: DownlinkState) -> None:
        assert state in TRANSITIONS[self.state], (self.state, state)
        self.state = state

    def _refuse(self, reply: bytes) -> None:
        # In the middle of the stream a replica would take an error line for a violation, so only close the link there.
        if self.state is DownlinkState.HANDSHAKE and reply:
            self._unsent.append(reply)
        self._to(DownlinkState.CLOSING)

    def _shake_hands(self, request: list[bytes]) -> None:
        arguments = [argument.upper() for argument in request]
        if len(arguments) not in {5, 6} or arguments[:2] != [b"REPLICATE", b"FROM"] or arguments[-2] != b"ID":
            self._refuse(b"-ERR unknown command\r\n")
            return
        protocol = len(arguments) - 4
        if protocol not in self._protocols:
            self._refuse(b"")
            return
        generation = parse_decimal(arguments[2], 0, MAX_GENERATION) if protocol == 2 else 0
        offset = parse_decimal(arguments[-3], 0, MAX_OFFSET)
        if offset is None or generation is None:
            self._refuse(b"-ERR value is not an integer or out of range\r\n")
            return
        self.protocol = protocol
        self.replica_id = request[-1]
        self._start(offset, known=protocol == 1 or generation == self._shard.generation)

    def _start(self, offset: int, *, known: bool) -> None:
        self._unsent.append(b"+ACK %b%d\r\n" % (self._generation, offset))
        shard = self._shard
        has_keys = bool(shard.keyspace.entries)
        continues = not has_keys if offset == 0 else known
        if continues and shard.backlog.reaches(offset):
            self.next_offset = offset
            self._to(DownlinkState.STREAMING)
            return
        self._image = shard.snapshot()
        self.next_offset = self._image.offset
        self._unsent.append(b"+SNAPSHOT\r\n")
        self._to(DownlinkState.SNAPSHOT)

    def _acknowledge(self, request: list[bytes]) -> None:
        position = None
        if len(request) == 3 and [argument.upper() for argument in request[:2]] == [b"REPLCONF", b"ACK"]:
            position = parse_decimal(request[2], 0, MAX_OFFSET)
        if position is None:
            self._refuse(b"")
        else:
            self.acked = position

    def _more_snapshot(self, now_s: float) -> None:
        assert self._image is not None
        self._ping(now_s)
        parts = self._image.parts
        if self._part < len(parts):
            self._unsent.append(parts[self._part])
            self._part += 1
        elif self._image.complete:
            self._unsent.append(b"+SNAPSHOT_END %d\r\n" % self._image.offset)
            self._image = None
            self._ping_due_s = now_s
            self._to(DownlinkState.STREAMING)

    def _more_frames(self, now_s: float) -> None:
        assert self.next_offset is not None
        if not self._shard.backlog.reaches(self.next_offset):
            # The backlog has dropped the next frame. The replica reconnects and gets a snapshot.
            self._to(DownlinkState.CLOSING)
            return
        self._ping(now_s)
        frames, self.next_offset = self._shard.backlog.read(self.next_offset, BATCH_BYTES)
        if frames:
            self._unsent.append(frames)

    def _ping(self, now_s: float) -> None:
        if self.protocol == 2 and now_s >= self._ping_due_s:
            self._unsent.append(b"+PING %b%d\r\n" % (self._generation, self._shard.backlog.next_offset))
            self._ping_due_s = now_s + PING_INTERVAL_S

    @property
    def _generation(self) -> bytes:
        return b"%d " % self._shard.generation if self.protocol == 2 else b""
