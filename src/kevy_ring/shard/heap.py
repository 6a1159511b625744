"""Python's collector of cycles, made to fit a process that holds a keyspace.

By default it walks all objects again and again while a keyspace grows, and finds nothing: keys and values have no
cycles. Only a shard process calls this, never the process of a library user.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

#: Allocations until the young objects are walked, and how many of such walks make one of the next older generation.
_THRESHOLDS = (50_000, 20, 20)


@contextmanager
def relaxed_collector() -> Iterator[None]:
    """Collect rarely, and leave out what exists now (the modules); as before at the end."""
    before = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


def settle_after_snapshot() -> None:
    """Free what a snapshot replaced, as far as it is held in cycles, and leave out the new keyspace from now on."""
    gc.unfreeze()
    gc.collect()
    gc.freeze()
