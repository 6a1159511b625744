"""A program that applies INCR to a sink without end, from where the sink ends. A test kills it."""

from __future__ import annotations

import sys

from kevy_ring.shard import sink_from_url
from kevy_ring.shard.sinks.jsonl import folding
from kevy_ring.shard.sinks.options import SinkOptions
from kevy_ring.shard.sinks.retention import Retention
from kevy_ring.shard.sinks.sink import ResumableSink

AT_ONCE = 20


def main(url: str, changes: str) -> None:
    """Print each offset that a commit has stored."""
    folding.LOOK_EVERY_S = 0.01
    sink = sink_from_url(url, options=SinkOptions(changes=Retention.parse(changes)))
    assert isinstance(sink, ResumableSink)
    at = 0 if sink.stored_offset is None else sink.stored_offset + 1
    while True:
        for offset in range(at, at + AT_ONCE):
            sink.apply(offset, [b"INCR", b"n"])
        at += AT_ONCE
        sink.commit()
        print(at - 1, sink.removed.count, flush=True)  # type: ignore[attr-defined]


if __name__ == "__main__":
    main(*sys.argv[1:])
