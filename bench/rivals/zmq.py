"""pyzmq: PUSH and PULL over a Unix socket."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench.rivals.batches import batches_of
from bench.sink import Sink
from bench.transport import Transport


class Zmq(Transport):
    """``send`` and ``recv``; a high-water mark stops the sender, nothing is dropped."""

    name = "pyzmq"
    distribution = "pyzmq"
    modules = ("zmq",)
    note = "PUSH / PULL over ipc, high-water mark of the ring's records"

    def create(self) -> None:
        """Where the socket is."""
        self._url = f"ipc://{self.folder}/socket"

    def open_sender(self) -> None:
        """Connect."""
        import zmq

        self._socket: Any = zmq.Context().socket(zmq.PUSH)
        self._socket.set_hwm(self.places)
        self._socket.connect(self._url)
        self.put = self._put

    def open_receiver(self) -> None:
        """Bind."""
        import zmq

        self._socket = zmq.Context().socket(zmq.PULL)
        self._socket.set_hwm(self.places)
        self._socket.bind(self._url)
        self.get = self._socket.recv

    def _put(self, record: bytes) -> bool:
        self._socket.send(record)
        return True

    def send_single(self, records: Sequence[bytes], repeats: int) -> None:
        """One call for each record."""
        send = self._socket.send
        for _ in range(repeats):
            for record in records:
                send(record)

    def take_single(self, count: int, sink: Sink) -> bytes:
        """One call for each record."""
        recv, take = self._socket.recv, sink.take
        record = b""
        for _ in range(count):
            record = recv()
            take(record)
        return record

    def send_batch(self, records: Sequence[bytes], repeats: int) -> None:
        """A list of records as the parts of one multipart send."""
        send_multipart = self._socket.send_multipart
        batches = batches_of(records)
        for _ in range(repeats):
            for batch in batches:
                send_multipart(batch)

    def take_batch(self, count: int, sink: Sink) -> bytes:
        """All parts at once."""
        recv_multipart, extend = self._socket.recv_multipart, sink.extend
        batch: list[bytes] = []
        while count:
            batch = recv_multipart()
            extend(batch)
            count -= len(batch)
        return batch[-1]

    def send_chunks(self, records: Sequence[bytes], repeats: int) -> None:
        """Without a copy where the library can do without."""
        send = self._socket.send
        for _ in range(repeats):
            for record in records:
                send(record, copy=False)

    def take_chunks(self, count: int, sink: Sink) -> bytes:
        """As frames whose bytes are looked at where they lie."""
        recv, see = self._socket.recv, sink.chunk
        frame: Any = None
        for _ in range(count):
            frame = recv(copy=False)
            see(frame.buffer)
        return bytes(frame.buffer)


TRANSPORT = Zmq
