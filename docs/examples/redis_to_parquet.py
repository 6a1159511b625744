"""Change data capture: the keys of a Redis or Valkey server and then each change, as Parquet files. Ctrl-C ends it.

python redis_to_parquet.py redis://127.0.0.1:6379 changes
"""

import os
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet

from kevy_ring import ReplicaInboxReceiver
from kevy_ring.events import BytesLike
from kevy_ring.replica.fleet import Fleet
from kevy_ring.replica.stop import StopSignal
from kevy_ring.shard import Shard, Snapshot


class ParquetSink:
    durable = True  # acknowledge an offset only after its file is written

    def __init__(self, directory: str) -> None:
        self._directory = Path(directory)
        self._directory.mkdir(parents=True, exist_ok=True)
        self._changes: list[dict[str, Any]] = []

    def apply(self, offset: int, argv: Sequence[BytesLike]) -> None:
        self._changes.append({"offset": offset, "command": bytes(argv[0]), "arguments": [*map(bytes, argv[1:])]})

    def load(self, snapshot: Snapshot) -> None:
        rows = [{"db": entry.db, "key": entry.key, "type": entry.type} for entry in snapshot]
        self._write(f"keys-{snapshot.applied_offset:020}", rows)

    def flush(self) -> None:
        if self._changes:
            self._write(f"changes-{self._changes[0]['offset']:020}", self._changes)
            self._changes = []

    close = flush

    def _write(self, name: str, rows: list[dict[str, Any]]) -> None:
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), self._directory / f".{name}")
        os.replace(self._directory / f".{name}", self._directory / f"{name}.parquet")  # readers never see half a file


@dataclass(frozen=True)
class Capture:
    directory: str

    def __call__(self, ring_name: str, _index: int, stop: StopSignal) -> int:  # runs in the shard's process
        with (
            ReplicaInboxReceiver.attach(ring_name, timeout=10) as receiver,
            closing(ParquetSink(self.directory)) as sink,
        ):
            return Shard(receiver, sink, flush_interval_s=1.0).run(stop.is_set).frames


if __name__ == "__main__":
    fleet = Fleet(sys.argv[1], Capture(sys.argv[2]))
    fleet.run()
    print("changes written:", *fleet.results)
