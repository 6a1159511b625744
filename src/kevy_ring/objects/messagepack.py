"""Types that msgspec knows, as MessagePack: no pickle, and the receiver checks the type."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

KIND = b"\x03"  # the first byte of such a record. What follows is MessagePack.


class MsgpackCodec:
    """Objects of one type, a ``msgspec.Struct``, dataclass, TypedDict or builtin, without pickle. It needs msgspec.

    The receiver checks each record against ``type`` (default: any builtin type). A field of type ``memoryview`` is a
    view into the ring in a batch; all other fields are copies. ``enc_hook`` and ``dec_hook``: for other types, as in
    msgspec.

        class Quote(msgspec.Struct):
            symbol: str
            price: float

        sender, receiver = object_pair(codec=MsgpackCodec(Quote))

    Raises ``ImportError`` without msgspec.
    """

    def __init__(
        self,
        type: Any = Any,
        *,
        enc_hook: Callable[[Any], Any] | None = None,
        dec_hook: Callable[[type, Any], Any] | None = None,
    ) -> None:
        try:
            from msgspec import msgpack
        except ImportError as why:
            raise ImportError("MsgpackCodec needs msgspec: run pip install 'kevy-ring[objects]'") from why
        self._made_of = (type, enc_hook, dec_hook)
        self._encode = msgpack.Encoder(enc_hook=enc_hook).encode
        self._decode = msgpack.Decoder(type, dec_hook=dec_hook).decode

    def encode(self, obj: Any) -> bytes:
        """The record of ``obj``. Raises ``TypeError`` for a type that msgspec does not know."""
        return KIND + self._encode(obj)

    def decode(self, record: bytes | memoryview, copies: bool) -> Any:
        """The object of a record. ``copies``: a ``memoryview`` in it is of bytes of its own, and not of ``record``.

        Raises ``ValueError`` for a record of another kind, ``msgspec.ValidationError`` and ``msgspec.DecodeError``.
        """
        if record[:1] != KIND:
            raise ValueError("the record is no MessagePack: both ends need the same codec")
        return self._decode(memoryview(bytes(record) if copies else record)[1:])

    def __reduce__(self) -> tuple[Any, ...]:
        return _made, self._made_of


def _made(type: Any, enc_hook: Any, dec_hook: Any) -> MsgpackCodec:
    return MsgpackCodec(type, enc_hook=enc_hook, dec_hook=dec_hook)
