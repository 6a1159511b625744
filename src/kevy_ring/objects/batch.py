"""A batch of objects that are made of the records in place."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kevy_ring.ring.batch import RecordBatch

#: From this many bytes on, a copy of the whole record costs more than a batch for it.
LARGE_BYTES = 8192


class ObjectBatch(RecordBatch):
    """Objects whose records are in the ring. ``batch[i]`` makes object ``i`` at each touch; iteration makes each once.

    Arrays and other buffers of these objects are read-only views into the ring. Drop them before the batch ends, or it
    raises :class:`ViewsEscaped`. ``owned(i)`` and ``copies()`` make objects that may be kept.

        with receiver.drain() as batch:
            for array in batch:
                total += array.sum()
            del array

    The batch ends as each :class:`RecordBatch` does, and has its columns. A record that is no object raises
    :class:`ObjectError`.
    """

    __slots__ = ()

    def _object(self, i: int, copies: bool = False) -> Any:
        receiver: Any = self._consumer  # an ObjectReceiver, whose module imports this one
        record = self._at(i)
        receiver._is_large = len(record) >= LARGE_BYTES
        try:
            return receiver._decode(record, copies)
        except Exception as why:
            error = receiver._no_object(record, why, i)
            del record
            raise error from why

    def __getitem__(self, i: int) -> Any:
        return self._object(i)

    def __iter__(self) -> Iterator[Any]:
        ahead = self._unreleased()
        return self._iterate(map(self._object, ahead), ahead)

    def owned(self, i: int) -> Any:
        """Returns object ``i`` without views into the ring: it may be kept. Its arrays may be written.

        Raises :class:`ObjectError`, ``IndexError``, and :class:`ClosedError` after the release.
        """
        return self._object(i, copies=True)

    def copies(self) -> list[Any]:
        """All objects, each as of :meth:`owned`. Raises :class:`ObjectError`, and ClosedError after the release."""
        return [self.owned(i) for i in range(self.count)]
