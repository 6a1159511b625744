"""zeroq: records of one fixed size in shared memory, in Rust."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from bench.sink import Sink
from bench.transport import Transport


class Zeroq(Transport):
    """``put`` and ``get``, which wait by themselves. All records must have exactly the element size."""

    name = "zeroq"
    distribution = "zeroq"
    modules = ("zeroq",)
    note = "put / get; records of one fixed size only"

    def create(self) -> None:
        """Make the segment."""
        import zeroq

        self._ring: Any = zeroq.Queue(self.tag, element_size=self.record_bytes, capacity=self.places, create=True)

    def open_sender(self) -> None:
        """Attach."""
        self._attach()
        self.put = self._put

    def open_receiver(self) -> None:
        """Attach."""
        self._attach()
        self.poll = self._poll
        self.get = self._ring.get

    def _attach(self) -> None:
        import zeroq

        self._empty = zeroq.Empty
        for _ in range(200):
            try:
                self._ring = zeroq.Queue(self.tag, create=False)
                return
            except OSError:
                time.sleep(0.01)

    def _put(self, record: bytes) -> bool:
        self._ring.put(record)
        return True

    def _poll(self) -> Any:
        try:
            return self._ring.get_nowait()
        except self._empty:
            return None

    def remove(self) -> None:
        """Close, which unlinks."""
        super().remove()
        self._ring.close()

    def send_single(self, records: Sequence[bytes], repeats: int) -> None:
        """One call for each record."""
        put = self._ring.put
        for _ in range(repeats):
            for record in records:
                put(record)

    def take_single(self, count: int, sink: Sink) -> bytes:
        """One call for each record."""
        get, take = self._ring.get, sink.take
        record = b""
        for _ in range(count):
            record = get()
            take(record)
        return record


TRANSPORT = Zeroq
