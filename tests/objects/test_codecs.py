"""The codecs: msgspec types, a codec of the user's own, and records that are hostile or of another codec."""

from __future__ import annotations

import json
import os
import pickle
import struct
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kevy_ring import ObjectError, ViewsEscaped
from kevy_ring.objects import ArrayCodec, MsgpackCodec, ObjectReceiver, ObjectSender, Parts, PickleCodec, object_pair
from kevy_ring.objects.dtypes import any_text, dtype_of
from kevy_ring.objects.parts import split_parts

msgspec: Any = pytest.importorskip("msgspec") if os.environ.get("CI") != "true" else __import__("msgspec")


class Quote(msgspec.Struct):
    symbol: str
    price: float
    sizes: tuple[int, ...] = ()


class Blob(msgspec.Struct):
    name: str
    body: memoryview


@pytest.fixture
def quotes() -> Iterator[tuple[ObjectSender, ObjectReceiver]]:
    sender, receiver = object_pair(1 << 16, codec=MsgpackCodec(Quote))
    with sender, receiver:
        yield sender, receiver


def test_structs_arrive_without_pickle(quotes: tuple[ObjectSender, ObjectReceiver], monkeypatch: Any) -> None:
    sender, receiver = quotes
    monkeypatch.setattr(pickle, "dumps", None)
    monkeypatch.setattr(pickle, "loads", None)
    sent = [Quote("KEVY", 1.5, (1, 2)), Quote("é", -0.0), Quote("long", 0.0, tuple(range(9000)))]
    for quote in sent:
        sender.send(quote)
        assert receiver.recv(1.0) == quote
    assert sender.send_many(sent) == 3
    assert receiver.recv_many() == sent
    sender.send_many(sent)
    with receiver.drain() as batch:
        assert list(batch) == sent


def test_a_record_of_another_type_is_refused_by_field(quotes: tuple[ObjectSender, ObjectReceiver]) -> None:
    sender, receiver = quotes
    sender.send({"symbol": "KEVY", "price": "high"})
    with pytest.raises(ObjectError, match=r"price") as told:
        receiver.recv(1.0)
    assert isinstance(told.value.__cause__, msgspec.ValidationError)
    with pytest.raises(TypeError):
        sender.send(object())
    assert receiver.try_recv("nothing") == "nothing"


def test_a_field_of_views_is_a_view_into_the_ring_in_a_batch_and_owned_elsewhere() -> None:
    sender, receiver = object_pair(1 << 16, codec=MsgpackCodec(Blob))
    with sender, receiver:
        for size in (10, 20_000, 20_000):
            sent = Blob("b", memoryview(b"x" * size))
            sender.send(sent)
            kept = receiver.recv(1.0)
            sender.send(sent)
            with pytest.raises(ViewsEscaped), receiver.drain() as batch:
                view = batch[0].body
            assert bytes(view) == bytes(kept.body) == b"x" * size
            del view
            batch.release()


def test_hooks_make_other_types() -> None:
    codec = MsgpackCodec(complex, enc_hook=_encoded_complex, dec_hook=_decoded_complex)
    copy = pickle.loads(pickle.dumps(codec))
    assert copy.decode(codec.encode(1 + 2j), True) == 1 + 2j


def _encoded_complex(number: Any) -> Any:
    return [number.real, number.imag]


def _decoded_complex(kind: type, parts: Any) -> complex:
    return complex(*parts)


def test_without_msgspec_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "msgspec", None)
    with pytest.raises(ImportError, match=r"pip install 'kevy-ring\[objects\]'"):
        MsgpackCodec(Quote)


class JsonCodec:
    """As in the documentation."""

    def encode(self, obj: Any) -> bytes:
        return json.dumps(obj).encode()

    def decode(self, record: bytes | memoryview, copies: bool) -> Any:
        return json.loads(bytes(record))


def test_a_codec_of_the_users_own_needs_two_methods() -> None:
    sender, receiver = object_pair(4096, codec=JsonCodec())
    with sender, receiver:
        sender.send({"a": [1, None]})
        assert receiver.recv(1.0) == {"a": [1, None]}
        sender.try_write(b"{")
        with pytest.raises(ObjectError, match="JSONDecodeError"):
            receiver.recv(1.0)


class FramesCodec:
    """Pairs of a name and an array, without pickle."""

    def encode(self, obj: Any) -> Parts:
        name, array = obj
        return Parts(7, name.encode(), [array])

    def decode(self, record: bytes | memoryview, copies: bool) -> Any:
        description, (buffer,) = split_parts(memoryview(record))
        return bytes(description).decode(), np.frombuffer(bytearray(buffer) if copies else buffer, "<i4")


def test_a_codec_of_the_users_own_can_write_arrays_in_place() -> None:
    sender, receiver = object_pair(1 << 16, codec=FramesCodec())
    with sender, receiver:
        for _ in range(2):
            sender.send(("name", np.arange(5000, dtype="<i4")))
        name, array = receiver.recv(1.0)
        assert (name, array.sum(), array.flags.writeable) == ("name", 12_497_500, True)
        with receiver.drain() as batch:
            assert not batch[0][1].flags.writeable


def test_a_dtype_of_too_many_fields_is_refused_on_both_sides() -> None:
    many = np.dtype([(f"a field with a long name {n}", "<i4") for n in range(2000)])
    with pytest.raises(TypeError, match="at most 65536"):
        any_text(many)
    with pytest.raises(ValueError, match="description"):
        dtype_of(b" " * 70_000)


def _dumps_twice(obj: Any, protocol: int, *, buffer_callback: Any) -> bytes:
    return pickle.dumps([obj, obj], protocol, buffer_callback=buffer_callback)


def test_other_functions_can_take_the_place_of_those_of_pickle() -> None:
    codec = pickle.loads(pickle.dumps(PickleCodec(dumps=_dumps_twice)))
    sender, receiver = object_pair(1 << 16, codec=codec)
    with sender, receiver:
        sender.send({"a": np.zeros(3)})
        first, second = receiver.recv(1.0)
        assert first is second
        assert first["a"].shape == (3,)


CODECS = {"pickle": PickleCodec(), "arrays": ArrayCodec(), "msgpack": MsgpackCodec(Quote)}
RECORDS = {"pickle": {"a": 1}, "arrays": np.arange(3), "msgpack": Quote("K", 1.0)}


@pytest.mark.parametrize("mine", CODECS)
@pytest.mark.parametrize("theirs", CODECS)
def test_ends_with_different_codecs_are_told_so(mine: str, theirs: str) -> None:
    record = CODECS[theirs].encode(RECORDS[theirs])
    if isinstance(record, Parts):
        room = memoryview(bytearray(len(record)))
        record = bytes(room[: record.write_into(room)])
    if mine == theirs or (mine, theirs) == ("pickle", "arrays"):
        CODECS[mine].decode(record, True)
    else:
        with pytest.raises(ValueError, match="same codec"):
            CODECS[mine].decode(record, True)


@pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS)
@pytest.mark.parametrize(
    "record", [b"", b"\x01", b"\x02", b"\x80", b"\x02" + b"\xff" * 40, b"\x01" + b"\0" * 15], ids=repr
)
def test_short_and_senseless_records_raise(codec: Any, record: bytes) -> None:
    with pytest.raises((ValueError, EOFError, struct.error, pickle.UnpicklingError)):
        codec.decode(record, True)


def written(parts: Parts) -> bytearray:
    room = memoryview(bytearray(len(parts)))
    return bytearray(room[: parts.write_into(room)])


ARRAY = np.arange(24, dtype="<i2").reshape(2, 3, 4).transpose(2, 0, 1)
FIELDS = np.zeros(2, [("a", "<i4"), ("b", [("c", "<f8", (2,))])])
DESCRIBED = [written(ArrayCodec().encode(array)) for array in (ARRAY, FIELDS, np.empty((0, 2)))]


@settings(max_examples=400, deadline=None)
@given(
    st.sampled_from(DESCRIBED), st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), max_size=6), st.data()
)
def test_a_damaged_array_is_an_array_within_its_record_or_an_error(record: Any, damage: Any, data: Any) -> None:
    damaged = bytearray(record)
    for at, value in damage:
        damaged[at % len(damaged)] = value
    damaged = damaged[: data.draw(st.integers(0, len(damaged)))] if data.draw(st.booleans()) else damaged
    memory = np.frombuffer(bytes(damaged), np.uint8)
    try:
        found = ArrayCodec().decode(memoryview(memory), False)
    except Exception:
        return
    assert not found.dtype.hasobject
    assert found.nbytes <= len(damaged)
    low, high = np.lib.array_utils.byte_bounds(found) if hasattr(np.lib, "array_utils") else np.byte_bounds(found)
    begin = memory.__array_interface__["data"][0]
    if found.size:
        assert begin <= low <= high <= begin + len(damaged)
    found.tobytes()  # reads every element


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_the_parts_of_any_bytes_lie_within_them(record: bytes) -> None:
    try:
        description, buffers = split_parts(memoryview(record))
    except (ValueError, struct.error):
        return
    assert len(description) + sum(map(len, buffers)) <= len(record)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 31), st.integers(0, 255)), min_size=1, max_size=4))
def test_a_damaged_head_of_a_pickle_with_buffers_is_an_error_or_the_object(damage: Any) -> None:
    record = written(PickleCodec().encode({"a": np.arange(10), "b": np.arange(5)}))  # type: ignore[arg-type]
    for at, value in damage:
        record[at] = value
    try:
        found = PickleCodec().decode(bytes(record), True)
    except Exception:
        return
    assert found["a"].nbytes + found["b"].nbytes <= len(record)


@pytest.mark.parametrize(
    "text",
    ["O", "|O8", "<V0", "f8,i4", "<M8[not a unit]", "T", "|T16", "{", "[]", '{"names": ["a"], "formats": ["|O"]}',
     '{"names": ["a"], "formats": ["<f8"], "offsets": [-8], "itemsize": 8}',
     '{"names": ["a"], "formats": ["<f8"], "offsets": [8], "itemsize": 8}', '["|O8", [2]]', "[" * 500, ""],
)  # fmt: skip
def test_no_text_makes_a_dtype_that_holds_addresses(text: str) -> None:
    with pytest.raises((ValueError, TypeError, KeyError, RecursionError)):
        dtype_of(text.encode())


def test_a_dtype_survives_as_text() -> None:
    nested = np.dtype([("a", "<i4"), ("b", [("c", ">f8", (2, 3)), ("d", "S5")]), ("e", "M8[us]")], align=True)
    assert dtype_of(any_text(nested)) == nested


class Execution:
    def __reduce__(self) -> Any:
        return os.getpid, ()


def test_only_the_pickle_codec_runs_what_a_record_names() -> None:
    record = pickle.dumps(Execution(), 5)
    assert PickleCodec().decode(record, True) == os.getpid()
    for codec in (ArrayCodec(), MsgpackCodec(Quote)):
        with pytest.raises(ValueError, match="same codec"):
            codec.decode(record, True)
