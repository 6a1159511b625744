"""Records of a plain ring as arrays: written from arrays, read as arrays, copied for Arrow, and frozen."""

from __future__ import annotations

import array
import gc
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest

from kevy_ring import ClosedError, Consumer, Producer, Ring, ViewsEscaped

TRADE = np.dtype([("key", "<u8"), ("price", "<f8"), ("flags", "u1", 3)])
Ends = tuple[Producer, Consumer]


@pytest.fixture
def ends() -> Iterator[Ends]:
    with Ring.create(1 << 16) as ring, ring.producer() as producer, ring.consumer() as consumer:
        yield producer, consumer


def trades(count: int) -> npt.NDArray[Any]:
    table = np.zeros(count, TRADE)
    table["key"], table["price"] = np.arange(count), np.arange(count) / 8
    return table


class TestWritePacked:
    def test_a_structured_array_gives_one_record_for_each_structure(self, ends: Ends) -> None:
        producer, consumer = ends
        table = trades(100)
        assert producer.write_packed(table) == 100
        assert consumer.read_many() == [row.tobytes() for row in table]

    @pytest.mark.parametrize("dtype", ["u1", "?", "<f8", "M8[s]", "S5", "<U2", ("<f4", 3)])
    def test_each_row_of_an_array_is_one_record(self, ends: Ends, dtype: Any) -> None:
        producer, consumer = ends
        rows = np.zeros((3, 5), dtype)
        assert producer.write_packed(rows) == 3
        assert consumer.read_many() == [rows[0].tobytes()] * 3

    @pytest.mark.parametrize("lengths", [[1, 0, 2], (1, 0, 2), array.array("I", [1, 0, 2]), np.array([1, 0, 2], ">i8")])
    def test_lengths_may_be_any_integers(self, ends: Ends, lengths: Any) -> None:
        producer, consumer = ends
        assert producer.write_packed(b"abb", lengths) == 3
        assert consumer.read_many() == [b"a", b"", b"bb"]

    def test_nothing_is_written_of_an_empty_array(self, ends: Ends) -> None:
        producer, consumer = ends
        assert producer.write_packed(trades(0)) == producer.write_packed(b"", []) == 0
        assert consumer.read_many() == []

    @pytest.mark.parametrize(
        ("packed", "lengths", "error", "text"),
        [
            (b"ab", None, TypeError, "lengths are missing"),
            (np.float64(1), None, TypeError, "lengths are missing"),
            (b"ab", [1.0, 1.0], TypeError, "integers of shape"),
            (b"ab", [[1, 1]], TypeError, "integers of shape"),
            (b"ab", np.array([[1, 1]], np.uint32), TypeError, "integers of shape"),
            (b"ab", np.array(2, np.uint32), TypeError, "integers of shape"),
            (b"ab", "11", TypeError, "integers of shape"),
            (b"ab", [3, -1], ValueError, "not -1"),
            (b"ab", [1 << 32], ValueError, "not 4294967296"),
            (b"ab", [1], ValueError, "do not add up"),
            (np.array([None]), None, TypeError, "Python objects"),
            (np.zeros((4, 4))[:, 1:], None, TypeError, "not contiguous"),
        ],
    )
    def test_what_has_no_records_is_refused_and_nothing_is_written(
        self, ends: Ends, packed: Any, lengths: Any, error: type[Exception], text: str
    ) -> None:
        producer, consumer = ends
        with pytest.raises(error, match=text):
            producer.write_packed(packed, lengths)
        assert consumer.read_many() == []


class TestAsArray:
    def test_equal_records_are_one_array_in_the_ring(self, ends: Ends) -> None:
        producer, consumer = ends
        table = trades(1000)
        for _ in range(5):  # also across the end of the data area
            assert producer.write_packed(table) == 1000
            with consumer.drain() as batch:
                found = batch.as_array(TRADE)
                assert found.shape == (1000,)
                assert not found.flags.writeable
                assert np.shares_memory(found, np.frombuffer(batch.buffer, np.uint8))
                assert (found == table).all()
                del found

    def test_a_sub_array_adds_its_shape(self, ends: Ends) -> None:
        producer, consumer = ends
        rows = np.arange(12, dtype="<f4").reshape(4, 3)
        producer.write_packed(rows)
        with consumer.drain() as batch:
            assert batch.as_array(("<f4", 3)).tolist() == rows.tolist()

    def test_one_record_none_and_records_of_no_bytes(self, ends: Ends) -> None:
        producer, consumer = ends
        assert consumer.drain().as_array("<u4").shape == (0,)
        producer.try_write(b"\1\0\0\0")
        with consumer.drain() as batch:
            assert batch.as_array("<u4").tolist() == [1]
        producer.write_many([b"", b""])
        with consumer.drain() as batch:
            assert batch.as_array("V0").shape == (2,)

    def test_a_record_of_another_length_is_named(self, ends: Ends) -> None:
        producer, consumer = ends
        producer.write_many([b"12345678", b"12345678", b"1234", b"12345678"])
        with consumer.drain() as batch, pytest.raises(ValueError, match="record 2 of the batch has 4 bytes"):
            batch.as_array("<f8")

    def test_python_objects_are_refused(self, ends: Ends) -> None:
        producer, consumer = ends
        producer.try_write(b"12345678")
        with consumer.drain() as batch, pytest.raises(TypeError, match="cannot be pointers"):
            batch.as_array([("o", "O")])

    def test_an_array_that_is_alive_holds_the_ring_and_a_released_batch_makes_none(self, ends: Ends) -> None:
        producer, consumer = ends
        producer.try_write(b"12345678")
        batch = consumer.drain()
        found = batch.as_array("<u8")
        with pytest.raises(ViewsEscaped):
            batch.release()
        del found
        batch.release()
        with pytest.raises(ClosedError):
            batch.as_array("<u8")


class TestArrow:
    def test_pyarrow_gets_one_copy_and_the_batch_can_be_released_while_it_lives(self, ends: Ends) -> None:
        producer, consumer = ends
        records = [b"x" * (i % 50) for i in range(500)]
        producer.write_many(records)
        with consumer.drain() as batch:
            found = pa.array(batch)
        producer.write_many([b"y" * 60] * 500)
        assert found.type == pa.binary()
        assert found.to_pylist() == records
        found.validate(full=True)

    def test_it_comes_in_the_type_that_is_asked_for_and_empty_from_no_records(self, ends: Ends) -> None:
        producer, consumer = ends
        assert pa.array(consumer.drain()).to_pylist() == []
        producer.write_many([b"one", b"two"])
        with consumer.drain() as batch:
            assert pa.array(batch, pa.large_binary()) == pa.array([b"one", b"two"], pa.large_binary())
            assert pa.array(batch, pa.string()).to_pylist() == ["one", "two"]
        with pytest.raises(ClosedError):
            pa.array(batch)


class TestFreeze:
    def test_a_frozen_batch_can_be_read_without_end_and_frees_the_ring(self, ends: Ends) -> None:
        producer, consumer = ends
        records = [b"record %d" % i for i in range(200)]
        producer.write_many(records)
        batch = consumer.drain().freeze()
        while producer.try_write(b"z" * 1000):  # over the same memory
            pass
        assert consumer.read_many(2)
        consumer.close()
        assert [bytes(record) for record in batch] == batch.copies() == records
        assert bytes(batch[-1]) == records[-1]
        assert batch.lengths.tolist() == [len(record) for record in records]
        assert pa.array(batch).to_pylist() == records
        assert "frozen" in repr(batch)
        assert batch.freeze() is batch

    def test_views_that_are_alive_keep_their_bytes_and_do_not_hold_the_ring(self, ends: Ends) -> None:
        producer, consumer = ends
        producer.write_packed(trades(100))
        batch = consumer.drain()
        view, table = batch[3], batch.as_array(TRADE)
        with pytest.raises(ViewsEscaped):
            batch.release()
        batch.freeze()
        while producer.try_write(b"z" * 1000):
            pass
        assert bytes(view) == trades(100)[3].tobytes()
        assert (table == trades(100)).all()
        with consumer.drain() as following:
            assert bytes(following[0]) == b"z" * 1000

    def test_records_that_were_released_before_are_left_out(self, ends: Ends) -> None:
        producer, consumer = ends
        producer.write_many([b"a", b"b", b"c"])
        batch = consumer.drain()
        batch.release(1)
        batch.freeze()
        assert [bytes(record) for record in batch] == [b"b", b"c"]
        assert consumer.read_many() == []

    def test_a_released_batch_a_closed_consumer_and_no_records(self, ends: Ends) -> None:
        producer, consumer = ends
        assert len(consumer.drain().freeze()) == 0
        producer.write_many([b"a", b"b"])
        batch = consumer.drain(1)
        batch.release()
        with pytest.raises(ClosedError):
            batch.freeze()
        batch = consumer.drain(1)
        consumer.close()
        with pytest.raises(ClosedError):
            batch.freeze()

    def test_inside_a_with_and_a_loop_the_rest_is_read_from_the_copy(self, ends: Ends) -> None:
        producer, consumer = ends
        producer.write_many([b"a", b"b", b"c"])
        seen = []
        with consumer.drain() as batch:
            for record in batch:
                seen.append(bytes(record))
                batch.freeze()
                producer.try_write(b"x")
        assert seen == [b"a", b"b", b"c"]
        assert consumer.read_many() == [b"x"] * 3

    def test_it_keeps_nothing_alive_that_was_dropped(self, ends: Ends) -> None:
        producer, consumer = ends
        for _ in range(200):
            producer.write_many([b"q" * 100] * 10)
            batch = consumer.drain().freeze()
            assert len(batch) == 10
        del batch
        gc.collect()
        assert consumer.read_many() == []
