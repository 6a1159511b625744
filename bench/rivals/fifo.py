"""faster-fifo: a circular buffer under a process-shared mutex, in C++ and Cython."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench.rivals.batches import batches_of
from bench.sink import Sink
from bench.transport import Transport


def _same(record: bytes) -> bytes:
    return record


class FasterFifo(Transport):
    """``put`` and ``get_many``, with serializers that leave bytes as they are."""

    name = "faster-fifo"
    distribution = "faster-fifo"
    modules = ("faster_fifo",)
    note = "put / get_many, bytes as they are instead of pickle"

    def create(self) -> None:
        """Both sides inherit it."""
        import faster_fifo

        self._fifo: Any = faster_fifo.Queue(self.capacity_bytes, dumps=_same, loads=bytes)

    def open_sender(self) -> None:
        """Nothing to open."""
        self.put = self._put

    def open_receiver(self) -> None:
        """A receiving buffer as large as the ring, which it would otherwise grow to step by step."""
        self._fifo.reallocate_msg_buffer(self.capacity_bytes)
        self.get = self._fifo.get

    def _put(self, record: bytes) -> bool:
        self._fifo.put(record)
        return True

    def send_single(self, records: Sequence[bytes], repeats: int) -> None:
        """One call for each record."""
        put = self._fifo.put
        for _ in range(repeats):
            for record in records:
                put(record, timeout=60.0)

    def take_single(self, count: int, sink: Sink) -> bytes:
        """As many as there are."""
        get_many, extend = self._fifo.get_many, sink.extend
        records: list[bytes] = []
        while count:
            records = get_many(timeout=60.0)
            extend(records)
            count -= len(records)
        return records[-1]

    def send_batch(self, records: Sequence[bytes], repeats: int) -> None:
        """One call for a list of records."""
        put_many = self._fifo.put_many
        batches = batches_of(records)
        for _ in range(repeats):
            for batch in batches:
                put_many(batch, timeout=60.0)

    take_batch = take_single


TRANSPORT = FasterFifo
