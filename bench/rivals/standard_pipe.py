"""multiprocessing.Pipe, as Python comes with it."""

from __future__ import annotations

import multiprocessing
from collections.abc import Sequence
from typing import Any

from bench.sink import Sink
from bench.transport import Transport


class StandardPipe(Transport):
    """``send_bytes`` and ``recv_bytes``."""

    name = "multiprocessing.Pipe"
    note = "send_bytes / recv_bytes"

    def create(self) -> None:
        """Both sides inherit it."""
        self._receiving: Any
        self._sending: Any
        self._receiving, self._sending = multiprocessing.Pipe(duplex=False)

    def open_sender(self) -> None:
        """Close the other end, so that its death is seen."""
        self._receiving.close()
        self.put = self._put

    def open_receiver(self) -> None:
        """Close the other end, so that its death is seen."""
        self._sending.close()
        self.get = self._receiving.recv_bytes

    def settle(self) -> None:
        """The creator keeps no end."""
        self._receiving.close()
        self._sending.close()

    def _put(self, record: bytes) -> bool:
        self._sending.send_bytes(record)
        return True

    def send_single(self, records: Sequence[bytes], repeats: int) -> None:
        """One call for each record."""
        send_bytes = self._sending.send_bytes
        for _ in range(repeats):
            for record in records:
                send_bytes(record)

    def take_single(self, count: int, sink: Sink) -> bytes:
        """One call for each record."""
        recv_bytes, take = self._receiving.recv_bytes, sink.take
        record = b""
        for _ in range(count):
            record = recv_bytes()
            take(record)
        return record

    send_chunks = send_single

    def take_chunks(self, count: int, sink: Sink) -> bytes:
        """Into one buffer, again and again."""
        into = bytearray(self.record_bytes)
        recv_bytes_into, see = self._receiving.recv_bytes_into, sink.chunk
        for _ in range(count):
            recv_bytes_into(into)
            see(into)
        return bytes(into)


TRANSPORT = StandardPipe
