"""A sink that calls the user's own code: ``python:module:callable``."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import reduce
from importlib import import_module
from typing import Any

from kevy_ring.errors import SinkError
from kevy_ring.events import BytesLike
from kevy_ring.shard.snapshot import Snapshot

_log = logging.getLogger(__name__)


class PythonSink:
    """Calls ``callable(offset, argv)`` for each frame.

    The callable may have ``load(snapshot)``, ``flush()``, ``close()``, ``apply_batch(batch)`` and ``durable``, as
    :class:`Sink` and :class:`BatchSink` describe them. Without ``load`` the entries of snapshots are dropped and
    counted in ``dropped_entries``. ``Shard.tick`` raises the errors of the callable unchanged.
    """

    def __init__(self, target: str | Callable[[int, Sequence[BytesLike]], Any]) -> None:
        """``target``: ``"module:callable"`` (with dots for attributes), or the callable itself."""
        found = _find(target) if isinstance(target, str) else target
        self.target = found
        self.durable = bool(getattr(found, "durable", False))
        self.dropped_entries = 0
        self.apply = found
        if hasattr(found, "apply_batch"):
            self.apply_batch = found.apply_batch

    def load(self, snapshot: Snapshot) -> None:
        load = getattr(self.target, "load", None)
        if load is not None:
            load(snapshot)
            return
        self.dropped_entries += snapshot.count
        _log.warning("%r has no load(): %d entries of a snapshot were dropped", self.target, snapshot.count)

    def flush(self) -> None:
        flush = getattr(self.target, "flush", None)
        if flush is not None:
            flush()

    def close(self) -> None:
        close = getattr(self.target, "close", None)
        if close is not None:
            close()


def _find(path: str) -> Callable[[int, Sequence[BytesLike]], Any]:
    module, _, names = path.partition(":")
    if not module or not names:
        raise ValueError(f"python:{path} is not of the form python:MODULE:CALLABLE")
    try:
        found = reduce(getattr, names.split("."), import_module(module))
    except (ImportError, AttributeError) as error:
        raise SinkError(f"python:{path}", reason="load", detail=str(error)) from error
    if not callable(found):
        raise SinkError(f"python:{path}", reason="load", detail=f"it is a {type(found).__name__} and not callable")
    return found
