"""kevy-ring itself: the ring alone, in every way in which it sends and takes."""

from __future__ import annotations

from functools import partial
from typing import Any

from bench.transport import Records, Sink, Transport, batches_of, get_lists, put_lists

_DRAIN_RECORDS = 1024


class Ours(Transport):
    """A ring of byte records. A full ring is tried again at once, as with the rivals."""

    name = "kevy-ring"
    distribution = "kevy-ring"
    modules = ("kevy_ring", "numpy")
    note = "try_write / read_many; one by one: try_write / read"
    spin_us: float | None = None

    def create(self) -> None:
        from kevy_ring import Ring

        self._ring: Any = Ring.create(capacity=self.capacity_bytes, name=self.tag)

    def open_sender(self) -> None:
        from kevy_ring import Ring

        self._producer: Any = Ring.attach(self._ring.name, timeout=5.0).producer()
        self.put = self._producer.try_write

    def open_receiver(self) -> None:
        from kevy_ring import Ring

        options = {} if self.spin_us is None else {"spin_us": self.spin_us}
        self._consumer: Any = Ring.attach(self._ring.name, timeout=5.0).consumer(**options)
        self.poll = self._consumer.try_read
        self.get = self._consumer.read

    def remove(self) -> None:
        super().remove()
        self._ring.close()

    def take_single(self, count: int, sink: Sink) -> Any:
        """Lists of bytes: a call takes all records that are there."""
        return get_lists(partial(self._consumer.read_many, _DRAIN_RECORDS), count, sink.extend)

    send_polled = Transport.send_single
    take_polled = Transport.take_single  # one record for each call of try_read

    def send_batch(self, records: Records, repeats: int) -> None:
        put_lists(self._producer.write_many, records, repeats)

    take_batch = take_single
    send_views = send_batch

    def take_views(self, count: int, sink: Sink) -> bytes:
        """Batches, each record as a view into the ring."""
        return self._drained(count, sink.extend)

    def send_packed(self, records: Records, repeats: int) -> None:
        """One call for records back to back and the array of their lengths."""
        import numpy as np

        write_packed = self._producer.write_packed
        batches = [
            (memoryview(b"".join(batch)), np.array([len(record) for record in batch], np.uint32))
            for batch in batches_of(records)
        ]
        for _ in range(repeats):
            for packed, lengths in batches:
                done = write_packed(packed, lengths)
                while done < len(lengths):
                    done += write_packed(packed[int(lengths[:done].sum()) :], lengths[done:])

    def take_packed(self, count: int, sink: Sink) -> bytes:
        """The columns of a batch, over one buffer."""
        columns = sink.columns
        return self._drained(count, lambda batch: columns(batch.buffer, batch.starts, batch.lengths))

    def _drained(self, count: int, look: Any) -> bytes:
        drain, last = self._consumer.drain, b""
        while count:
            with drain(_DRAIN_RECORDS) as batch:
                found = len(batch)
                if found:
                    look(batch)
                    count -= found
                    if not count:
                        last = bytes(batch[found - 1])
        return last

    def send_chunks(self, records: Records, repeats: int) -> None:
        """Each chunk in a grant, in place."""
        try_reserve, publish, length = self._producer.try_reserve, self._producer.publish, self.record_bytes
        for _ in range(repeats):
            for record in records:
                while (grant := try_reserve(length)) is None:
                    pass
                grant.view[:] = record
                grant.commit(length)
                publish()

    def take_chunks(self, count: int, sink: Sink) -> bytes:
        """Each chunk in place."""
        drain, see, last = self._consumer.drain, sink.chunk, b""
        while count:
            with drain(4) as batch:
                for i in range(len(batch)):
                    with batch[i] as view:
                        see(view)
                        count -= 1
                        if not count:
                            last = bytes(view)
        return last

    send_written_chunks = Transport.send_single
    take_written_chunks = take_chunks


class OursAsleep(Ours):
    """``spin_us=0``: it sleeps at once."""

    note = "try_write / read; spin_us=0"
    spin_us = 0.0
