"""Rivals from PyPI whose way is one call for each record: cloudtoid, membridge, zeroq, faster-fifo and pyzmq."""

from __future__ import annotations

import contextlib
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from bench.transport import Records, Sink, Transport, batches_of, get_each, get_lists, put_each, put_lists, retried

_MEMBRIDGE_HEADER_BYTES = 24


class Cloudtoid(Transport):
    """Spins on ``try_send`` and ``try_receive``, or sends with ``try_send_batch``; nothing is ever dropped."""

    name = "cloudtoid-interprocess"
    distribution = "cloudtoid-interprocess"
    modules: ClassVar[tuple[str, ...]] = ("cloudtoid_interprocess",)
    note = "try_send / try_receive in a loop"

    def create(self) -> None:
        self.folder.mkdir(exist_ok=True)

    def open_sender(self) -> None:
        self._publisher: Any = self.library.Publisher(self.tag, self.capacity_bytes, str(self.folder))
        self.put = self._publisher.try_send

    def open_receiver(self) -> None:
        self._subscriber: Any = self.library.Subscriber(self.tag, self.capacity_bytes, str(self.folder))
        self.poll = self._subscriber.try_receive
        self.get = partial(self._subscriber.receive, 60.0)

    def remove(self) -> None:
        super().remove()
        Path(f"/dev/shm/sem.ct3ip.{self.tag}").unlink(missing_ok=True)

    def send_batch(self, records: Records, repeats: int) -> None:
        put_lists(self._publisher.try_send_batch, records, repeats)

    take_batch = Transport.take_single  # it has no call for many


class Membridge(Transport):
    """Spins on ``push`` and ``pop``."""

    name = "membridge"
    distribution = "membridge"
    modules = ("membridge",)
    note = "SpscRingBuffer.push / pop in a loop; it has no waiting form"

    def create(self) -> None:
        bytes_in_all = self.capacity_bytes + _MEMBRIDGE_HEADER_BYTES
        self._memory: Any = self.library.SharedMemory.create(f"/{self.tag}", bytes_in_all)
        self._ring: Any = self._memory.spsc()

    def open_sender(self) -> None:
        self._attach()
        self.put = self._ring.push

    def open_receiver(self) -> None:
        self._attach()
        self.poll = self._ring.pop

    def _attach(self) -> None:
        self._memory = self.library.SharedMemory.open(f"/{self.tag}")
        self._ring = self._memory.spsc()

    def remove(self) -> None:
        super().remove()
        with contextlib.suppress(OSError):
            self.library.SharedMemory.remove(f"/{self.tag}")


class Zeroq(Transport):
    """``put`` and ``get``, which wait by themselves. All records must have exactly the element size."""

    name = "zeroq"
    distribution = "zeroq"
    modules = ("zeroq",)
    note = "put / get; records of one fixed size only"
    put_waits = True

    def create(self) -> None:
        # Kept on both sides: where it is dropped, it removes the name.
        self._owner: Any = self.library.Queue(
            self.tag, element_size=self.record_bytes, capacity=self.places, create=True
        )

    def open_sender(self) -> None:
        self._attach()
        self.put = self._ring.put

    def open_receiver(self) -> None:
        self._attach()
        self.poll = self._poll
        self.get = self._ring.get

    def _attach(self) -> None:
        self._empty = self.library.Empty
        self._ring: Any = retried(lambda: self.library.Queue(self.tag, create=False))

    def _poll(self) -> Any:
        try:
            return self._ring.get_nowait()
        except self._empty:
            return None

    def take_single(self, count: int, sink: Sink) -> Any:
        """One record for each call, which waits: an empty ring would raise otherwise."""
        return get_each(self.get, count, sink.take)

    def remove(self) -> None:
        super().remove()
        self._owner.close()


class FasterFifo(Transport):
    """A circular buffer under a process-shared mutex, with serializers that leave bytes as they are."""

    name = "faster-fifo"
    distribution = "faster-fifo"
    modules = ("faster_fifo",)
    note = "put / get_many, bytes as they are instead of pickle"
    put_waits = True

    def create(self) -> None:
        self._fifo: Any = self.library.Queue(self.capacity_bytes, dumps=_same, loads=bytes)

    def open_sender(self) -> None:
        self.put = self._fifo.put

    def open_receiver(self) -> None:
        self._fifo.reallocate_msg_buffer(self.capacity_bytes)
        self.get = self._fifo.get

    def send_single(self, records: Records, repeats: int) -> None:
        put_each(partial(self._fifo.put, timeout=60.0), records, repeats)

    def take_single(self, count: int, sink: Sink) -> Any:
        """As many as there are."""
        return get_lists(partial(self._fifo.get_many, timeout=60.0), count, sink.extend)

    def send_batch(self, records: Records, repeats: int) -> None:
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
        self._url = f"ipc://{self.folder}/socket"

    def open_sender(self) -> None:
        self._socket: Any = self.library.Context().socket(self.library.PUSH)
        self._socket.set_hwm(self.places)
        self._socket.connect(self._url)
        self.put = self._socket.send

    def open_receiver(self) -> None:
        self._socket = self.library.Context().socket(self.library.PULL)
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
        """Without a copy, if the library can."""
        put_each(partial(self._socket.send, copy=False), records, repeats)

    def take_chunks(self, count: int, sink: Sink) -> bytes:
        """As frames whose bytes are read in place."""
        recv, see = self._socket.recv, sink.chunk
        frame: Any = None
        for _ in range(count):
            frame = recv(copy=False)
            see(frame.buffer)
        return bytes(frame.buffer)
