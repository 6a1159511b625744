"""The package in a second interpreter of the same process, while the first one uses it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kevy_ring import Frame, ReplicaInboxReceiver, ReplicaInboxSender, replica_inbox_pair
from kevy_ring._calls import is_main_interpreter

try:
    import _interpreters as interpreters  # type: ignore[import-not-found,unused-ignore]
except ImportError:
    interpreters = pytest.importorskip("_xxsubinterpreters", reason="this Python has no second interpreters")

OWN_LOCK = sys.version_info >= (3, 12)  # since then an isolated interpreter has its own lock
SHARED: Any = ("legacy",) if sys.version_info >= (3, 13) else ()
SHARED_NAMED: Any = {} if sys.version_info >= (3, 13) else {"isolated": False}
TRY = """
import sys
sys.path[:0] = {path!r}
def run():
{body}
try:
    text = str(run())
except Exception as error:
    text = type(error).__name__ + ": " + str(error)
with open({report!r}, "w") as report:
    report.write(text)
"""
MANY_FRAMES = """
    from kevy_ring import Frame, replica_inbox_pair
    sender, receiver = replica_inbox_pair(1 << 14)
    with sender, receiver:
        sent = [Frame(i, [b"SET", b"k", bytearray(100)]) for i in range(300)]
        sender.send_many(sent)
        got = []
        while len(got) < 300:
            with receiver.drain() as batch:
                got += [batch.owned(i) for i in range(len(batch))]
        sender.send(Frame(1, [b"PING"]))
        return got == sent and receiver.recv(5) == Frame(1, [b"PING"])
"""
EXIT_WITH_OVERFLOW = """
    from kevy_ring import Frame, ReplicaInboxSender
    sender = ReplicaInboxSender.attach({name!r})
    sender.send_many([Frame(i, [bytes(1000)]) for i in range(100)])
    return sender.overflow.events > 0
"""


def told_by(interpreter: Any, tmp_path: Path, body: str) -> str:
    """The result of ``body`` in that interpreter, or the exception that it raises."""
    report = tmp_path / "report"
    found = interpreters.run_string(interpreter, TRY.format(path=sys.path, body=body, report=str(report)))
    assert found is None, found
    return report.read_text()


@pytest.fixture
def shared_lock() -> Iterator[Any]:
    """An interpreter that shares the lock of the first one, as the interpreters of mod_wsgi do."""
    another = interpreters.create(*SHARED, **SHARED_NAMED)
    yield another
    interpreters.destroy(another)


@pytest.fixture
def inbox() -> Iterator[tuple[ReplicaInboxSender, ReplicaInboxReceiver]]:
    sender, receiver = replica_inbox_pair(1 << 16)
    with sender, receiver:
        yield sender, receiver


def use(sender: ReplicaInboxSender, receiver: ReplicaInboxReceiver) -> None:
    """An inbox of the first interpreter still works."""
    sender.send_many([Frame(2, [b"SET", b"k", bytearray(b"v")]), Frame(3, [b"PING"])])
    assert receiver.recv(1) == Frame(2, [b"SET", b"k", b"v"])
    with receiver.drain(8) as batch:
        assert [event.argv for event in batch if isinstance(event, Frame)] == [[b"PING"]]


def test_a_second_interpreter_uses_inboxes_of_its_own_and_the_first_goes_on(
    inbox: tuple[ReplicaInboxSender, ReplicaInboxReceiver], tmp_path: Path
) -> None:
    assert is_main_interpreter()
    for _ in range(2):
        another = interpreters.create(*SHARED, **SHARED_NAMED)
        assert told_by(another, tmp_path, MANY_FRAMES) == "True"
        use(*inbox)
        interpreters.destroy(another)
        use(*inbox)


def test_the_end_of_a_second_interpreter_closes_no_inbox_of_the_first_and_delivers_its_own_overflow(
    inbox: tuple[ReplicaInboxSender, ReplicaInboxReceiver], tmp_path: Path
) -> None:
    sender, receiver = replica_inbox_pair(1 << 14)
    another = interpreters.create(*SHARED, **SHARED_NAMED)
    body = EXIT_WITH_OVERFLOW.format(name=receiver.name)
    assert told_by(another, tmp_path, body) == "True"
    interpreters.destroy(another)
    use(*inbox)
    assert [receiver.recv(5) for _ in range(100)] == [Frame(i, [bytes(1000)]) for i in range(100)]
    sender.close()
    receiver.close()


def test_the_methods_have_a_state_for_each_interpreter(shared_lock: Any, tmp_path: Path) -> None:
    import kevy_ring._calls as here

    body = "    import kevy_ring._calls as calls\n    return id(calls.Lender), calls.is_main_interpreter()"
    assert told_by(shared_lock, tmp_path, body) not in (str((id(here.Lender), False)), str((id(here.Lender), True)))


@pytest.mark.skipif(not OWN_LOCK, reason="Python 3.11 has no interpreters with a lock of their own")
def test_an_interpreter_with_its_own_lock_has_the_methods_and_is_refused_by_cffi(tmp_path: Path) -> None:
    another = interpreters.create()
    assert told_by(another, tmp_path, "    from kevy_ring._calls import Lender\n    return Lender.__name__") == "Lender"
    refused = told_by(another, tmp_path, "    import kevy_ring.ring")
    assert refused == "ImportError: module kevy_ring._core does not support loading in subinterpreters"
    interpreters.destroy(another)


def test_what_needs_no_core_is_imported_by_a_second_interpreter(tmp_path: Path) -> None:
    another = interpreters.create()
    assert told_by(another, tmp_path, "    import kevy_ring\n    return 'imported'") == "imported"
    interpreters.destroy(another)
