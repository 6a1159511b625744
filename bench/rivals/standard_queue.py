"""multiprocessing.Queue, as Python comes with it."""

from __future__ import annotations

import multiprocessing
from collections.abc import Sequence
from typing import Any

from bench.sink import Sink
from bench.transport import Transport


class StandardQueue(Transport):
    """``put`` and ``get``: pickled by a thread, through a pipe, under locks."""

    name = "multiprocessing.Queue"
    note = "put / get, unbounded"

    def create(self) -> None:
        """Both sides inherit it."""
        self._queue: Any = multiprocessing.get_context("fork").Queue()

    def open_sender(self) -> None:
        """The process leaves without waiting for its feeding thread."""
        self._queue.cancel_join_thread()
        self.put = self._put

    def open_receiver(self) -> None:
        """Nothing to open."""
        self.get = self._queue.get

    def _put(self, record: bytes) -> bool:
        self._queue.put(record)
        return True

    def send_single(self, records: Sequence[bytes], repeats: int) -> None:
        """One call for each record."""
        put = self._queue.put
        for _ in range(repeats):
            for record in records:
                put(record)

    def take_single(self, count: int, sink: Sink) -> bytes:
        """One call for each record."""
        get, take = self._queue.get, sink.take
        record = b""
        for _ in range(count):
            record = get()
            take(record)
        return record

    send_chunks = send_single

    def take_chunks(self, count: int, sink: Sink) -> bytes:
        """Each chunk as bytes of its own."""
        get, see = self._queue.get, sink.chunk
        record = b""
        for _ in range(count):
            record = get()
            see(record)
        return record


TRANSPORT = StandardQueue
