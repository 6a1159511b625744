"""A shard that aggregates with polars over the columns of whole batches. It makes no Python object per frame.

python shard_aggregation.py
"""

from collections.abc import Sequence
from threading import Thread
from typing import Any

import numpy as np
import polars as pl

from kevy_ring import Batch, Frame, replica_inbox_pair
from kevy_ring.events import BytesLike
from kevy_ring.shard import Shard
from kevy_ring.shard.sinks.python import PythonSink

LONGEST = 24  # bytes of a command's name that are kept; zeros fill up a shorter one


def first_arguments(batch: Batch) -> Any:
    """The names of all commands, as one numpy array of bytes."""
    memory = np.frombuffer(batch.buffer, "u1")
    payload = batch.starts.astype("i8")[:, None]  # the number of arguments, where each one ends, then their bytes
    lengths = memory[payload + np.arange(4, 8)].view("<u4")  # the first argument ends here, counted from its start
    first = payload + 4 + 4 * batch.argcs[:, None]
    names = memory.take(first + np.arange(LONGEST), mode="clip")  # a copy: no view of the ring is kept
    return np.where(np.arange(LONGEST) < lengths, names, 0).astype("u1").view(f"S{LONGEST}").ravel()


class Traffic:
    """Frames and argument bytes of each command."""

    def __init__(self) -> None:
        self.totals = pl.DataFrame(schema={"command": pl.Binary, "frames": pl.Int64, "bytes": pl.Int64})

    def __call__(self, _offset: int, argv: Sequence[BytesLike]) -> None:
        """One frame. The shard calls this for batches that also hold other events."""
        self._add([bytes(argv[0])], [0], [sum(map(len, argv))])

    def apply_batch(self, batch: Batch) -> None:
        """A batch that holds only frames. Its columns are numpy arrays that the core has filled."""
        names, codes = np.unique(first_arguments(batch), return_inverse=True)
        self._add(names.tolist(), codes, batch.lengths.astype("i8") - 4 - 4 * batch.argcs.astype("i8"))

    def _add(self, names: list[bytes], codes: Any, sizes: Any) -> None:
        """Add frames of the commands ``names[codes]`` with so many bytes of arguments."""
        found = pl.DataFrame({"command": pl.Series(names, dtype=pl.Binary).gather(codes), "bytes": sizes})
        counted = found.group_by("command").agg(frames=pl.len().cast(pl.Int64), bytes=pl.col("bytes").sum())
        self.totals = pl.concat([self.totals, counted]).group_by("command").sum()


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
