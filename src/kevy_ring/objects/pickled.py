"""Any picklable object: protocol 5 of pickle, with its buffers out of band."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any

import numpy as np
from numpy import ndarray

from kevy_ring.objects.arrays import ARRAY, array_of, array_parts
from kevy_ring.objects.dtypes import plain_text
from kevy_ring.objects.parts import Parts, split_parts

PROTOCOL = 5
PICKLE = 0x80  # the first byte of every pickle since protocol 2: such a record is the pickle and nothing else
PICKLE_WITH_BUFFERS = 1  # the kind of a record of parts
_FIRST_BYTE = itemgetter(0)


def _with_buffers(pickled: bytes, buffers: list[pickle.PickleBuffer]) -> Parts:
    return Parts(PICKLE_WITH_BUFFERS, pickled, [np.asarray(buffer.raw(), np.uint8) for buffer in buffers])


class PickleCodec:
    """Any picklable object. A record of another process makes the receiver run code, as every pickle does.

    A ring belongs to one user (mode 0600), so only processes of this user can write such a record. If you do not trust
    them, use :class:`ArrayCodec` or :class:`MsgpackCodec`.

    Numpy arrays, and objects that hold them or support pickle's out-of-band buffers (pandas, pyarrow), are copied once,
    from their memory into the ring. A plain array needs no pickle at all.

    ``dumps`` and ``loads``: other functions with the arguments of pickle's, such as those of ``cloudpickle``.

        sender, receiver = object_pair(codec=PickleCodec(dumps=cloudpickle.dumps))
    """

    def __init__(self, dumps: Callable[..., bytes] = pickle.dumps, loads: Callable[..., Any] = pickle.loads) -> None:
        self._dumps = dumps
        self._loads = loads

    def encode(self, obj: Any) -> bytes | Parts:
        """The record of ``obj``. Raises what pickling raises."""
        if type(obj) is ndarray:
            text = plain_text(obj.dtype)
            if text is not None:
                return array_parts(obj, text)
        buffers: list[pickle.PickleBuffer] = []
        pickled = self._dumps(obj, PROTOCOL, buffer_callback=buffers.append)
        if not buffers:
            return pickled
        return _with_buffers(pickled, buffers)

    def encode_all(self, objects: Sequence[Any]) -> list[bytes | Parts]:
        """The records of all objects. Raises what pickling raises."""
        records: list[bytes | Parts] = []
        buffers: list[pickle.PickleBuffer] = []
        dumps, keep = self._dumps, buffers.append
        for obj in objects:
            if type(obj) is ndarray:
                records.append(self.encode(obj))
                continue
            pickled = dumps(obj, PROTOCOL, buffer_callback=keep)
            records.append(_with_buffers(pickled, buffers) if buffers else pickled)
            buffers.clear()
        return records

    def only_pickles(self, records: Sequence[bytes | memoryview]) -> Callable[[Any], Any] | None:
        """What makes the object of each of ``records``, if all of them are pickles without buffers; else None."""
        return self._loads if all(records) and set(map(_FIRST_BYTE, records)) == {PICKLE} else None

    def decode(self, record: bytes | memoryview, copies: bool) -> Any:
        """The object of a record. ``copies``: its buffers are owned ones, not views of ``record``.

        Raises what unpickling raises, and ``ValueError`` for bytes of another kind.
        """
        kind = record[0] if record else None
        if kind == PICKLE:
            return self._loads(record)
        if kind not in (ARRAY, PICKLE_WITH_BUFFERS):
            raise ValueError(f"the record is no pickle, its first byte is {kind}: both ends need the same codec")
        description, buffers = split_parts(memoryview(record))
        found = [bytearray(buffer) for buffer in buffers] if copies else buffers
        if kind == PICKLE_WITH_BUFFERS:
            return self._loads(description, buffers=found)
        (buffer,) = found
        return array_of(description, buffer)
