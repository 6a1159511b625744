"""Rivals from PyPI whose way is one call for each record: cloudtoid, membridge, zeroq, faster-fifo and pyzmq."""

from __future__ import annotations

import contextlib
import time
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from bench.transport import Records, Sink, Transport, batches_of, get_each, get_lists, put_each, put_lists

_MEMBRIDGE_HEADER_BYTES = 24


class Cloudtoid(Transport):
    """Spins on ``try_send`` and ``try_receive``, or sends with ``try_send_batch``; nothing is ever dropped."""

    name = "cloudtoid-interprocess"
    distribution = "cloudtoid-interprocess"
    modules: ClassVar[tuple[str, ...]] = ("cloudtoid_interprocess",)
    note = "try_send / try_receive in a loop"

    def create(self) -> None:
        """Both sides need the same folder."""
        self.folder.mkdir(exist_ok=True)

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

    def remove(self) -> None:
        """Its semaphore outlives it."""
        super().remove()
        Path(f"/dev/shm/sem.ct3ip.{self.tag}").unlink(missing_ok=True)

    def send_batch(self, records: Records, repeats: int) -> None:
        """One call for a list of records."""
        put_lists(self._publisher.try_send_batch, records, repeats)

    take_batch = Transport.take_single  # it has no call for many
    send_each = Transport.send_single

    def take_each(self, count: int, sink: Sink) -> Any:
        """One record for each call of ``receive``, which waits."""
        return get_each(self.get, count, sink.take)


class Membridge(Transport):
    """Spins on ``push`` and ``pop``."""

    name = "membridge"
    distribution = "membridge"
    modules = ("membridge",)
    note = "SpscRingBuffer.push / pop in a loop; it has no waiting form"

    def create(self) -> None:
        """Make the segment."""
        import membridge

        bytes_in_all = self.capacity_bytes + _MEMBRIDGE_HEADER_BYTES
        self._memory: Any = membridge.SharedMemory.create(f"/{self.tag}", bytes_in_all)
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


class Zeroq(Transport):
    """``put`` and ``get``, which wait by themselves. All records must have exactly the element size."""

    name = "zeroq"
    distribution = "zeroq"
    modules = ("zeroq",)
    note = "put / get; records of one fixed size only"
    put_waits = True

    def create(self) -> None:
        """Make the segment."""
        import zeroq

        self._ring: Any = zeroq.Queue(self.tag, element_size=self.record_bytes, capacity=self.places, create=True)

    def open_sender(self) -> None:
        """Attach."""
        self._attach()
        self.put = self._ring.put

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

    def _poll(self) -> Any:
        try:
            return self._ring.get_nowait()
        except self._empty:
            return None

    def take_single(self, count: int, sink: Sink) -> Any:
        """One record for each call, which waits: an empty ring would raise otherwise."""
        return get_each(self.get, count, sink.take)

    def remove(self) -> None:
        """Close, which unlinks."""
        super().remove()
        self._ring.close()


class FasterFifo(Transport):
    """A circular buffer under a process-shared mutex, with serializers that leave bytes as they are."""

    name = "faster-fifo"
    distribution = "faster-fifo"
    modules = ("faster_fifo",)
    note = "put / get_many, bytes as they are instead of pickle"
    put_waits = True

    def create(self) -> None:
        """Both sides inherit it."""
        import faster_fifo

        self._fifo: Any = faster_fifo.Queue(self.capacity_bytes, dumps=_same, loads=bytes)

    def open_sender(self) -> None:
        """Both sides inherited it already."""
        self.put = self._fifo.put

    def open_receiver(self) -> None:
        """A receiving buffer as large as the ring. Otherwise it grows to that size step by step."""
        self._fifo.reallocate_msg_buffer(self.capacity_bytes)
        self.get = self._fifo.get

    def send_single(self, records: Records, repeats: int) -> None:
        """One call for each record."""
        put_each(partial(self._fifo.put, timeout=60.0), records, repeats)

    def take_single(self, count: int, sink: Sink) -> Any:
        """As many as there are."""
        return get_lists(partial(self._fifo.get_many, timeout=60.0), count, sink.extend)

    def send_batch(self, records: Records, repeats: int) -> None:
        """One call for a list of records."""
        put_each(partial(self._fifo.put_many, timeout=60.0), batches_of(records), repeats)  # type: ignore[arg-type]

    take_batch = take_single


def _same(record: bytes) -> bytes:
    return record


class Zmq(Transport):
    """PUSH and PULL over a Unix socket; a high-water mark stops the sender, nothing is dropped."""

    name = "pyzmq"
    distribution = "pyzmq"
    modules = ("zmq",)
    note = "PUSH / PULL over ipc, high-water mark of the ring's records"
    put_waits = True

    def create(self) -> None:
        """Where the socket is."""
        self._url = f"ipc://{self.folder}/socket"

    def open_sender(self) -> None:
        """Connect."""
        import zmq

        self._socket: Any = zmq.Context().socket(zmq.PUSH)
        self._socket.set_hwm(self.places)
        self._socket.connect(self._url)
        self.put = self._socket.send

    def open_receiver(self) -> None:
        """Bind."""
        import zmq

        self._socket = zmq.Context().socket(zmq.PULL)
        self._socket.set_hwm(self.places)
        self._socket.bind(self._url)
        self.get = self._socket.recv

    def send_batch(self, records: Records, repeats: int) -> None:
        """A list of records as the parts of one multipart send."""
        put_each(self._socket.send_multipart, batches_of(records), repeats)  # type: ignore[arg-type]

    def take_batch(self, count: int, sink: Sink) -> Any:
        """All parts at once."""
        return get_lists(self._socket.recv_multipart, count, sink.extend)

    def send_chunks(self, records: Records, repeats: int) -> None:
        """Without a copy where the library can do without."""
        put_each(partial(self._socket.send, copy=False), records, repeats)

    def take_chunks(self, count: int, sink: Sink) -> bytes:
        """As frames whose bytes are looked at where they lie."""
        recv, see = self._socket.recv, sink.chunk
        frame: Any = None
        for _ in range(count):
            frame = recv(copy=False)
            see(frame.buffer)
        return bytes(frame.buffer)
