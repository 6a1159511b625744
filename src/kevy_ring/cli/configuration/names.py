"""The name of an option in a TOML file and in the environment."""

from __future__ import annotations

import re

import click

#: Before the name of each variable.
PREFIX = "KEVY_RING_"
_SECRET = re.compile(r"(password|secret|token)$")


class Texts(click.types.StringParamType):
    """Several texts in one variable: separated by line breaks if it has one, otherwise by white space."""

    def split_envvar_value(self, rv: str) -> list[str]:
        parts = rv.splitlines() if "\n" in rv.strip() else rv.split()
        return [part.strip() for part in parts if part.strip()]


def key_of(parameter: click.Parameter) -> str:
    """``stall-after`` for ``--stall-after``; ``urls`` for the argument of that name."""
    longest = next((each for each in parameter.opts if each.startswith("--")), parameter.opts[0])
    return longest.lstrip("-").lower()


def variable_of(parameter: click.Parameter) -> str:
    """``KEVY_RING_STALL_AFTER`` for ``--stall-after``."""
    return PREFIX + key_of(parameter).replace("-", "_").upper()


def takes_many(parameter: click.Parameter) -> bool:
    """Whether the parameter has several values."""
    return parameter.multiple or parameter.nargs != 1


def is_switch(parameter: click.Parameter) -> bool:
    """Whether the parameter is on or off."""
    return isinstance(parameter, click.Option) and parameter.is_bool_flag


def is_secret(parameter: click.Parameter) -> bool:
    """Whether the value itself is a secret: ``password``, but not ``password-file``."""
    return bool(_SECRET.search(key_of(parameter)))
