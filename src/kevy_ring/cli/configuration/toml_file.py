"""Reads the TOML file of ``--config``, and checks its keys and the types of its values."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

import click

from kevy_ring.cli.configuration.names import is_switch, takes_many
from kevy_ring.cli.configuration.small_file import read_small
from kevy_ring.replica.upstream_url import REDACTED

_MOST_BYTES = 1 << 20
_ONLY_TEXT = (click.types.StringParamType, click.Choice, click.Path, click.types.UUIDParameterType, click.DateTime)

#: A secret as --print-config shows it.
_HIDDEN = re.compile(rf"://.*(:{re.escape(REDACTED)}@|={re.escape(REDACTED)})")


def read_config(path: str, known: Mapping[str, click.Parameter]) -> dict[str, Any]:
    """The values in the file by the names of click's parameters, each in a form that click converts.

    ``known``: the parameters by their keys. Raises ``click.UsageError``, which names the file and the key.
    """
    try:
        table = tomllib.loads(read_small(path, _MOST_BYTES).decode())
    except OSError as error:
        raise click.UsageError(f"--config {path}: it cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise click.UsageError(f"--config {path}: it is not UTF-8 text: {error.reason}") from error
    except (ValueError, RecursionError) as error:
        raise click.UsageError(f"--config {path}: it is no TOML that can be read: {error}") from error
    found = {}
    for key, value in table.items():
        if key not in known:
            raise click.UsageError(f"--config {path}: {_unknown(key, value, known)}")
        parameter = known[key]
        if (problem := _problem(parameter, value)) is not None:
            raise click.UsageError(f"--config {path}: {key} {problem}")
        found[parameter.name or key] = _for_click(parameter, value)
    return found


def _unknown(key: str, value: Any, known: Mapping[str, click.Parameter]) -> str:
    if isinstance(value, dict):
        return f"[{key}] is a table, but all keys belong at the top of the file, without a table"
    near = get_close_matches(key, known, n=3)
    remedy = f"did you mean {' or '.join(near)}?" if near else "the keys are the long options without their dashes"
    return f"{key!r} is not a key: {remedy}"


def _problem(parameter: click.Parameter, value: Any) -> str | None:
    """What is wrong with the type of a value; None: nothing."""
    if takes_many(parameter):
        parts = value if isinstance(value, list) else [value]
        problem = next((found for each in parts if (found := _problem_of_one(parameter, each))), None)
        return problem and f"must be an array of values: each {problem}"
    return _problem_of_one(parameter, value)


def _problem_of_one(parameter: click.Parameter, value: Any) -> str | None:
    kinds, words = _expected(parameter)
    # Python's True is an int.
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        return f"must be {words}, not {_kind_text(value)}"
    if isinstance(value, str) and (value == REDACTED or _HIDDEN.search(value)):
        return "has a secret that --print-config has hidden: write the secret, or give it by a password file"
    return None


def _expected(parameter: click.Parameter) -> tuple[tuple[type, ...], str]:
    """The Python types that TOML may give, and their name."""
    kind = parameter.type
    if is_switch(parameter):
        return (bool,), "true or false"
    if isinstance(kind, click.types.IntParamType):
        return (int,), "a whole number"
    if isinstance(kind, click.types.FloatParamType):
        return (int, float), "a number"
    if isinstance(kind, _ONLY_TEXT):
        return (str,), "a text in quotes"
    return (str, int), "a text in quotes or a whole number"


def _kind_text(value: Any) -> str:
    kinds: tuple[tuple[type, str], ...] = (
        (bool, "true or false"), (int, "a whole number"), (float, "a number"), (str, "a text"), (list, "an array"),
        (dict, "a table"),
    )  # fmt: skip
    return next((words for kind, words in kinds if isinstance(value, kind)), "a date or a time")


def _for_click(parameter: click.Parameter, value: Any) -> Any:
    if takes_many(parameter):
        return [_for_click_one(parameter, each) for each in (value if isinstance(value, list) else [value])]
    return _for_click_one(parameter, value)


def _for_click_one(parameter: click.Parameter, value: Any) -> Any:
    """A number for a type of our own becomes its text: such a type parses what the user types."""
    is_number = isinstance(parameter.type, click.types.IntParamType | click.types.FloatParamType)
    return value if isinstance(value, str | bool) or is_number else str(value)
