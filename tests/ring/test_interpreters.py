"""A second interpreter of the same process is refused, and the first one does not notice."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from kevy_ring import Frame, replica_inbox_pair

try:
    import _interpreters as interpreters  # type: ignore[import-not-found,unused-ignore]
except ImportError:
    interpreters = pytest.importorskip("_xxsubinterpreters", reason="this Python has no second interpreters")

TRY = """
import sys
sys.path[:0] = {path!r}
try:
    import {module}
except ImportError as error:
    text = str(error)
else:
    text = "imported"
with open({report!r}, "w") as report:
    report.write(text)
"""


def run_in_another(code: str) -> None:
    another = interpreters.create()
    try:
        found: Any = interpreters.run_string(another, code)
        assert found is None, found
    finally:
        interpreters.destroy(another)


@pytest.mark.parametrize("module", ["kevy_ring.inbox", "kevy_ring.ring", "kevy_ring.shard.shard", "kevy_ring._core"])
def test_a_second_interpreter_is_refused_in_words_and_the_first_goes_on(tmp_path: Any, module: str) -> None:
    sender, receiver = replica_inbox_pair(1 << 16)
    with sender, receiver:
        sender.send(Frame(1, [b"PING"]))
        with receiver.drain(8) as batch:
            assert [event.offset for event in batch if isinstance(event, Frame)] == [1]
        for _ in range(2):
            report = tmp_path / "report"
            run_in_another(TRY.format(path=sys.path, module=module, report=str(report)))
            assert "works in the main interpreter of a process only" in report.read_text()
            sender.send_many([Frame(2, [b"SET", b"k", b"v"]), Frame(3, [b"PING"])])
            assert receiver.recv(1) == Frame(2, [b"SET", b"k", b"v"])
            with receiver.drain(8) as batch:
                assert [event.argv for event in batch if isinstance(event, Frame)] == [[b"PING"]]


def test_what_needs_no_core_is_imported_by_a_second_interpreter(tmp_path: Any) -> None:
    report = tmp_path / "report"
    run_in_another(TRY.format(path=sys.path, module="kevy_ring", report=str(report)))
    assert report.read_text() == "imported"
