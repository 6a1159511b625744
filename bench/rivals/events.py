"""Frames of the events case: ``SET key value``, the key of 16 bytes and the value a record of the pool."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, ClassVar

from bench.measure import WrongAnswer
from bench.rivals.rings import Cloudtoid
from bench.rivals.standard import StandardQueue
from bench.transport import BATCH_RECORDS, Records, Sink, Transport

_KEYS = [b"key:%012d" % i for i in range(1024)]
_MASK = len(_KEYS) - 1
_SET = b"SET"


def _looking(sink: Sink) -> Callable[[Iterable[Any]], Any]:
    """What looks at the frames of a call. Returns the last value.

    In a timed round it looks at the arguments of each frame. In a checked round it compares offset, command and key,
    and gives the value to the digest.
    """
    take, wanted = sink.take, 0

    def look(events: Iterable[Any]) -> Any:
        event: Any = None
        for event in events:
            take(event.argv)
        return event.argv[2]

    def check(events: Iterable[Any]) -> Any:
        nonlocal wanted
        value = None
        for event in events:
            command, key, value = event.argv
            if event.offset != wanted:
                raise WrongAnswer(f"frame {event.offset} came where {wanted} should")
            if bytes(command) != _SET or bytes(key) != _KEYS[wanted & _MASK]:
                raise WrongAnswer(f"frame {event.offset} is {bytes(command)!r} {bytes(key)!r}")
            take(value)
            wanted += 1
        return value

    return check if sink.is_checking else look


def _send_frames(send: Callable[[Any], Any], records: Records, repeats: int) -> None:
    """One call for each frame, which is made here."""
    from kevy_ring import Frame

    offset = 0
    for _ in range(repeats):
        for value in records:
            send(Frame(offset, [_SET, _KEYS[offset & _MASK], value]))
            offset += 1


def _send_lists(
    send_many: Callable[[list[Any]], Any], make: Callable[..., Any], records: Records, repeats: int
) -> None:
    """One call for a list of frames, each made here."""
    offset = 0
    for _ in range(repeats):
        for start in range(0, len(records), BATCH_RECORDS):
            frames = []
            for value in records[start : start + BATCH_RECORDS]:
                frames.append(make(offset, [_SET, _KEYS[offset & _MASK], value]))
                offset += 1
            send_many(frames)


def _take_frames(get: Callable[[], Any], count: int, sink: Sink) -> Any:
    """One call for each frame."""
    if sink.is_checking:
        return _looking(sink)(get() for _ in range(count))
    take, event = sink.take, None
    for _ in range(count):
        event = get()
        take(event.argv)
    return event.argv[2]  # type: ignore[union-attr]


class OurEvents(Transport):
    """An inbox of the default capacity. What does not fit goes through the overflow, as in use."""

    name = "kevy-ring inbox"
    distribution = "kevy-ring"
    modules = ("kevy_ring", "numpy")
    note = "send_many / drain"

    def create(self) -> None:
        from kevy_ring import replica_inbox_pair

        self._sender: Any
        self._receiver: Any
        self._sender, self._receiver = replica_inbox_pair(name=self.tag)

    def remove(self) -> None:
        super().remove()
        self._sender._segment.unlink()

    def send_batch(self, records: Records, repeats: int) -> None:
        """Lists of frames."""
        from kevy_ring import Frame

        _send_lists(self._sender.send_many, Frame, records, repeats)

    def take_batch(self, count: int, sink: Sink) -> bytes:
        """Batches of frames in the ring, in place."""
        drain, look, last = self._receiver.drain, _looking(sink), b""
        while count:
            with drain(1024) as batch:
                found = len(batch)
                if found:
                    count -= found
                    value = look(batch)
                    if not count:
                        last = bytes(value)
                    del value
        return last

    send_owned = send_batch

    def take_owned(self, count: int, sink: Sink) -> Any:
        """Lists of frames that own their memory."""
        recv_many, look, value = self._receiver.recv_many, _looking(sink), b""
        while count:
            events = recv_many(1024)
            if events:
                value = look(events)
                count -= len(events)
        return value

    def send_single(self, records: Records, repeats: int) -> None:
        _send_frames(self._sender.send, records, repeats)

    take_single = take_owned
    send_each = send_single

    def take_each(self, count: int, sink: Sink) -> Any:
        """One call for each frame, which owns its memory."""
        return _take_frames(partial(self._receiver.recv, 60.0), count, sink)


class QueueEvents(StandardQueue):
    """The same frames as the inbox, each pickled by the sender's thread."""

    modules = ("kevy_ring",)
    note = "put / get of the same Frame objects"

    def send_single(self, records: Records, repeats: int) -> None:
        _send_frames(self._queue.put, records, repeats)

    def take_single(self, count: int, sink: Sink) -> Any:
        return _take_frames(self._queue.get, count, sink)


class CloudtoidEvents(Cloudtoid):
    """With msgspec: a Struct as a MessagePack array for each frame, the fastest such pair."""

    name = "cloudtoid-interprocess + msgspec"
    modules: ClassVar[tuple[str, ...]] = ("cloudtoid_interprocess", "msgspec")
    note = "msgpack Struct; try_send_batch / try_receive"

    def create(self) -> None:
        import msgspec

        super().create()
        fields: list[Any] = [("offset", int), ("argv", list[bytes])]
        self._frame: Any = msgspec.defstruct("PackedFrame", fields, array_like=True, gc=False)

    def send_batch(self, records: Records, repeats: int) -> None:
        """Lists of encoded frames."""
        import msgspec

        try_send_batch, encode = self._publisher.try_send_batch, msgspec.msgpack.Encoder().encode
        offset, packed = 0, self._frame
        for _ in range(repeats):
            for start in range(0, len(records), BATCH_RECORDS):
                batch = []
                for value in records[start : start + BATCH_RECORDS]:
                    batch.append(encode(packed(offset, [_SET, _KEYS[offset & _MASK], value])))
                    offset += 1
                done = try_send_batch(batch)
                while done < len(batch):
                    done += try_send_batch(batch[done:])

    def take_batch(self, count: int, sink: Sink) -> Any:
        """One call for each frame; it has no call for many."""
        import msgspec

        try_receive, decode = self._subscriber.try_receive, msgspec.msgpack.Decoder(self._frame).decode
        look, take, event = _looking(sink), sink.take, None
        while count:
            found = try_receive()
            if found is None:
                continue
            event = decode(found)
            if sink.is_checking:
                look((event,))
            else:
                take(event.argv)
            count -= 1
        return event.argv[2]  # type: ignore[union-attr]
