"""subetha-ipc: rings of 64-byte places in shared memory, in Rust."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from bench.rivals.batches import batches_of
from bench.sink import Sink
from bench.transport import Transport


class Subetha(Transport):
    """``SpscRing``: at most 64 bytes a record, and the length is not kept: a 16-byte record comes back as 64 bytes."""

    name = "subetha-ipc"
    distribution = "subetha-ipc"
    modules = ("subetha",)
    note = "SpscRing.push / pop in a loop; at most 64 B, the length is not kept"

    def create(self) -> None:
        """Make the ring's file. Its places have 64 bytes whatever is in them."""
        import subetha

        self.places = 1 << ((self.capacity_bytes // 64).bit_length() - 1)
        self._path = str(self.folder / "ring")
        self._owner: Any = subetha.SpscRing(self._path, self.places)

    def open_sender(self) -> None:
        """Attach."""
        import subetha

        self._ring: Any = subetha.SpscRing.open(self._path, self.places)
        self.put = self._ring.push

    def open_receiver(self) -> None:
        """Attach."""
        import subetha

        self._ring = subetha.SpscRing.open(self._path, self.places)
        self.poll = self._ring.pop

    def _cutting(self, sink: Sink) -> Callable[[bytes], None]:
        """What takes a padded record: cut to its length where it is looked at."""
        take, length = sink.take, self.record_bytes
        return take if type(sink) is Sink else lambda record: take(record[:length])

    def send_single(self, records: Sequence[bytes], repeats: int) -> None:
        """One call for each record."""
        push = self._ring.push
        for _ in range(repeats):
            for record in records:
                while not push(record):
                    pass

    def take_single(self, count: int, sink: Sink) -> bytes:
        """Lists of records, which is faster than one by one."""
        pop_many, take, extend = self._ring.pop_many, self._cutting(sink), sink.extend
        cut = type(sink) is not Sink
        last = b""
        while count:
            found = pop_many(512)
            if found:
                if cut:
                    for record in found:
                        take(record)
                else:
                    extend(found)
                count -= len(found)
                last = found[-1]
        return last

    def send_batch(self, records: Sequence[bytes], repeats: int) -> None:
        """One call for a list of records."""
        push_many = self._ring.push_many
        batches = batches_of(records)
        for _ in range(repeats):
            for batch in batches:
                done = push_many(batch)
                while done < len(batch):
                    done += push_many(batch[done:])

    take_batch = take_single

    def send_packed(self, records: Sequence[bytes], repeats: int) -> None:
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
        pop_buffer, columns, length = self._ring.pop_buffer, sink.columns, self.record_bytes
        looks = type(sink) is not Sink
        last = b""
        while count:
            packed, found = pop_buffer(512)
            if found:
                columns(packed, range(0, 64 * found, 64) if looks else (), [length] * found if looks else ())
                count -= found
                last = packed[64 * (found - 1) :]
        return last


class SubethaFrames(Transport):
    """``Ring.send_frame`` and ``recv_frame``: records of any length."""

    name = "subetha-ipc frames"
    distribution = "subetha-ipc"
    modules = ("subetha",)
    note = "Ring.send_frame / recv_frame in a loop; any length"

    def create(self) -> None:
        """Make the ring's file."""
        import subetha

        self.places = 1 << ((self.capacity_bytes // 64).bit_length() - 1)
        self._path = str(self.folder / "ring")
        self._owner: Any = subetha.Ring(self._path, self.places)

    def _attach(self) -> None:
        import subetha

        for _ in range(200):
            try:
                self._ring: Any = subetha.Ring.open(self._path, self.places)
                return
            except OSError:
                time.sleep(0.01)

    def open_sender(self) -> None:
        """Attach and register."""
        self._attach()
        self._me = self._ring.register_producer()
        self.put = self._put

    def open_receiver(self) -> None:
        """Attach and register."""
        self._attach()
        self._me = self._ring.register_consumer()
        self.poll = self._poll

    def _put(self, record: bytes) -> Any:
        return self._ring.send_frame(self._me, record)

    def _poll(self) -> Any:
        return self._ring.recv_frame(self._me)

    def send_single(self, records: Sequence[bytes], repeats: int) -> None:
        """One call for each record."""
        send_frame, me = self._ring.send_frame, self._me
        for _ in range(repeats):
            for record in records:
                while not send_frame(me, record):
                    pass

    def take_single(self, count: int, sink: Sink) -> bytes:
        """One call for each record."""
        recv_frame, me, take = self._ring.recv_frame, self._me, sink.take
        record = b""
        while count:
            found = recv_frame(me)
            if found is not None:
                record = found
                take(record)
                count -= 1
        return record


TRANSPORT = Subetha
