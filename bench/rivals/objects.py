"""Objects of the objects case: arrays of 256 KiB, dictionaries of eight fields, and msgspec structs of eight fields.

Each is made of a record of the pool before the first is sent, and is made a record again when it is checked.
"""

from __future__ import annotations

import pickle
import struct
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

from bench.rivals.rings import FasterFifo, Zmq
from bench.rivals.standard import StandardPipe, StandardQueue
from bench.transport import Records, Sink, Transport, batches_of

_ROW, _PAGE_FLOATS = 256, 512
_WAIT_S = 60.0


def array_of(record: bytes) -> Any:
    """A matrix of floats."""
    import numpy as np

    return np.frombuffer(record, np.float64).reshape(-1, _ROW)


def dictionary_of(record: bytes) -> dict[str, Any]:
    """Eight fields; two of them hold the record."""
    number, text = int.from_bytes(record[:8], "little"), record[8:].hex()
    return {
        "id": number, "symbol": text, "price": 101.25, "quantity": 17, "side": "buy", "at": 1732833000.25,
        "is_open": True, "note": None,
    }  # fmt: skip


def _packed(number: int, text: str) -> bytes:
    return number.to_bytes(8, "little") + bytes.fromhex(text)


def struct_type() -> Any:
    """The same eight fields, as a type."""
    import msgspec

    fields = [("id", int), ("symbol", str), ("price", float), ("quantity", int), ("side", str), ("at", float)]
    return msgspec.defstruct("Order", [*fields, ("is_open", bool), ("note", str | None)], module=__name__)


_KINDS: dict[str, tuple[Callable[[Any], Any], Callable[[Any], bytes]]] = {
    "arrays": (array_of, lambda array: array.tobytes()),
    "dictionaries": (dictionary_of, lambda found: _packed(found["id"], found["symbol"])),
}


class _Objects(Transport):
    """What the transports of objects share: what is sent, and what is done with what arrives.

    An array is read at one number of each page. Of any other object nothing is read.
    """

    modules: ClassVar[tuple[str, ...]] = ("numpy",)

    def objects(self, records: Records) -> list[Any]:
        """The objects of all records."""
        kind = "arrays" if self.record_bytes > 1024 else "dictionaries"
        return [_KINDS[kind][0](record) for record in records]

    def look(self, sink: Sink) -> tuple[Callable[[Any], Any], Callable[[Any], bytes]]:
        """What to do with each object, and how to make the last one a record."""
        kind = "arrays" if self.record_bytes > 1024 else "dictionaries"
        record_of = _KINDS[kind][1]
        if sink.is_checking:
            return lambda found: sink.take(record_of(found)), record_of
        return (_touch if kind == "arrays" else sink.take), record_of


def _touch(array: Any) -> None:
    array.reshape(-1)[::_PAGE_FLOATS].sum()


class _OneByOne(_Objects):
    """``put`` and ``get`` take one object for each call, and wait."""

    def send_objects(self, records: Records, repeats: int) -> None:
        put, objects = self.put, self.objects(records)
        for _ in range(repeats):
            for obj in objects:
                put(obj)

    def take_objects(self, count: int, sink: Sink) -> bytes:
        get, (see, record_of) = self.get, self.look(sink)
        obj: Any = None
        for _ in range(count):
            obj = get()
            see(obj)
        return record_of(obj)


class OurObjects(_OneByOne):
    """``kevy_ring.objects``."""

    name = "kevy-ring objects"
    distribution = "kevy-ring"
    modules = ("kevy_ring.objects", "numpy")
    note = "send / recv, objects that own their memory"

    def create(self) -> None:
        from kevy_ring.objects import object_pair

        self._sender: Any
        self._receiver: Any
        self._sender, self._receiver = object_pair(self.capacity_bytes, name=self.tag, codec=self.codec())

    def codec(self) -> Any:
        """None: pickle."""
        return None

    def remove(self) -> None:
        super().remove()
        self._sender._segment.unlink()

    def open_sender(self) -> None:
        self.put = self._sender.send

    def open_receiver(self) -> None:
        self.get = self._receiver.recv

    def send_lists(self, records: Records, repeats: int) -> None:
        send_many, batches = self._sender.send_many, batches_of(self.objects(records))
        for _ in range(repeats):
            for batch in batches:
                send_many(batch)

    def take_lists(self, count: int, sink: Sink) -> bytes:
        """Lists of all objects that are there."""
        recv_many, wait, (see, record_of) = self._receiver.recv_many, self._receiver.wait, self.look(sink)
        found: list[Any] = []
        while count:
            wait()
            found = recv_many(1024)
            for obj in found:
                see(obj)
            count -= len(found)
        return record_of(found[-1])

    send_views = _OneByOne.send_objects

    def take_views(self, count: int, sink: Sink) -> bytes:
        """Batches, each array a view into the ring."""
        drain, wait, (see, record_of) = self._receiver.drain, self._receiver.wait, self.look(sink)
        last = b""
        while count:
            wait()
            with drain(4) as batch:
                for i in range(len(batch)):
                    see(batch[i])
                    count -= 1
                    if not count:
                        last = record_of(batch[i])
        return last


class OurStructs(OurObjects):
    """The same with msgspec."""

    name = "kevy-ring objects, MsgpackCodec"
    modules = ("kevy_ring.objects", "msgspec")

    def codec(self) -> Any:
        from kevy_ring.objects import MsgpackCodec

        return MsgpackCodec(struct_type())

    def objects(self, records: Records) -> list[Any]:
        return [struct_type()(**dictionary_of(record)) for record in records]

    def look(self, sink: Sink) -> tuple[Callable[[Any], Any], Callable[[Any], bytes]]:
        return _look_at_structs(sink)


def _look_at_structs(sink: Sink) -> tuple[Callable[[Any], Any], Callable[[Any], bytes]]:
    def record_of(found: Any) -> bytes:
        return _packed(found.id, found.symbol)

    return (lambda found: sink.take(record_of(found))) if sink.is_checking else sink.take, record_of


class Glue(_Objects):
    """Pickle with its one buffer out of band, written into a grant and read in a batch: nine lines over the ring."""

    name = "nine lines over the ring"
    modules = ("kevy_ring", "numpy")
    note = "pickle 5, one buffer, no checks; try_reserve / drain, each array a view into the ring"

    def create(self) -> None:
        from kevy_ring import Ring

        self._ring: Any = Ring.create(capacity=self.capacity_bytes, name=self.tag)

    def open_sender(self) -> None:
        from kevy_ring import Ring

        self._producer: Any = Ring.attach(self._ring.name).producer()

    def open_receiver(self) -> None:
        from kevy_ring import Ring

        self._consumer: Any = Ring.attach(self._ring.name).consumer()

    def remove(self) -> None:
        super().remove()
        self._ring.close()

    def send_objects(self, records: Records, repeats: int) -> None:
        try_reserve, publish, objects = self._producer.try_reserve, self._producer.publish, self.objects(records)
        wait = self._producer.wait
        dumps, pack = pickle.dumps, struct.Struct("<I").pack
        for _ in range(repeats):
            for obj in objects:
                buffers: list[pickle.PickleBuffer] = []
                pickled = dumps(obj, 5, buffer_callback=buffers.append)
                body, start = buffers[0].raw(), 4 + len(pickled)
                while (grant := try_reserve(start + body.nbytes)) is None:
                    wait(start + body.nbytes)
                grant.view[:start] = pack(len(pickled)) + pickled
                grant.view[start:] = body
                grant.commit(start + body.nbytes)
                publish()

    def take_objects(self, count: int, sink: Sink) -> bytes:
        drain, loads, (see, record_of) = self._consumer.drain, pickle.loads, self.look(sink)
        unpack, last, wait = struct.Struct("<I").unpack_from, b"", self._consumer.wait
        while count:
            wait()
            with drain(4) as batch:
                for i in range(len(batch)):
                    view = batch[i]
                    start = 4 + unpack(view)[0]
                    obj = loads(view[4:start], buffers=[view[start:]])
                    see(obj)
                    count -= 1
                    if not count:
                        last = record_of(obj)
                    del view, obj
        return last


class QueueObjects(_OneByOne, StandardQueue):
    """``put`` and ``get``."""

    note = "put / get, pickled by a thread"


class PipeObjects(_OneByOne, StandardPipe):
    """``send`` and ``recv``."""

    note = "send / recv"

    def open_sender(self) -> None:
        super().open_sender()
        self.put = self._sending.send

    def open_receiver(self) -> None:
        super().open_receiver()
        self.get = self._receiving.recv


class PipeStructs(PipeObjects):
    """msgspec over ``send_bytes`` and ``recv_bytes``."""

    name = "multiprocessing.Pipe + msgspec"
    modules = ("msgspec",)
    note = "send_bytes / recv_bytes of MessagePack"

    def open_sender(self) -> None:
        import msgspec

        StandardPipe.open_sender(self)
        send_bytes, encode = self._sending.send_bytes, msgspec.msgpack.Encoder().encode
        self.put = lambda obj: send_bytes(encode(obj))

    def open_receiver(self) -> None:
        import msgspec

        StandardPipe.open_receiver(self)
        recv_bytes, decode = self._receiving.recv_bytes, msgspec.msgpack.Decoder(struct_type()).decode
        self.get = lambda: decode(recv_bytes())

    objects = OurStructs.objects
    look = OurStructs.look


class ZmqObjects(_OneByOne, Zmq):
    """``send_pyobj`` and ``recv_pyobj``; arrays also as its documentation sends them, without pickle."""

    modules = ("zmq", "numpy")
    note = "send_pyobj / recv_pyobj, PUSH / PULL over ipc"

    def open_sender(self) -> None:
        super().open_sender()
        self.put = partial(self._socket.send_pyobj, protocol=5)

    def open_receiver(self) -> None:
        super().open_receiver()
        self.get = self._socket.recv_pyobj

    def send_arrays(self, records: Records, repeats: int) -> None:
        """Shape and dtype as JSON, then the array without a copy."""
        send_json, send, more = self._socket.send_json, self._socket.send, self.library.SNDMORE
        arrays = self.objects(records)
        for _ in range(repeats):
            for array in arrays:
                send_json({"dtype": str(array.dtype), "shape": array.shape}, more)
                send(array, copy=False)

    def take_arrays(self, count: int, sink: Sink) -> bytes:
        """Arrays over the buffers of the frames."""
        import numpy as np

        recv_json, recv, (see, record_of) = self._socket.recv_json, self._socket.recv, self.look(sink)
        array: Any = None
        for _ in range(count):
            said = recv_json()
            array = np.frombuffer(recv(copy=False).buffer, said["dtype"]).reshape(said["shape"])
            see(array)
        return record_of(array)


class ZmqStructs(ZmqObjects):
    """msgspec over ``send`` and ``recv``."""

    name = "pyzmq + msgspec"
    modules = ("zmq", "msgspec")
    note = "send / recv of MessagePack"

    def open_sender(self) -> None:
        import msgspec

        Zmq.open_sender(self)
        send, encode = self._socket.send, msgspec.msgpack.Encoder().encode
        self.put = lambda obj: send(encode(obj))

    def open_receiver(self) -> None:
        import msgspec

        Zmq.open_receiver(self)
        recv, decode = self._socket.recv, msgspec.msgpack.Decoder(struct_type()).decode
        self.get = lambda: decode(recv())

    objects = OurStructs.objects
    look = OurStructs.look


class FifoObjects(_OneByOne, FasterFifo):
    """``put`` and ``get``, or lists of objects, with its own pickle."""

    modules = ("faster_fifo", "numpy")
    note = "put / get"

    def create(self) -> None:
        self._fifo = self.library.Queue(self.capacity_bytes)

    def open_sender(self) -> None:
        self.put = partial(self._fifo.put, timeout=_WAIT_S)

    def open_receiver(self) -> None:
        super().open_receiver()
        self.get = partial(self._fifo.get, timeout=_WAIT_S)

    def send_lists(self, records: Records, repeats: int) -> None:
        put_many, batches = partial(self._fifo.put_many, timeout=_WAIT_S), batches_of(self.objects(records))
        for _ in range(repeats):
            for batch in batches:
                put_many(batch)

    def take_lists(self, count: int, sink: Sink) -> bytes:
        """Lists of all objects that are there."""
        get_many, (see, record_of) = partial(self._fifo.get_many, timeout=_WAIT_S), self.look(sink)
        found: list[Any] = []
        while count:
            found = get_many()
            for obj in found:
                see(obj)
            count -= len(found)
        return record_of(found[-1])
