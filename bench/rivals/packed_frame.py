"""A frame as msgspec knows it best."""

import msgspec


class PackedFrame(msgspec.Struct, array_like=True, gc=False):  # type: ignore[misc, call-arg]
    """One replicated command."""

    offset: int
    argv: list[bytes]
