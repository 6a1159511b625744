"""kickmsg: publish and subscribe in shared memory, in C++."""

from __future__ import annotations

import time
from functools import partial
from typing import Any

from bench.transport import Records, Sink, Transport, batches_of

_CREDITS = 4  # parts of the ring that are acknowledged as a whole


class Kickmsg(Transport):
    """``send`` and ``try_receive``. A full ring evicts its oldest record, so the receiver gives credit back.

    The credit goes through a second region, once for each quarter of the ring: without it records are lost.
    """

    name = "kickmsg"
    distribution = "kickmsg"
    modules = ("kickmsg",)
    note = "send / try_receive in a loop; credit sent back for each quarter ring, else it drops the oldest"

    def create(self) -> None:
        self._there: Any = self._region(self.tag, self.places, self.record_bytes)
        self._back: Any = self._region(f"{self.tag}c", 16, 8)

    def _region(self, tag: str, places: int, record_bytes: int) -> Any:
        config = self.library.Config()
        config.max_subscribers = 1
        config.sub_ring_capacity = places
        config.pool_size = 2 * places  # a place is free again only when the ring has gone over it
        config.max_payload_size = record_bytes
        return self.library.SharedRegion.create(f"/{tag}", self.library.ChannelType.PubSub, config)

    def open_sender(self) -> None:
        self._there = self.library.SharedRegion.open(f"/{self.tag}")
        self._back = self.library.SharedRegion.open(f"/{self.tag}c")
        self._credits: Any = self.library.Subscriber(self._back)
        self._publisher: Any = self._publisher_of(self._there)
        self.put = self._publisher.send

    def open_receiver(self) -> None:
        self._there = self.library.SharedRegion.open(f"/{self.tag}")
        self._back = self.library.SharedRegion.open(f"/{self.tag}c")
        self._subscriber: Any = self.library.Subscriber(self._there)
        self._creditor: Any = self._publisher_of(self._back)
        self.poll = self._subscriber.try_receive
        self.get = partial(self._subscriber.receive, 60.0)

    def remove(self) -> None:
        super().remove()
        self._there.unlink()
        self._back.unlink()

    def _blocks(self, records: Records) -> list[list[bytes]]:
        return batches_of(records, self.places // _CREDITS - 1)  # and one empty record that asks for credit

    def _borrow(self, outstanding: int) -> int:
        """Wait until one block more fits; returns how many are outstanding."""
        try_receive = self._credits.try_receive
        while outstanding >= _CREDITS - 1:
            if try_receive() is not None:
                outstanding -= 1
        return outstanding + 1

    def send_single(self, records: Records, repeats: int) -> None:
        send, outstanding = self._publisher.send, 0
        blocks = self._blocks(records)
        for _ in range(repeats):
            for block in blocks:
                outstanding = self._borrow(outstanding)
                for record in block:
                    send(record)
                send(b"")

    def take_single(self, count: int, sink: Sink) -> bytes:
        try_receive, take, credit = self._subscriber.try_receive, sink.take, self._creditor.send
        record = b""
        while count:
            found = try_receive()
            if found is None:
                continue
            if not found:
                credit(b"")
                continue
            record = found
            take(record)
            count -= 1
        return record

    def send_chunks(self, records: Records, repeats: int) -> None:
        """Fill a place of the pool itself."""
        allocate, length, outstanding = self._publisher.allocate, self.record_bytes, 0
        blocks = self._blocks(records)
        for _ in range(repeats):
            for block in blocks:
                outstanding = self._borrow(outstanding)
                for record in block:
                    place = allocate()
                    with memoryview(place) as view:
                        view[:length] = record
                    place.publish(length)
                self._publisher.send(b"")

    def take_chunks(self, count: int, sink: Sink) -> bytes:
        """Look at each chunk in the pool."""
        try_receive_view, see, credit = self._subscriber.try_receive_view, sink.chunk, self._creditor.send
        last = b""
        while count:
            place = try_receive_view()
            if place is None:
                continue
            if not len(place):
                place.release()
                credit(b"")
                continue
            count -= 1
            with memoryview(place) as view:
                see(view)
                if not count:
                    last = bytes(view)
            place.release()
        return last

    def _publisher_of(self, region: Any) -> Any:
        """A publisher, once the region has its subscriber: what is sent before is lost."""
        for _ in range(500):
            if region.stats().live_rings:
                break
            time.sleep(0.01)
        return self.library.Publisher(region)
