"""cloudtoid-interprocess with msgspec: frames encoded as MessagePack, the fastest such pair."""

from __future__ import annotations

from collections.abc import Sequence

from bench.rivals.batches import BATCH_RECORDS
from bench.rivals.cloudtoid import Cloudtoid
from bench.rivals.frames import KEY_MASK, KEYS, SET, frame_checker
from bench.sink import Sink


class CloudtoidEvents(Cloudtoid):
    """A msgspec Struct as an array, encoded and decoded for each frame."""

    name = "cloudtoid-interprocess + msgspec"
    modules = ("cloudtoid_interprocess", "msgspec", "bench.rivals.packed_frame")
    note = "msgpack Struct; try_send_batch / try_receive"

    def send_batch(self, records: Sequence[bytes], repeats: int) -> None:
        """Lists of encoded frames."""
        import msgspec

        from bench.rivals.packed_frame import PackedFrame

        try_send_batch, encode, offset = self._publisher.try_send_batch, msgspec.msgpack.Encoder().encode, 0
        for _ in range(repeats):
            for start in range(0, len(records), BATCH_RECORDS):
                batch = []
                for value in records[start : start + BATCH_RECORDS]:
                    batch.append(encode(PackedFrame(offset, [SET, KEYS[offset & KEY_MASK], value])))
                    offset += 1
                done = try_send_batch(batch)
                while done < len(batch):
                    done += try_send_batch(batch[done:])

    def take_batch(self, count: int, sink: Sink) -> bytes:
        """One call for each frame; it has no other."""
        import msgspec

        from bench.rivals.packed_frame import PackedFrame

        try_receive, decode = self._subscriber.try_receive, msgspec.msgpack.Decoder(PackedFrame).decode
        take, check = sink.take, frame_checker(sink)
        value = b""
        while count:
            found = try_receive()
            if found is None:
                continue
            event = decode(found)
            value = event.argv[2]
            if check is None:
                take(event.argv)
            else:
                check(event.offset, event.argv)
            count -= 1
        return value


TRANSPORT = CloudtoidEvents
