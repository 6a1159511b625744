"""What comes with Python: queues, pipes and sockets."""

from __future__ import annotations

import multiprocessing
import os
import socket
import struct
from functools import partial
from typing import Any

from bench.transport import Records, Sink, Transport, batches_of, get_each, put_each

_WRITE_BYTES = _READ_BYTES = 1 << 16
_BUFFER_BYTES = 1 << 20


class StandardQueue(Transport):
    """``put`` and ``get``: pickled by a thread, through a pipe, under locks."""

    name = "multiprocessing.Queue"
    note = "put / get, unbounded"
    put_waits = True

    def create(self) -> None:
        self._queue: Any = multiprocessing.get_context("fork").Queue()

    def open_sender(self) -> None:
        self._queue.cancel_join_thread()
        self.put = self._queue.put

    def open_receiver(self) -> None:
        self.get = self._queue.get

    def take_chunks(self, count: int, sink: Sink) -> Any:
        """Each chunk as a new bytes object."""
        return get_each(self.get, count, sink.chunk)


class StandardPipe(Transport):
    """``send_bytes`` and ``recv_bytes``."""

    name = "multiprocessing.Pipe"
    note = "send_bytes / recv_bytes"
    put_waits = True

    def create(self) -> None:
        self._receiving: Any
        self._sending: Any
        self._receiving, self._sending = multiprocessing.Pipe(duplex=False)

    def open_sender(self) -> None:
        self._receiving.close()
        self.put = self._sending.send_bytes

    def open_receiver(self) -> None:
        self._sending.close()
        self.get = self._receiving.recv_bytes

    def settle(self) -> None:
        self._receiving.close()
        self._sending.close()

    def take_chunks(self, count: int, sink: Sink) -> bytes:
        """All chunks into one buffer."""
        into = bytearray(self.record_bytes)
        recv_bytes_into, see = self._receiving.recv_bytes_into, sink.chunk
        for _ in range(count):
            recv_bytes_into(into)
            see(into)
        return bytes(into)


class OsPipe(Transport):
    """``os.write`` and ``os.read``, for records of one size, at most 4096 bytes: the floor of all that sleeps."""

    name = "os.pipe"
    note = "os.write / os.read; records of one size"

    def create(self) -> None:
        self._receiving, self._sending = os.pipe()

    def open_sender(self) -> None:
        os.close(self._receiving)
        self.put = partial(os.write, self._sending)

    def open_receiver(self) -> None:
        os.close(self._sending)
        self.get = self._get

    def settle(self) -> None:
        os.close(self._receiving)
        os.close(self._sending)

    def _get(self) -> bytes:
        record = os.read(self._receiving, self.record_bytes)
        if not record:
            raise EOFError
        return record


class SocketPair(Transport):
    """A packet a record (SEQPACKET), or many records with their lengths in one write (STREAM)."""

    name = "socketpair"
    note = "SOCK_SEQPACKET, send / recv"
    put_waits = True

    def create(self) -> None:
        self._packets = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._streams = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        for end in (*self._packets, *self._streams):
            for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
                end.setsockopt(socket.SOL_SOCKET, option, _BUFFER_BYTES)

    def open_sender(self) -> None:
        self._packets[1].close()
        self._streams[1].close()
        self.put = self._packets[0].send

    def open_receiver(self) -> None:
        self._packets[0].close()
        self._streams[0].close()
        self.get = self._get

    def settle(self) -> None:
        for end in (*self._packets, *self._streams):
            end.close()

    def _get(self) -> Any:
        record = self._packets[1].recv(_READ_BYTES)
        if not record:
            raise EOFError
        return record

    def take_single(self, count: int, sink: Sink) -> Any:
        return get_each(partial(self._packets[1].recv, _READ_BYTES), count, sink.take)

    def send_batch(self, records: Records, repeats: int) -> None:
        """Records with their lengths before them, in writes of about 64 KiB."""
        sendall, pack, join = self._streams[0].sendall, struct.Struct("<I").pack, b"".join
        batches = batches_of(records, max(1, _WRITE_BYTES // (self.record_bytes + 4)))
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

    def send_chunks(self, records: Records, repeats: int) -> None:
        """One stream of chunks of one size."""
        put_each(self._streams[0].sendall, records, repeats)

    def take_chunks(self, count: int, sink: Sink) -> bytes:
        """All chunks into one buffer."""
        into = bytearray(self.record_bytes)
        view, see = memoryview(into), sink.chunk
        recv_into = self._streams[1].recv_into
        for _ in range(count):
            recv_into(view, 0, socket.MSG_WAITALL)
            see(into)
        return bytes(into)
