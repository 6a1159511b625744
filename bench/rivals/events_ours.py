"""kevy-ring's inbox: frames as objects on both sides."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench.rivals.batches import BATCH_RECORDS
from bench.rivals.frames import KEY_MASK, KEYS, SET, frame_checker
from bench.sink import Sink
from bench.transport import Transport


class OurEvents(Transport):
    """An inbox of the default capacity; what does not fit it goes through the overflow, as in use."""

    name = "kevy-ring inbox"
    distribution = "kevy-ring"
    modules = ("kevy_ring", "numpy")
    note = "send_many / drain"

    def create(self) -> None:
        """Make the inbox; each side takes its role in its own process."""
        from kevy_ring import replica_inbox_pair

        self._sender: Any
        self._receiver: Any
        self._sender, self._receiver = replica_inbox_pair(name=self.tag)

    def remove(self) -> None:
        """Unlink the ring."""
        super().remove()
        self._sender._segment.unlink()

    def send_batch(self, records: Sequence[bytes], repeats: int) -> None:
        """Lists of frames, each frame made here."""
        from kevy_ring import Frame

        send_many, offset = self._sender.send_many, 0
        for _ in range(repeats):
            for start in range(0, len(records), BATCH_RECORDS):
                frames = []
                for value in records[start : start + BATCH_RECORDS]:
                    frames.append(Frame(offset, [SET, KEYS[offset & KEY_MASK], value]))
                    offset += 1
                send_many(frames)

    def take_batch(self, count: int, sink: Sink) -> bytes:
        """Batches of frames that lie in the ring."""
        drain, take, check = self._receiver.drain, sink.take, frame_checker(sink)
        last = b""
        while count:
            with drain(1024) as batch:
                found = len(batch)
                if not found:
                    continue
                if check is None:
                    for event in batch:
                        take(event.argv)
                else:
                    for event in batch:
                        check(event.offset, event.argv)
                count -= found
                if not count:
                    last = bytes(batch[found - 1].argv[2])
        return last

    send_owned = send_batch

    def take_owned(self, count: int, sink: Sink) -> bytes:
        """Lists of frames that own their memory."""
        recv_many, take, check = self._receiver.recv_many, sink.take, frame_checker(sink)
        event: Any = None
        while count:
            events = recv_many(1024)
            if check is None:
                for event in events:
                    take(event.argv)
            else:
                for event in events:
                    check(event.offset, event.argv)
            count -= len(events)
        return bytes(event.argv[2])

    def send_single(self, records: Sequence[bytes], repeats: int) -> None:
        """One call for each frame."""
        from kevy_ring import Frame

        send, offset = self._sender.send, 0
        for _ in range(repeats):
            for value in records:
                send(Frame(offset, [SET, KEYS[offset & KEY_MASK], value]))
                offset += 1

    take_single = take_owned
    send_each = send_single

    def take_each(self, count: int, sink: Sink) -> bytes:
        """One call for each frame, which owns its memory."""
        recv, take, check = self._receiver.recv, sink.take, frame_checker(sink)
        event: Any = None
        for _ in range(count):
            event = recv(60.0)
            if check is None:
                take(event.argv)
            else:
                check(event.offset, event.argv)
        return bytes(event.argv[2])


TRANSPORT = OurEvents
