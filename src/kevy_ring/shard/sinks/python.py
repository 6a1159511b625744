"""A sink that calls the user's own code: ``python:module:callable``."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import reduce
from importlib import import_module
from typing import TYPE_CHECKING, Any

from kevy_ring.errors import KevyRingError, SinkError
from kevy_ring.events import BytesLike
from kevy_ring.shard.owned_frames import owned_frames
from kevy_ring.shard.sinks.jsonl.line import selected_by
from kevy_ring.shard.sinks.refusals import Refusals
from kevy_ring.shard.snapshot import Snapshot

if TYPE_CHECKING:
    from kevy_ring.inbox import Batch

_log = logging.getLogger(__name__)

#: Errors that say nothing about the event: the next event would raise them too. Skipping would then skip everything.
_NOT_OF_THE_EVENT = (KevyRingError, OSError, MemoryError)


class PythonSink:
    """Calls ``callable(offset, argv)`` for each frame.

    The callable may have ``load(snapshot)``, ``flush()``, ``close()``, ``apply_batch(batch)`` and ``durable``, as
    :class:`Sink` and :class:`BatchSink` describe them. Without ``load`` the entries of snapshots are dropped and
    counted in ``dropped_entries``. ``Shard.tick`` raises the errors of the callable unchanged, unless ``refusals`` has
    a policy.

    With a policy, an error of the callable is that of its event: the event is skipped, or the run stops. An error of
    the environment is not: KevyRingError, OSError (also of a connection) and MemoryError are always raised. If
    ``apply_batch`` raises, the events of its batch are given to the callable one by one.
    """

    def __init__(
        self, target: str | Callable[[int, Sequence[BytesLike]], Any], *, refusals: Refusals | None = None
    ) -> None:
        """``target``: ``"module:callable"`` (with dots for attributes), or the callable itself."""
        found = _find(target) if isinstance(target, str) else target
        self.target = found
        self.durable = bool(getattr(found, "durable", False))
        self.dropped_entries = 0
        self._name = f"python:{target}" if isinstance(target, str) else repr(target)
        self.refusals = refusals or Refusals(f"python:{target}")
        self._db = 0
        has_policy = self.refusals.policy is not None
        self.apply = self._apply_one if has_policy else found
        if hasattr(found, "apply_batch"):
            self.apply_batch = self._apply_batch if has_policy else found.apply_batch

    def _apply_one(self, offset: int, argv: Sequence[BytesLike]) -> None:
        db = self._db = selected_by(argv, self._db)
        try:
            self.target(offset, argv)
        except _NOT_OF_THE_EVENT:
            raise
        except Exception as error:
            self.refusals.raised(offset, db, argv, error)
            # Its traceback keeps our callers' frames, and the views of a batch that they hold.
            error.__traceback__ = None

    def _apply_batch(self, batch: Batch) -> None:
        try:
            self.target.apply_batch(batch)  # type: ignore[attr-defined]
        except _NOT_OF_THE_EVENT:
            raise
        except Exception as error:
            error.__traceback__ = None
        else:
            for argv in map(batch.argv, range(len(batch))):
                self._db = selected_by(argv, self._db)
            return
        for offset, owned in owned_frames(batch):
            self._apply_one(offset, owned)

    def load(self, snapshot: Snapshot) -> None:
        self._db = 0
        load = getattr(self.target, "load", None)
        if load is not None:
            load(snapshot)
            return
        self.dropped_entries += snapshot.count
        _log.warning("%s has no load(): %d entries of a snapshot were dropped", self._name, snapshot.count)

    def flush(self) -> None:
        flush = getattr(self.target, "flush", None)
        if flush is not None:
            flush()

    def close(self) -> None:
        close = getattr(self.target, "close", None)
        try:
            if close is not None:
                close()
        finally:
            self.refusals.close()


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
