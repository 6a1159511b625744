"""cloudtoid-interprocess: byte records in shared memory, many languages."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from bench.rivals.batches import batches_of
from bench.sink import Sink
from bench.transport import Transport


class Cloudtoid(Transport):
    """Spins on ``try_send`` and ``try_receive``, or sends with ``try_send_batch``; nothing is ever dropped."""

    name = "cloudtoid-interprocess"
    distribution = "cloudtoid-interprocess"
    modules: ClassVar[tuple[str, ...]] = ("cloudtoid_interprocess",)
    note = "try_send / try_receive in a loop"

    def open_sender(self) -> None:
        """Open the publisher."""
        import cloudtoid_interprocess as cloudtoid

        self._publisher: Any = cloudtoid.Publisher(self.tag, self.capacity_bytes, str(self.folder))
        self.put = self._publisher.try_send

    def open_receiver(self) -> None:
        """Open the subscriber."""
        import cloudtoid_interprocess as cloudtoid

        self._subscriber: Any = cloudtoid.Subscriber(self.tag, self.capacity_bytes, str(self.folder))
        self.poll = self._subscriber.try_receive
        self.get = partial(self._subscriber.receive, 60.0)

    def create(self) -> None:
        """Both sides need the same folder."""
        self.folder.mkdir(exist_ok=True)

    def remove(self) -> None:
        """Its semaphore outlives it."""
        super().remove()
        Path(f"/dev/shm/sem.ct3ip.{self.tag}").unlink(missing_ok=True)

    def send_single(self, records: Sequence[bytes], repeats: int) -> None:
        """One call for each record."""
        try_send = self._publisher.try_send
        for _ in range(repeats):
            for record in records:
                while not try_send(record):
                    pass

    def take_single(self, count: int, sink: Sink) -> bytes:
        """One call for each record; it has no other."""
        try_receive, take = self._subscriber.try_receive, sink.take
        record = b""
        while count:
            found = try_receive()
            if found is not None:
                record = found
                take(record)
                count -= 1
        return record

    def send_batch(self, records: Sequence[bytes], repeats: int) -> None:
        """One call for a list of records."""
        try_send_batch = self._publisher.try_send_batch
        batches = batches_of(records)
        for _ in range(repeats):
            for batch in batches:
                done = try_send_batch(batch)
                while done < len(batch):
                    done += try_send_batch(batch[done:])

    take_batch = take_single


TRANSPORT = Cloudtoid
