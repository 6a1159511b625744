"""Objects over a ring: what arrives, as owned objects and as views."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import pickle
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from absent import absent
from kevy_ring import ClosedError, ObjectError, ObjectTooLarge, RecvError, SendError, ViewsEscaped
from kevy_ring.objects import ArrayCodec, ObjectReceiver, ObjectSender, PickleCodec, object_pair

Ends = tuple[ObjectSender, ObjectReceiver]


@pytest.fixture(params=[PickleCodec, ArrayCodec])
def array_ends(request: pytest.FixtureRequest) -> Iterator[Ends]:
    sender, receiver = object_pair(1 << 16, codec=request.param())
    with sender, receiver:
        yield sender, receiver


@pytest.fixture
def ends() -> Iterator[Ends]:
    sender, receiver = object_pair(1 << 16)
    with sender, receiver:
        yield sender, receiver


@dataclasses.dataclass
class Reading:
    name: str
    values: np.ndarray


OBJECTS = [
    None,
    0,
    "text é \U0001f600",
    b"",
    b"x" * 20_000,
    bytearray(b"mutable"),
    [],
    (1, [2, {"three": {4}}]),
    {"id": 17, "price": 1.5, "tags": ["a", "b"], "note": None},
    datetime.datetime(2024, 2, 29, tzinfo=datetime.UTC),
    decimal.Decimal("1.10"),
    range(5),
    len,
    2**200,
]


@pytest.mark.parametrize("obj", OBJECTS, ids=lambda obj: repr(obj)[:20])
def test_an_object_arrives_as_it_was_sent(ends: Ends, obj: Any) -> None:
    sender, receiver = ends
    for _ in range(2):  # the second time the receiver knows the size of the last one
        assert sender.send(obj)
        found = receiver.recv(1.0, default="nothing")
        assert found == obj
        assert type(found) is type(obj)
    sender.send(obj)
    with receiver.drain() as batch:
        assert list(batch) == [obj]


F = np.asfortranarray(np.arange(12.0).reshape(3, 4))
ARRAYS: dict[str, Callable[[], Any]] = {
    "one number": lambda: np.array(5.5),
    "no numbers": lambda: np.empty((0, 3)),
    "no numbers, many": lambda: np.empty((4, 0, 2), "<i2"),
    "contiguous": lambda: np.arange(24, dtype=np.int32).reshape(2, 3, 4),
    "Fortran order": lambda: F,
    "a transposed cube": lambda: np.arange(24.0).reshape(2, 3, 4).transpose(1, 2, 0),
    "every other": lambda: np.arange(20)[::2],
    "backwards": lambda: np.arange(10)[::-1],
    "a part of a matrix": lambda: np.arange(100).reshape(10, 10)[2:5, 3:9:2],
    "a senseless stride of one row": lambda: np.lib.stride_tricks.as_strided(np.arange(3.0), (3, 1), (8, 10**15)),
    "broadcast": lambda: np.broadcast_to(np.arange(3), (4, 3)),
    "the other byte order": lambda: np.arange(5, dtype=">f4"),
    "booleans": lambda: np.array([True, False]),
    "complex": lambda: np.array([1 + 2j]),
    "half": lambda: np.array([1.5], np.float16),
    "long double": lambda: np.array([1.5, 2.5], np.longdouble),
    "times": lambda: np.array(["2024-02-29", "NaT"], "M8[25ns]"),
    "spans of time": lambda: np.array([3, 4], "m8[ms]"),
    "text": lambda: np.array(["a", "long"]),
    "bytes": lambda: np.array([b"a", b"long"]),
    "fields": lambda: np.array([(1, 2.0, "x")], [("a", "<i4"), ("b", "<f8"), ("c", "<U2")]),
    "aligned fields": lambda: np.array([(1, 2.0)], np.dtype([("a", "i1"), ("b", "f8")], align=True)),
    "fields of fields": lambda: np.zeros(3, [("at", [("x", "<f4"), ("y", "<f4")]), ("m", "<i2", (2, 3))]),
    "ten dimensions": lambda: np.ones((1, 2) * 5),
    "large": lambda: np.arange(5000.0),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_an_array_arrives_as_an_owned_copy_or_as_a_view_by_choice(array_ends: Ends, name: str) -> None:
    sender, receiver = array_ends
    sent = ARRAYS[name]()
    for _ in range(2):
        sender.send(sent)
        owned = receiver.recv(1.0)
        assert_same(owned, sent)
        assert owned.flags.writeable
        owned[...] = owned  # it can be written
    sender.send(sent)
    with receiver.drain() as batch:
        view = batch[0]
        assert_same(view, sent)
        assert not view.flags.writeable or sent.size == 0
        kept = batch.owned(0)
        (other,) = batch.copies()
        del view
    assert_same(kept, sent)
    assert_same(other, sent)
    assert kept.flags.writeable


def assert_same(found: Any, sent: Any) -> None:
    np.testing.assert_array_equal(found, sent)
    assert type(found) is np.ndarray
    assert found.dtype == sent.dtype
    assert found.shape == sent.shape
    if sent.flags.f_contiguous and sent.size:
        assert found.flags.f_contiguous


@pytest.mark.parametrize("count", range(1, 12))
def test_views_of_arrays_begin_at_a_cache_line_wherever_the_record_begins(array_ends: Ends, count: int) -> None:
    sender, receiver = array_ends
    sent = [np.arange(count, dtype=np.float64) for _ in range(9)]
    assert sender.send_many(sent) == 9
    with receiver.drain() as batch:
        assert [batch[i].ctypes.data % 64 for i in range(9)] == [0] * 9


def test_all_arrays_within_an_object_are_views_or_copies(ends: Ends) -> None:
    sender, receiver = ends
    sent = {"a": np.arange(1000), "b": [F, np.empty(0)], "c": Reading("r", np.ones(3))}
    sender.send(sent)
    with receiver.drain() as batch:
        found = batch[0]
        arrays = [found["a"], *found["b"], found["c"].values]
        assert [array.flags.writeable for array in arrays if array.size] == [False] * 3
        assert [array.ctypes.data % 64 for array in arrays if array.size] == [0] * 3
        np.testing.assert_array_equal(found["b"][0], F)
        del found, arrays
        owned = batch.owned(0)
    owned["a"][0] = 5
    assert owned["c"].values.flags.writeable


def test_arrays_that_hold_objects_and_subclasses_arrive_by_pickle(ends: Ends) -> None:
    sender, receiver = ends
    masked = np.ma.masked_array([1, 2, 3], [False, True, False])
    for sent in (np.array([{}, "x"], object), masked, np.rec.array([(1, 2.0)], names="a,b"), np.float64(1.5)):
        sender.send(sent)
        found = receiver.recv(1.0)
        assert type(found) is type(sent)
        assert repr(found) == repr(sent)


def test_the_metadata_of_a_dtype_is_not_lost(ends: Ends) -> None:
    sender, receiver = ends
    sender.send(np.zeros(2, np.dtype("f8", metadata={"unit": "m"})))
    assert receiver.recv(1.0).dtype.metadata == {"unit": "m"}


def test_buffers_of_pyarrow_and_polars_arrive(ends: Ends) -> None:
    try:
        import polars as pl
        import pyarrow as pa
    except ImportError:
        absent("pyarrow and polars are not installed")
    sender, receiver = ends
    table = pa.table({"n": list(range(100)), "s": ["x"] * 100})
    sender.send(table)
    assert receiver.recv(1.0).equals(table)
    sender.send(table)
    with pytest.raises(ViewsEscaped), receiver.drain() as batch:
        view = batch[0]
        assert view.equals(table)
        assert view["n"].chunk(0).buffers()[1].address % 64 == 0
    assert view.equals(table)
    del view
    batch.release()
    frame = pl.DataFrame({"n": [1, 2, 3]})
    sender.send(frame)
    assert receiver.recv(1.0).equals(frame)


def test_views_that_outlive_their_batch_are_told_and_keep_their_bytes(ends: Ends) -> None:
    sender, receiver = ends
    sender.send(np.arange(100))
    with pytest.raises(ViewsEscaped), receiver.drain() as batch:
        kept = batch[0]
    assert kept[99] == 99
    del kept
    batch.release()
    assert receiver.try_recv("nothing") == "nothing"


def test_an_exception_at_an_object_of_an_iteration_releases_those_before_it(ends: Ends) -> None:
    sender, receiver = ends
    sender.send_many([np.full(10, n) for n in range(3)])
    with pytest.raises(KeyError), receiver.drain() as batch:
        for array in batch:
            if array[0] == 1:
                raise KeyError
    del array
    assert [int(array[0]) for array in receiver.recv_many()] == [1, 2]


def test_many_objects_of_both_kinds_arrive_in_order(ends: Ends) -> None:
    sender, receiver = ends
    sent = [n if n % 3 else np.full(n % 50, n) for n in range(300)]
    assert sender.send_many(sent) == 300
    found: list[Any] = []
    while len(found) < 300:
        found += receiver.recv_many(7)
    assert all(np.array_equal(a, b) for a, b in zip(found, sent, strict=True))
    assert receiver.recv_many() == []


def test_a_full_ring_is_a_value_and_nothing_is_half_sent(ends: Ends) -> None:
    sender, receiver = ends
    array = np.zeros(3000)  # two of them fit
    assert [sender.try_send(array) for _ in range(4)] == [True, True, False, False]
    assert sender.send(array, timeout=0.01) is False
    assert sender.send_many([1, 2, array, 3], timeout=0.0) == 2
    assert [np.shape(found) for found in receiver.recv_many()] == [(3000,), (3000,), (), ()]
    assert sender.send(array)


def test_nothing_waits_is_the_default_and_none_is_an_object(ends: Ends) -> None:
    sender, receiver = ends
    assert receiver.recv(timeout=0.01) is None
    assert receiver.try_recv() is None
    nothing = object()
    assert receiver.recv(0, nothing) is nothing
    sender.send(None)
    assert receiver.recv(0, nothing) is None


def test_an_object_larger_than_the_ring_is_refused_with_the_capacity_that_it_needs(ends: Ends) -> None:
    sender, receiver = ends
    for too_large in (np.zeros(9000), b"x" * 70_000, {"a": np.zeros(9000)}):
        with pytest.raises(ObjectTooLarge, match="capacity of 131072") as told:
            sender.send(too_large)
        assert (told.value.limit, told.value.needed > 70_000) == ((1 << 16) - 16, True)
        with pytest.raises(ValueError, match="largest record"):
            sender.send_many([1, too_large])
    assert receiver.try_recv("nothing") == "nothing"
    wide_sender, wide_receiver = object_pair(131072)
    with wide_sender, wide_receiver:
        assert wide_sender.try_send(np.zeros(9000))
        assert wide_receiver.recv(1.0).shape == (9000,)


@pytest.mark.parametrize("offset", [-1, 0, 1])
def test_the_largest_record_fits_and_one_byte_more_does_not(offset: int) -> None:
    sender, receiver = object_pair(4096)
    overhead = len(pickle.dumps(b"x" * 3000, 5)) - 3000
    with sender, receiver:
        sent = b"x" * (4096 - 16 - overhead + offset)
        if offset > 0:
            with pytest.raises(ObjectTooLarge):
                sender.send(sent)
        else:
            assert sender.try_send(sent)
            assert receiver.recv(1.0) == sent


class Unpicklable:
    def __reduce__(self) -> Any:
        raise ZeroDivisionError("in reduce")


@pytest.mark.parametrize(
    "bad", [Unpicklable(), lambda: 1, {"deep": [Unpicklable()]}, sys], ids=lambda bad: str(type(bad))
)
def test_an_object_that_cannot_be_pickled_raises_what_pickle_raises_and_writes_nothing(ends: Ends, bad: Any) -> None:
    sender, receiver = ends
    with pytest.raises((ZeroDivisionError, pickle.PicklingError, AttributeError, TypeError)):
        sender.send(bad)
    with pytest.raises((ZeroDivisionError, pickle.PicklingError, AttributeError, TypeError)):
        sender.send_many([1, bad, np.zeros(3)])
    assert receiver.try_recv("nothing") == "nothing"
    sender.send("next")
    assert receiver.recv(1.0) == "next"


@pytest.mark.parametrize("bad", [[1], np.ma.masked_array([1]), np.array([{}], object), np.zeros(2, "V0")], ids=str)
def test_the_codec_for_arrays_refuses_everything_else_by_name(bad: Any) -> None:
    sender, receiver = object_pair(4096, codec=ArrayCodec())
    with sender, receiver:
        with pytest.raises(TypeError, match="PickleCodec"):
            sender.send(bad)
        assert receiver.try_recv() is None


def test_the_end_of_the_sender_ends_an_iteration_and_raises_in_recv(ends: Ends) -> None:
    sender, receiver = ends
    sender.send_many([1, np.zeros(2000), 3])
    sender.close()
    assert [np.shape(found) for found in receiver] == [(), (2000,), ()]
    for call in (receiver.recv, receiver.try_recv, receiver.recv_many):
        with pytest.raises(RecvError) as told:
            call()
        assert told.value.cause == "closed"
    with pytest.raises(ClosedError):
        sender.send(1)


def test_a_large_object_before_the_end_does_not_hide_the_end(ends: Ends) -> None:
    sender, receiver = ends
    sender.send(np.zeros(5000))
    assert receiver.recv(1.0).size == 5000
    sender.close()
    with pytest.raises(RecvError):
        receiver.recv(60.0)


def test_the_end_of_the_receiver_raises_with_what_was_not_sent(ends: Ends) -> None:
    sender, receiver = ends
    sender.send(1)
    receiver.recv(1.0)
    receiver.close()
    for obj in (5, np.zeros(5)):
        with pytest.raises(SendError) as told:
            sender.send(obj)
        assert told.value.unsent[0] is obj
    with pytest.raises(SendError) as told:
        sender.send_many(n for n in (1, 2))
    assert told.value.unsent == [1, 2]


def test_a_timeout_that_is_not_a_number_is_refused(ends: Ends) -> None:
    sender, receiver = ends
    for call in (
        lambda: receiver.recv(float("nan")),
        lambda: sender.send(1, float("nan")),
        lambda: sender.send_many([1], float("nan")),
    ):
        with pytest.raises(ValueError, match="timeout"):
            call()


def test_a_repr_says_name_role_and_state() -> None:
    sender, receiver = object_pair(4096, "kevy-test-repr")
    assert repr(sender) == "<ObjectSender of ring 'kevy-test-repr', 4096 bytes: its role is not taken yet>"
    sender.send(1)
    assert receiver.recv() == 1
    assert repr(receiver) == "<ObjectReceiver of ring 'kevy-test-repr', 4096 bytes: open>"
    sender.close()
    receiver.close()
    assert repr(sender).endswith("closed>")


def test_a_record_that_is_no_object_is_taken_and_told_with_its_bytes(ends: Ends) -> None:
    sender, receiver = ends
    sender.send("before")
    sender.try_write(b"no object")
    sender.send(np.zeros(3))
    assert receiver.recv(1.0) == "before"
    with pytest.raises(ObjectError, match="same codec") as told:
        receiver.recv(1.0)
    assert told.value.records == [b"no object"]
    assert receiver.recv(1.0).shape == (3,)


@pytest.mark.parametrize("bad", [b"bad", b"\x80\x05bad", b""])
@pytest.mark.parametrize("size", [3, 3000])
def test_recv_many_returns_the_other_objects_with_the_error(ends: Ends, bad: bytes, size: int) -> None:
    sender, receiver = ends
    sender.send(np.zeros(size))  # the second size makes the receiver expect large records
    receiver.recv(1.0)
    for record in (b"\x80\x05K\x01.", bad, b"\x80\x05K\x02.", bad):
        sender.try_write(record)
    with pytest.raises(ObjectError, match="and 1 more") as told:
        receiver.recv_many()
    assert (told.value.received, told.value.records) == ([1, 2], [bad, bad])
    assert receiver.try_recv("nothing") == "nothing"


def test_a_batch_can_skip_a_record_that_is_no_object(ends: Ends) -> None:
    sender, receiver = ends
    sender.send(1)
    sender.try_write(bytes([2]) + bytes(200))
    sender.send(3)
    found = []
    with receiver.drain() as batch:
        try:
            for obj in batch:
                found.append(obj)
        except ObjectError as error:
            assert error.index == 1
            batch.release(error.index + 1)
        found += list(batch)
    assert found == [1, 3]
