"""The methods of the compiled core that are called for every record, as classes to inherit from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kevy_ring._core import ffi, lib

if lib.kr_make_calls():
    raise ImportError("kevy-ring: the compiled core could not make its methods; what went wrong was printed")

from kevy_ring._calls import (
    BatchCalls,
    ColumnsCalls,
    ConsumerCalls,
    GrantCalls,
    LenderCalls,
    ProducerCalls,
    ReceiverCalls,
    SenderCalls,
    know_events,
)

if TYPE_CHECKING:
    from kevy_ring._core import CData

__all__ = [
    "BatchCalls",
    "ColumnsCalls",
    "ConsumerCalls",
    "GrantCalls",
    "LenderCalls",
    "ProducerCalls",
    "ReceiverCalls",
    "SenderCalls",
    "address_of",
    "know_events",
]


def address_of(handle: CData) -> int:
    """Where a handle or memory of the core lies, for the methods that take it without cffi."""
    return int(ffi.cast("uintptr_t", handle))
