"""The value that says which keys and commands pass."""

from __future__ import annotations

import pickle

import pytest

from kevy_ring.errors import SinkError
from kevy_ring.shard import KeyFilter, filtered
from kevy_ring.shard.sinks.null import NullSink


def test_a_filter_is_a_value_with_one_text() -> None:
    one = KeyFilter([5, 2], [b"b*", b"a*"], [b"it's"], [b"set", b"DEL"], "mod:call")
    other = KeyFilter((2, 5), (b"a*", b"b*", b"a*"), (b"it's",), (b"del", b"SET"), "mod:call")
    assert one == other == pickle.loads(pickle.dumps(one))
    assert hash(one) == hash(other)
    assert str(one) == (
        "--db 2 --db 5 --keys 'a*' --keys 'b*' --exclude 'it'\"'\"'s' --commands DEL,SET --filter mod:call"
    )
    assert (str(KeyFilter()), bool(KeyFilter()), bool(one)) == ("", False, True)
    assert (KeyFilter([5]).only_database, one.only_database) == (5, None)


def test_a_key_passes_every_part() -> None:
    chosen = KeyFilter([5], [b"a*", b"b*"], [b"*x"])
    assert [chosen.passes(5, key) for key in (b"a", b"b1", b"ax", b"c", b"")] == [True, True, False, False, False]
    assert not chosen.passes(0, b"a")
    assert KeyFilter().passes(3, b"\xff")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"databases": [-1]}, "from 0 on, not -1"),
        ({"keys": [b""]}, "must not be empty"),
        ({"commands": [b"STE"]}, "no server has a command 'STE'"),
        ({"commands": [b""]}, "no server has a command ''"),
        ({"function": "no_colon"}, "not of the form MODULE:CALLABLE"),
    ],
)
def test_a_wrong_part_is_a_value_error(arguments: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        KeyFilter(**arguments)  # type: ignore[arg-type]


def test_the_command_of_a_module_needs_no_table() -> None:
    assert KeyFilter(commands=[b"My.Thing"]).commands == {b"MY.THING"}


@pytest.mark.parametrize(
    ("path", "words"),
    [("no_such_module:x", "no_such_module"), ("json:nope", "nope"), ("json:__name__", "not callable")],
)
def test_a_function_that_cannot_be_found_is_an_error_before_anything_is_applied(path: str, words: str) -> None:
    with pytest.raises(SinkError, match=words) as error:
        filtered(NullSink(), KeyFilter(function=path))
    assert error.value.reason == "load"


def test_a_function_that_raises_is_named_with_the_key() -> None:
    sink = filtered(NullSink(), KeyFilter(function="test_key_filter:divide"))
    with pytest.raises(
        SinkError, match=r"--filter test_key_filter:divide: .* ZeroDivisionError: .* 'abc' in database 0"
    ):
        sink.apply(1, [b"SET", b"abc", b"v"])


def divide(db: int, key: bytes) -> bool:
    return 1 // (len(key) - 3) > 0
