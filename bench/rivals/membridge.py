"""membridge: a ring of byte records in shared memory, in Rust."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

from bench.sink import Sink
from bench.transport import Transport

_HEADER_BYTES = 24


class Membridge(Transport):
    """Spins on ``push`` and ``pop``."""

    name = "membridge"
    distribution = "membridge"
    modules = ("membridge",)
    note = "SpscRingBuffer.push / pop in a loop; it has no waiting form"

    def create(self) -> None:
        """Make the segment."""
        import membridge

        self._memory: Any = membridge.SharedMemory.create(f"/{self.tag}", self.capacity_bytes + _HEADER_BYTES)
        self._ring: Any = self._memory.spsc()

    def open_sender(self) -> None:
        """Attach."""
        self._attach()
        self.put = self._ring.push

    def open_receiver(self) -> None:
        """Attach."""
        self._attach()
        self.poll = self._ring.pop

    def _attach(self) -> None:
        import membridge

        self._memory = membridge.SharedMemory.open(f"/{self.tag}")
        self._ring = self._memory.spsc()

    def remove(self) -> None:
        """Unlink the segment."""
        import membridge

        super().remove()
        with contextlib.suppress(OSError):
            membridge.SharedMemory.remove(f"/{self.tag}")

    def send_single(self, records: Sequence[bytes], repeats: int) -> None:
        """One call for each record."""
        push = self._ring.push
        for _ in range(repeats):
            for record in records:
                while not push(record):
                    pass

    def take_single(self, count: int, sink: Sink) -> bytes:
        """One call for each record."""
        pop, take = self._ring.pop, sink.take
        record = b""
        while count:
            found = pop()
            if found is not None:
                record = found
                take(record)
                count -= 1
        return record


TRANSPORT = Membridge
