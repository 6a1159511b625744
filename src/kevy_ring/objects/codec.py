"""A codec makes the records of objects, and objects of records. Both ends of a ring need the same one."""

from __future__ import annotations

from typing import Any, Protocol

from kevy_ring.events import BytesLike
from kevy_ring.objects.parts import Parts


class Codec(Protocol):
    """What :class:`ObjectSender` and :class:`ObjectReceiver` ask of a codec.

    A handle that is pickled to another process takes its codec with it, so a codec has to be picklable for that.

        class JsonCodec:
            def encode(self, obj):
                return json.dumps(obj).encode()

            def decode(self, record, copies):
                return json.loads(bytes(record))
    """

    def encode(self, obj: Any) -> BytesLike | Parts:
        """The record of ``obj``: its bytes, or :class:`Parts` whose arrays are written in place.

        It may raise any exception. Then nothing is written, and the caller of ``send`` gets that exception.
        """

    def decode(self, record: bytes | memoryview, copies: bool) -> Any:
        """The object of a record. ``copies``: it may keep nothing of ``record``, which is a part of the ring.

        Without ``copies`` it may keep read-only views of ``record``. Any exception makes an :class:`ObjectError`.
        """
