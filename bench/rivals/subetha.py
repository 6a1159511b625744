"""subetha-ipc: rings of 64-byte places in shared memory, in Rust."""

from __future__ import annotations

from functools import partial
from typing import Any

from bench.transport import Records, Sink, Transport, batches_of, get_lists, power_of_two, put_lists, retried

_PLACE_BYTES = 64
_BATCH_PLACES = 512


class Subetha(Transport):
    """``SpscRing``: at most 64 bytes a record, and the length is not kept: a 16-byte record comes back as 64 bytes."""

    name = "subetha-ipc"
    distribution = "subetha-ipc"
    modules = ("subetha",)
    note = "SpscRing.push / pop in a loop; at most 64 B, the length is not kept"
    kind = "SpscRing"

    def create(self) -> None:
        self.places = power_of_two(self.capacity_bytes // _PLACE_BYTES)
        self._path = str(self.folder / "ring")
        self._owner: Any = getattr(self.library, self.kind)(self._path, self.places)

    def _attach(self) -> None:
        self._ring: Any = retried(lambda: getattr(self.library, self.kind).open(self._path, self.places))

    def open_sender(self) -> None:
        self._attach()
        self.put = self._ring.push

    def open_receiver(self) -> None:
        self._attach()
        self.poll = self._ring.pop

    def take_single(self, count: int, sink: Sink) -> Any:
        """Lists of records, which is faster than one by one. A checked round cuts each record to its length."""
        length, extend = self.record_bytes, sink.extend
        look = (lambda found: extend(record[:length] for record in found)) if sink.is_checking else extend
        return get_lists(partial(self._ring.pop_many, _BATCH_PLACES), count, look)

    take_each = Transport.take_single  # one record for each call

    def send_batch(self, records: Records, repeats: int) -> None:
        put_lists(self._ring.push_many, records, repeats)

    take_batch = take_single

    def send_packed(self, records: Records, repeats: int) -> None:
        """One call for records of one length, back to back."""
        push_buffer, length = self._ring.push_buffer, self.record_bytes
        batches = [(b"".join(batch), len(batch)) for batch in batches_of(records)]
        for _ in range(repeats):
            for packed, wanted in batches:
                done = push_buffer(packed, length)
                while done < wanted:
                    done += push_buffer(packed[done * length :], length)

    def take_packed(self, count: int, sink: Sink) -> bytes:
        """One buffer of places for each call."""
        pop_buffer, columns, length, looks = self._ring.pop_buffer, sink.columns, self.record_bytes, sink.is_checking
        last = b""
        while count:
            packed, found = pop_buffer(_BATCH_PLACES)
            if found:
                starts = range(0, _PLACE_BYTES * found, _PLACE_BYTES) if looks else ()
                columns(packed, starts, [length] * found if looks else ())
                count -= found
                last = packed[_PLACE_BYTES * (found - 1) :]
        return last


class SubethaFrames(Subetha):
    """``Ring.send_frame`` and ``recv_frame``: records of any length."""

    name = "subetha-ipc frames"
    note = "Ring.send_frame / recv_frame in a loop; any length"
    kind = "Ring"
    take_single = Transport.take_single

    def open_sender(self) -> None:
        self._attach()
        self.put = partial(self._ring.send_frame, self._ring.register_producer())

    def open_receiver(self) -> None:
        self._attach()
        self.poll = partial(self._ring.recv_frame, self._ring.register_consumer())
