"""Settings of Python's cycle collector for a process that holds a keyspace.

With its default settings the collector walks all objects again and again while a keyspace grows. It finds nothing,
because keys and values have no cycles. Only a shard process uses these settings, never the process of a library user.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

#: Allocations until the young objects are walked, and how many of such walks cause one of the next older generation.
_THRESHOLDS = (50_000, 20, 20)


@contextmanager
def relaxed_collector() -> Iterator[None]:
    """Collect rarely, and leave out the objects that exist now (the modules). At the end restore the old settings."""
    before = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


def settle_after_snapshot() -> None:
    """Free the cycles of the replaced keyspace, and leave the new keyspace out from now on."""
    gc.unfreeze()
    gc.collect()
    gc.freeze()
