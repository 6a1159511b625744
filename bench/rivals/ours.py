"""kevy-ring itself: the ring alone, in every way in which it sends and takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench.rivals.batches import batches_of
from bench.sink import Sink
from bench.transport import Transport

_DRAIN_RECORDS = 1024


class Ours(Transport):
    """A ring of byte records. A full ring is tried again at once, as with the rivals."""

    name = "kevy-ring"
    distribution = "kevy-ring"
    modules = ("kevy_ring", "numpy")
    note = "try_write / read_many; one by one: try_write / read"

    spin_us: float | None = None

    def create(self) -> None:
        """Make the ring; each side takes its role in its own process."""
        from kevy_ring import Ring

        self._ring: Any = Ring.create(capacity=self.capacity_bytes, name=self.tag)

    def open_sender(self) -> None:
        """Take the producer role."""
        from kevy_ring import Ring

        self._producer: Any = Ring.attach(self._ring.name, timeout=5.0).producer()
        self.put = self._producer.try_write

    def open_receiver(self) -> None:
        """Take the consumer role."""
        from kevy_ring import Ring

        options = {} if self.spin_us is None else {"spin_us": self.spin_us}
        self._consumer: Any = Ring.attach(self._ring.name, timeout=5.0).consumer(**options)
        self.poll = self._consumer.try_read
        self.get = self._consumer.read

    def remove(self) -> None:
        """Unlink the ring."""
        super().remove()
        self._ring.close()

    def send_single(self, records: Sequence[bytes], repeats: int) -> None:
        """One call for each record."""
        try_write = self._producer.try_write
        for _ in range(repeats):
            for record in records:
                while not try_write(record):
                    pass

    def take_single(self, count: int, sink: Sink) -> bytes:
        """Lists of bytes."""
        read_many, extend = self._consumer.read_many, sink.extend
        records: list[bytes] = []
        while count:
            found = read_many(_DRAIN_RECORDS)
            if found:
                records = found
                extend(records)
                count -= len(records)
        return records[-1]

    def send_batch(self, records: Sequence[bytes], repeats: int) -> None:
        """One call for a list of records."""
        write_many = self._producer.write_many
        batches = batches_of(records)
        for _ in range(repeats):
            for batch in batches:
                done = write_many(batch)
                while done < len(batch):
                    done += write_many(batch[done:])

    take_batch = take_single
    send_views = send_batch

    def take_views(self, count: int, sink: Sink) -> bytes:
        """Batches, each record as a view into the ring."""
        drain, extend = self._consumer.drain, sink.extend
        last = b""
        while count:
            with drain(_DRAIN_RECORDS) as batch:
                found = len(batch)
                if found:
                    extend(batch)
                    count -= found
                    if not count:
                        last = bytes(batch[found - 1])
        return last

    def send_packed(self, records: Sequence[bytes], repeats: int) -> None:
        """One call for records back to back and the array of their lengths."""
        import numpy as np

        write_packed = self._producer.write_packed
        batches = []
        for batch in batches_of(records):
            batches.append((memoryview(b"".join(batch)), np.array([len(r) for r in batch], np.uint32)))
        for _ in range(repeats):
            for packed, lengths in batches:
                done = write_packed(packed, lengths)
                while done < len(lengths):
                    done += write_packed(packed[int(lengths[:done].sum()) :], lengths[done:])

    def take_packed(self, count: int, sink: Sink) -> bytes:
        """The columns of a batch, over one buffer."""
        drain, columns = self._consumer.drain, sink.columns
        last = b""
        while count:
            with drain(_DRAIN_RECORDS) as batch:
                found = len(batch)
                if found:
                    columns(batch.buffer, batch.starts, batch.lengths)
                    count -= found
                    if not count:
                        last = bytes(batch[found - 1])
        return last

    def send_chunks(self, records: Sequence[bytes], repeats: int) -> None:
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
        """Each chunk where it lies."""
        drain, see = self._consumer.drain, sink.chunk
        last = b""
        while count:
            with drain(4) as batch:
                for i in range(len(batch)):
                    with batch[i] as view:
                        see(view)
                        count -= 1
                        if not count:
                            last = bytes(view)
        return last

    send_written_chunks = send_single
    take_written_chunks = take_chunks


TRANSPORT = Ours
