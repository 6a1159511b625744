"""A program that applies INCR to a sink without end, from where the sink ends. A test kills it."""

from __future__ import annotations

import sys

from kevy_ring.shard import KeyFilter, sink_from_url
from kevy_ring.shard.sinks.jsonl import folding
from kevy_ring.shard.sinks.options import SinkOptions
from kevy_ring.shard.sinks.retention import Retention
from kevy_ring.shard.sinks.sink import ResumableSink

AT_ONCE = 20
#: The filter of a run with one. Of each commit, the second half does not pass.
FILTER = KeyFilter(keys=[b"n"])


def passes(offset: int) -> bool:
    """Whether the change at ``offset`` passes the filter."""
    return offset % (2 * AT_ONCE) < AT_ONCE


def main(url: str, changes: str, filtered: str = "") -> None:
    """Print each offset that a commit has stored, and how many changes were removed. ``filtered``: see FILTER."""
    folding.LOOK_EVERY_S = 0.01
    options = SinkOptions(changes=Retention.parse(changes), **({"filter": FILTER} if filtered else {}))
    sink = sink_from_url(url, options=options)
    assert isinstance(sink, ResumableSink)
    at = 0 if sink.stored_offset is None else sink.stored_offset + 1
    at_once = 2 * AT_ONCE if filtered else AT_ONCE
    while True:
        end = at + at_once - at % at_once
        for offset in range(at, end):
            sink.apply(offset, [b"INCR", b"n" if passes(offset) or not filtered else b"other"])
        at = end
        sink.commit()
        print(at - 1, sink.removed.count, flush=True)  # type: ignore[attr-defined]


if __name__ == "__main__":
    main(*sys.argv[1:])
