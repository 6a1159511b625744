"""tachyon-ipc: a ring in shared memory between two processes, in C++23."""

from __future__ import annotations

from typing import Any

from bench.transport import Records, Sink, Transport, batches_of, retried

_SPIN = 10_000  # its own default: looks at the ring this often before it sleeps


class Tachyon(Transport):
    """``acquire_tx`` and ``drain_batch``, in place on both sides; a full ring raises and is tried again."""

    name = "tachyon-ipc"
    distribution = "tachyon-ipc"
    modules = ("tachyon",)
    note = "acquire_tx, flush / drain_batch, in place"
    put_waits = True

    def create(self) -> None:
        self._path = str(self.folder / "socket")

    def open_sender(self) -> None:
        self._full = self.library.TachyonError
        self._bus: Any = self.library.TachyonBus()
        retried(lambda: self._bus.connect(self._path))
        self.put = self._put

    def open_receiver(self) -> None:
        self._bus = self.library.TachyonBus()
        self._bus.listen(self._path, self.capacity_bytes)
        self.get = self._get

    def _put(self, record: bytes) -> None:
        bus = self._bus
        with bus.acquire_tx(len(record)) as place:
            with memoryview(place) as view:
                view[: len(record)] = record
            place.actual_size = len(record)
        bus.flush()

    def _get(self) -> bytes:
        with self._bus.acquire_rx(_SPIN) as place, memoryview(place) as view:
            return bytes(view)

    def send_single(self, records: Records, repeats: int) -> None:
        acquire_tx, flush, full, length = self._bus.acquire_tx, self._bus.flush, self._full, self.record_bytes
        for _ in range(repeats):
            for record in records:
                while True:
                    try:
                        place = acquire_tx(length)
                        break
                    except full:
                        pass
                with place:
                    with memoryview(place) as view:
                        view[:length] = record
                    place.actual_size = length
                flush()

    def take_single(self, count: int, sink: Sink) -> bytes:
        """Views of a batch."""
        drain_batch, take = self._bus.drain_batch, sink.take
        last = b""
        while count:
            with drain_batch(512, _SPIN) as batch:
                for place in batch:
                    with memoryview(place) as view:
                        take(view)
                found = len(batch)
                if found == count:
                    with memoryview(batch[found - 1]) as view:
                        last = bytes(view)
                count -= found
                del place
        return last

    def send_batch(self, records: Records, repeats: int) -> None:
        """Each record in place, one flush for many."""
        acquire_tx, flush, full, length = self._bus.acquire_tx, self._bus.flush, self._full, self.record_bytes
        batches = batches_of(records)
        for _ in range(repeats):
            for batch in batches:
                for record in batch:
                    while True:
                        try:
                            place = acquire_tx(length)
                            break
                        except full:
                            flush()
                    with place:
                        with memoryview(place) as view:
                            view[:length] = record
                        place.actual_size = length
                flush()

    take_batch = take_single
    send_chunks = send_single

    def take_chunks(self, count: int, sink: Sink) -> bytes:
        """Each chunk in place."""
        acquire_rx, see = self._bus.acquire_rx, sink.chunk
        last = b""
        while count:
            count -= 1
            with acquire_rx(_SPIN) as place, memoryview(place) as view:
                see(view)
                if not count:
                    last = bytes(view)
        return last
