"""Python and the C core have the same kinds, flags, limits and record header."""

from __future__ import annotations

import struct

import pytest

from kevy_ring._core import lib
from kevy_ring.events import Kind
from kevy_ring.inbox.header_words import FREE_PRODUCER_WORDS
from kevy_ring.replica.protocols import resp
from kevy_ring.ring.record import FLAGS_KNOWN, PAYLOAD_MAX_BYTES, RECORD_HEADER, RecordFlag, packed_record, record_span
from places import CSRC

LAYOUT = (CSRC / "ring" / "layout.h").read_text(encoding="utf-8")
CONSTANTS = {
    "KIND_BYTES": Kind.BYTES,
    "KIND_SNAPSHOT_BEGIN": Kind.SNAPSHOT_BEGIN,
    "KIND_SNAPSHOT_CHUNK": Kind.SNAPSHOT_CHUNK,
    "KIND_SNAPSHOT_END": Kind.SNAPSHOT_END,
    "KIND_FRAME": Kind.FRAME,
    "KIND_LAST": max(Kind),
    "FLAG_FRAGMENT": RecordFlag.FRAGMENT,
    "FLAG_FIRST": RecordFlag.FIRST,
    "FLAG_LAST": RecordFlag.LAST,
    "FLAGS_KNOWN": FLAGS_KNOWN,
    "RECORD_BYTES": RECORD_HEADER.size,
    "LENGTH_MAX": PAYLOAD_MAX_BYTES,
    "ARGUMENTS_MAX": resp.MAX_ARGUMENTS,
    "ARGUMENT_MAX": resp.MAX_BULK_BYTES,
    "COMMAND_MAX": resp.MAX_COMMAND_BYTES,
}


@pytest.mark.parametrize("name", CONSTANTS)
def test_a_constant_has_one_value_in_c_and_in_python(name: str) -> None:
    assert getattr(lib, f"KR_{name}") == CONSTANTS[name]


def test_the_header_of_a_record_has_its_fields_where_c_has_them() -> None:
    for field, before in {"kind": "<I", "flags": "<IB", "offset": "<IBBH"}.items():
        assert f"offsetof(struct kr_record, {field}) == {struct.calcsize(before)}," in LAYOUT
        assert RECORD_HEADER.format.startswith(before)
    assert "sizeof(struct kr_record) == KR_RECORD_BYTES," in LAYOUT


def test_the_header_has_as_many_application_words_as_python_names() -> None:
    assert f"#define KR_WORDS {FREE_PRODUCER_WORDS[-1] + 1}" in LAYOUT


@pytest.mark.parametrize("length", [0, 1, 7, 8, 9, PAYLOAD_MAX_BYTES])
def test_a_record_is_padded_to_eight_bytes(length: int) -> None:
    span = record_span(length)
    assert span % 8 == 0
    assert RECORD_HEADER.size + length <= span < 1 << 32
    if length < 10:
        assert len(packed_record(Kind.BYTES, 0, bytes(length))) == span
