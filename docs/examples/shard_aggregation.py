"""A shard that aggregates with polars over the columns of whole batches, without an object per frame.

python shard_aggregation.py
"""

from collections.abc import Sequence
from threading import Thread
from typing import Any

import polars as pl

from kevy_ring import Batch, Frame, replica_inbox_pair
from kevy_ring.events import BytesLike
from kevy_ring.shard import Shard
from kevy_ring.shard.sinks.python import PythonSink


class Traffic:
    """Frames and argument bytes of each command."""

    def __init__(self) -> None:
        self.totals = pl.DataFrame(schema={"command": pl.Binary, "frames": pl.Int64, "bytes": pl.Int64})

    def __call__(self, _offset: int, argv: Sequence[BytesLike]) -> None:
        """One frame: what a shard calls for batches that hold other events too."""
        self._add([bytes(argv[0])], [sum(map(len, argv))])

    def apply_batch(self, batch: Batch) -> None:
        """A batch of frames only. ``lengths`` and ``argcs`` are numpy arrays that the core has filled."""
        commands = [bytes(batch.argv(i)[0]) for i in range(len(batch))]
        self._add(commands, batch.lengths.astype("i8") - 4 - 4 * batch.argcs.astype("i8"))

    def _add(self, commands: list[bytes], sizes: Any) -> None:
        frames = pl.DataFrame({"command": commands, "frames": pl.Series([1] * len(commands)), "bytes": sizes})
        self.totals = pl.concat([self.totals, frames]).group_by("command").sum()


def main() -> None:
    sender, receiver = replica_inbox_pair()
    traffic = Traffic()
    shard = Shard(receiver, PythonSink(traffic), max_events=4096)
    thread = Thread(target=shard.run)  # until the sender is gone
    thread.start()
    for start in range(0, 30_000, 1000):
        sender.send_many([Frame(n, [b"SET", b"key", b"v" * (n % 10)]) for n in range(start, start + 1000) if n % 3])
        sender.send_many([Frame(n, [b"DEL", b"key"]) for n in range(start, start + 1000) if n % 3 == 0])
    sender.close()
    thread.join()
    for command, frames, size in traffic.totals.sort("command").rows():
        print(f"{command.decode()}: {frames} frames, {size} bytes")


if __name__ == "__main__":
    main()
