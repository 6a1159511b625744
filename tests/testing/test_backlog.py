"""The bounded backlog, and the offsets at which a replica can still continue."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kevy_ring.testing.backlog import Backlog


def filled(count: int, limit_bytes: int, first: int = 10) -> Backlog:
    backlog = Backlog(first, limit_bytes)
    for offset in range(first, first + count):
        backlog.append(b"<%03d>" % offset)
    return backlog


def test_an_empty_backlog_reaches_only_its_next_offset() -> None:
    backlog = Backlog(5, 100)
    assert [backlog.reaches(offset) for offset in (4, 5, 6)] == [False, True, False]
    assert backlog.read(5, 100) == (b"", 5)
    assert backlog.first_offset_after(1000) == 5


def test_reads_give_whole_frames_and_the_offset_after_them() -> None:
    backlog = filled(4, 1000)
    assert backlog.read(10, 12) == (b"<010><011>", 12)
    assert backlog.read(12, 1000) == (b"<012><013>", 14)
    assert backlog.read(13, 1) == (b"<013>", 14)


def test_the_oldest_frames_are_forgotten_first() -> None:
    backlog = filled(4, 12)
    assert (backlog.first_offset, backlog.next_offset, backlog.held_bytes) == (12, 14, 10)
    assert [backlog.reaches(offset) for offset in (11, 12, 14, 15)] == [False, True, True, False]
    assert [backlog.first_offset_after(length) for length in (2, 3, 7, 8, 999)] == [12, 13, 13, 14, 14]


def test_the_newest_frame_is_held_whatever_its_size() -> None:
    backlog = filled(3, 12)
    backlog.append(b"x" * 1000)
    assert (backlog.first_offset, backlog.next_offset) == (13, 14)
    assert backlog.read(13, 1) == (b"x" * 1000, 14)
    backlog.append(b"y")
    assert backlog.read(14, 100) == (b"y", 15)


def test_a_backlog_without_room_is_refused() -> None:
    with pytest.raises(ValueError, match="room"):
        Backlog(0, 0)


@given(st.lists(st.integers(1, 9), max_size=60), st.integers(1, 40), st.integers(1, 30))
def test_whatever_is_appended_the_backlog_holds_a_suffix_within_its_limit(
    sizes: list[int], limit_bytes: int, max_bytes: int
) -> None:
    frames = [bytes([65 + at % 26]) * size for at, size in enumerate(sizes)]
    backlog = Backlog(0, limit_bytes)
    for frame in frames:
        foreseen = backlog.first_offset_after(len(frame))
        backlog.append(frame)
        assert backlog.first_offset == foreseen
    held = frames[backlog.first_offset :]
    assert backlog.held_bytes == sum(map(len, held))
    assert backlog.held_bytes <= limit_bytes or len(held) == 1
    assert backlog.first_offset == 0 or sum(map(len, held)) + len(frames[backlog.first_offset - 1]) > limit_bytes
    at, got = backlog.first_offset, b""
    while at < backlog.next_offset:
        some, after = backlog.read(at, max_bytes)
        assert some == b"".join(frames[at:after])
        assert after == at + 1 or len(some) <= max_bytes
        got += some
        at = after
    assert got == b"".join(held)


def test_a_long_stream_keeps_its_place_when_the_list_is_trimmed() -> None:
    backlog = filled(20_000, 5000, first=0)
    assert backlog.next_offset == 20_000
    frames, after = backlog.read(backlog.first_offset, 10**6)
    assert after == 20_000
    assert frames.endswith(b"<19998><19999>")
    assert len(frames) == backlog.held_bytes
