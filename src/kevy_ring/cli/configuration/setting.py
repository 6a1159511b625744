"""One option of a run as the user gave it, with the place that it came from, and all of them as TOML."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import click

from kevy_ring.cli.configuration.names import is_secret, is_switch, key_of, takes_many
from kevy_ring.cli.redaction import with_hidden_password

_NUMBERS = (click.types.IntParamType, click.types.FloatParamType)


@dataclass(frozen=True, slots=True)
class Setting:
    """``value``: as TOML can hold it, not converted for the command; None: it was not given and has no default.

    ``source``: where the value came from, for people. ``is_default``: it was not given.
    """

    parameter: click.Parameter
    value: Any
    source: str
    is_default: bool

    def line(self) -> str:
        """A line of TOML, with the source as a comment. A secret or a missing value makes the whole line a comment."""
        key = key_of(self.parameter)
        if self.value is None or (takes_many(self.parameter) and not self.value):
            return f"# {key} is not set"
        if is_secret(self.parameter):
            return f"# {key} is hidden  # {self.source}"
        text = toml_text(self.value)
        if text is None:
            return f"# {key} has bytes that are not UTF-8: TOML cannot hold them  # {self.source}"
        return f"{key} = {text}  # {self.source}"


def setting_of(context: click.Context, parameter: click.Parameter, given: Any, source: str) -> Setting:
    """``given``: the value before its conversion: text of the command line or a variable, a value of a file."""
    source_kind = context.get_parameter_source(parameter.name or "")
    is_default = source_kind not in (
        click.core.ParameterSource.COMMANDLINE,
        click.core.ParameterSource.ENVIRONMENT,
        click.core.ParameterSource.DEFAULT_MAP,
    )
    # Newer versions of click mark a missing default with an object of their own.
    value: Any = given if isinstance(given, str | int | float | list | tuple) else None
    if is_switch(parameter):
        is_on = context.params.get(parameter.name or "")
        value = None if is_on is None else bool(is_on)
    elif isinstance(parameter.type, _NUMBERS) and isinstance(value, str):
        value = cast(Any, parameter.type).convert(value, parameter, context)
    return Setting(parameter, value, source, is_default)


def config_text(command: str, settings: Sequence[Setting]) -> str:
    """A TOML file that gives the same options again, except the secrets."""
    shown = [setting.line() for setting in settings if not (setting.is_default and _is_hidden(setting.parameter))]
    first = f"# The options of {command}. A secret is hidden: *** in its place, or a comment."
    return "\n".join([first, *shown])


def _is_hidden(parameter: click.Parameter) -> bool:
    return isinstance(parameter, click.Option) and parameter.hidden


def toml_text(value: Any) -> str | None:
    """``value`` as TOML, with the passwords of URLs hidden. None: TOML cannot hold it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list | tuple):
        parts = [toml_text(each) for each in value]
        return None if None in parts else f"[{', '.join(part for part in parts if part is not None)}]"
    text = with_hidden_password(str(value))
    if not text.isascii() and any("\ud800" <= char <= "\udfff" for char in text):
        return None
    # The escapes of JSON are escapes of TOML too. JSON leaves one control character as it is.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
