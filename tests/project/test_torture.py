"""A short torture of each kind, and the verdict on wrong logs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from torture import torture
from torture_ledger import Ledger
from torture_upstream import Keys, resp_bytes

SECONDS = 6.0
KILLS = 4


@pytest.mark.timeout(240)
@pytest.mark.parametrize(("upstream", "sink"), [("embedded", "sqlite"), ("embedded", "jsonl"), ("redis", "jsonl")])
def test_a_tortured_fleet_ends_with_exactly_the_upstreams_data(upstream: str, sink: str, tmp_path: Path) -> None:
    report, ledger, _ = torture(upstream, sink, SECONDS, 7, tmp_path, kills=KILLS)
    assert report.problems == []
    assert ledger.words == []
    assert ledger.is_good
    assert ledger.events > 1000
    assert report.kills >= KILLS
    assert report.partial > 0


class Settled:
    """An upstream that has sent everything: frames 10 to 14."""

    url = ""

    def cut_links(self) -> None: ...
    def finish(self) -> None: ...
    def close(self) -> None: ...
    def is_done(self) -> bool:
        return True

    def final_offset(self) -> int:
        return 14

    def keys(self, databases: Sequence[int]) -> Keys:
        return {(0, b"k"): ("string", b"14")}

    def gap(self, before: int, after: int, argv: list[bytes]) -> str:
        return "" if after == before + 1 else "a gap"


def judged(directory: Path, offsets: list[int], *, tail: bytes = b"") -> Ledger:
    generation = directory / "generation-000001"
    generation.mkdir()
    changes = [{"offset": offset, "db": 0, "argv": ["SET", "k", str(offset)]} for offset in offsets]
    lines = [json.dumps(change).encode() + b"\n" for change in changes]
    (generation / "changes-000001.jsonl").write_bytes(b"".join(lines) + tail)
    return Ledger(Settled(), "jsonl", directory)


def test_a_log_that_is_right_is_judged_so(tmp_path: Path) -> None:
    found = judged(tmp_path, [10, 11, 12, 13, 14])
    assert found.is_good
    assert found.events == 5


@pytest.mark.parametrize(
    ("offsets", "tail", "wrong"),
    [
        ([10, 11, 13, 14], b"", "lost"),
        ([10, 11, 12, 13], b"", "lost"),
        ([10, 11, 11, 12, 13, 14], b"", "doubled"),
        ([10, 12, 11, 13, 14], b"", "doubled"),
        ([10, 11, 12, 13, 14], b'{"offset": 15, "db"', "torn"),
    ],
)
def test_a_log_that_is_wrong_is_found_out(tmp_path: Path, offsets: list[int], tail: bytes, wrong: str) -> None:
    found = judged(tmp_path, offsets, tail=tail)
    assert not found.is_good
    assert getattr(found, wrong) > 0


def test_the_bytes_of_a_command_are_those_on_the_wire() -> None:
    assert resp_bytes([b"SET", b"key", b"x" * 100]) == len(b"*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$100\r\n") + 102
