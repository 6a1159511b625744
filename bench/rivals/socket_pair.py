"""A pair of Unix sockets, as Python comes with them."""

from __future__ import annotations

import socket
import struct
from collections.abc import Sequence
from typing import Any

from bench.rivals.batches import batches_of
from bench.sink import Sink
from bench.transport import Transport

_WRITE_BYTES = 1 << 16
_READ_BYTES = 1 << 16
_BUFFER_BYTES = 1 << 20


class SocketPair(Transport):
    """A packet a record (SEQPACKET), or many records with their lengths in one write (STREAM)."""

    name = "socketpair"
    note = "SOCK_SEQPACKET, send / recv"

    def create(self) -> None:
        """Both sides inherit both kinds."""
        self._packets = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._streams = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        for end in (*self._packets, *self._streams):
            for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
                end.setsockopt(socket.SOL_SOCKET, option, _BUFFER_BYTES)

    def open_sender(self) -> None:
        """Close the other ends, so that their death is seen."""
        self._packets[1].close()
        self._streams[1].close()
        self.put = self._packets[0].send

    def open_receiver(self) -> None:
        """Close the other ends, so that their death is seen."""
        self._packets[0].close()
        self._streams[0].close()
        self.get = self._get

    def settle(self) -> None:
        """The creator keeps no end."""
        for end in (*self._packets, *self._streams):
            end.close()

    def _get(self) -> Any:
        record = self._packets[1].recv(_READ_BYTES)
        if not record:
            raise EOFError
        return record

    def send_single(self, records: Sequence[bytes], repeats: int) -> None:
        """One packet for each record."""
        send = self._packets[0].send
        for _ in range(repeats):
            for record in records:
                send(record)

    def take_single(self, count: int, sink: Sink) -> bytes:
        """One packet for each record."""
        recv, take = self._packets[1].recv, sink.take
        record = b""
        for _ in range(count):
            record = recv(_READ_BYTES)
            take(record)
        return record

    def send_batch(self, records: Sequence[bytes], repeats: int) -> None:
        """Records with their lengths before them, in writes of about 64 KiB."""
        sendall, pack, join = self._streams[0].sendall, struct.Struct("<I").pack, b"".join
        size = max(1, _WRITE_BYTES // (self.record_bytes + 4))
        batches = batches_of(records, size)
        for _ in range(repeats):
            for batch in batches:
                parts: list[bytes] = []
                for record in batch:
                    parts += (pack(len(record)), record)
                sendall(join(parts))

    def take_batch(self, count: int, sink: Sink) -> bytes:
        """Reads of 64 KiB, cut into records."""
        recv, take, unpack = self._streams[1].recv, sink.take, struct.Struct("<I").unpack_from
        record = rest = b""
        while count:
            received = rest + recv(_READ_BYTES)
            at, end = 0, len(received)
            while end - at >= 4:
                (length,) = unpack(received, at)
                if at + 4 + length > end:
                    break
                record = received[at + 4 : at + 4 + length]
                at += 4 + length
                take(record)
                count -= 1
            rest = received[at:]
        return record

    def send_chunks(self, records: Sequence[bytes], repeats: int) -> None:
        """One stream of chunks of one size."""
        sendall = self._streams[0].sendall
        for _ in range(repeats):
            for record in records:
                sendall(record)

    def take_chunks(self, count: int, sink: Sink) -> bytes:
        """Into one buffer, again and again."""
        into = bytearray(self.record_bytes)
        view, see = memoryview(into), sink.chunk
        recv_into = self._streams[1].recv_into
        for _ in range(count):
            recv_into(view, 0, socket.MSG_WAITALL)
            see(into)
        return bytes(into)


TRANSPORT = SocketPair
