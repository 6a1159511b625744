"""A command whose options also come from the environment and from a TOML file."""

from __future__ import annotations

import os
from difflib import get_close_matches
from typing import Any

import click
from click.core import ParameterSource

from kevy_ring.cli.configuration.names import PREFIX, Texts, is_secret, key_of, takes_many, variable_of
from kevy_ring.cli.configuration.setting import Setting, config_text, setting_of
from kevy_ring.cli.configuration.toml_file import read_config
from kevy_ring.cli.redaction import without_secrets, without_typed_secrets

_CONFIG, _PRINT = "config", "print_config"
_SETTINGS = "kevy_ring.settings"
_TEXTS = Texts()
#: A variable that is this similar to a known one is a typing error. Kubernetes makes others from names of services.
_SIMILAR = 0.8


class ConfiguredCommand(click.Command):
    """Takes each option from the command line, else from its variable, else from the file, else its default.

    It adds ``--config`` and ``--print-config``. It works on the parameters that the command has, so a new option needs
    nothing here. Variables that hold a secret are removed from this process's environment: processes that the command
    starts do not inherit them.
    """

    def __init__(self, name: str | None, **options: Any) -> None:
        super().__init__(name, **options)
        self.params += [
            click.Option(
                ["--config"],
                type=click.Path(),
                is_eager=True,
                expose_value=False,
                callback=_load,
                metavar="FILE",
                help="Read options from this TOML file. The environment (KEVY_RING_OPTION) and the command line "
                "override it.",
            ),
            click.Option(
                ["--print-config"],
                is_flag=True,
                expose_value=False,
                help="Print all options as TOML, with the place that each came from and without secrets, and end.",
            ),
        ]
        for each in self.params:
            if each.name != _PRINT:
                each.envvar = each.envvar or variable_of(each)
            if takes_many(each) and each.type is click.STRING:
                each.type = _TEXTS

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if ctx.resilient_parsing:
            return super().parse_args(ctx, args)
        typed, _, _ = self.make_parser(ctx).parse_args(args=list(args))
        try:
            rest = super().parse_args(ctx, args)
        except click.BadParameter as error:
            raise _with_source(ctx, error) from error
        ctx.meta[_SETTINGS] = [_setting(ctx, each, typed) for each in self.params if each.name not in (_CONFIG, _PRINT)]
        ctx.meta[_PRINT] = bool(typed.get(_PRINT) is True)
        _warn_of_unknown_variables(self.params)
        _remove_secret_variables(self.params)
        return rest

    def invoke(self, ctx: click.Context) -> Any:
        if ctx.meta.get(_PRINT):
            settings: list[Setting] = ctx.meta[_SETTINGS]
            click.echo(config_text(ctx.command_path, settings))
            return 0
        try:
            return super().invoke(ctx)
        except click.UsageError as error:
            # It may repeat a value that was not typed, so the caller cannot know it.
            text = without_typed_secrets(error.format_message(), _texts(ctx.meta[_SETTINGS]))
            raise click.UsageError(text, error.ctx or ctx) from error


def _texts(settings: list[Setting]) -> list[str]:
    values = [each.value if isinstance(each.value, list | tuple) else [each.value] for each in settings]
    return [text for each in values for text in each if isinstance(text, str) and text]


def _load(context: click.Context, parameter: click.Parameter, path: str | None) -> None:
    """Let click look into the file for the options that were given neither typed nor in the environment."""
    if path is None or context.resilient_parsing:
        return
    known = {key_of(each): each for each in context.command.params if each.name not in (_CONFIG, _PRINT)}
    try:
        context.default_map = read_config(path, known)
    except click.UsageError as error:
        error.ctx = context
        raise
    context.meta[_CONFIG] = path


def _setting(context: click.Context, parameter: click.Parameter, typed: dict[str, Any]) -> Setting:
    name = parameter.name or ""
    source = context.get_parameter_source(name)
    if source is ParameterSource.COMMANDLINE:
        given = typed.get(name)
    elif source is ParameterSource.ENVIRONMENT:
        given = parameter.value_from_envvar(context)
    elif source is ParameterSource.DEFAULT_MAP:
        given = (context.default_map or {}).get(name)
    else:
        given = parameter.default
    return setting_of(context, parameter, given, _source_text(context, parameter))


def _source_text(context: click.Context, parameter: click.Parameter) -> str:
    source = context.get_parameter_source(parameter.name or "")
    if source is ParameterSource.COMMANDLINE:
        return "command line"
    if source is ParameterSource.ENVIRONMENT:
        return f"environment: {parameter.envvar}"
    if source is ParameterSource.DEFAULT_MAP:
        return f"file: {' '.join(str(context.meta.get(_CONFIG)).split())}"
    return "default"


def _with_source(context: click.Context, error: click.BadParameter) -> click.UsageError:
    """The same error. If the value was not typed, it names the variable, or the file and the key."""
    parameter = error.param
    source = context.get_parameter_source(parameter.name or "") if parameter is not None else None
    if parameter is None or source not in (ParameterSource.ENVIRONMENT, ParameterSource.DEFAULT_MAP):
        return error
    if source is ParameterSource.ENVIRONMENT:
        value = os.environ.get(str(parameter.envvar), "")
        where, given = f"environment variable {parameter.envvar}", [value]
        if value.startswith("tcp://"):
            where += " (Kubernetes makes such a variable for a service; enableServiceLinks: false prevents it)"
    else:
        found = (context.default_map or {}).get(parameter.name or "")
        where, given = f"--config {context.meta.get(_CONFIG)}: {key_of(parameter)}", [str(found)]
    return click.UsageError(f"{where}: {without_typed_secrets(error.message, filter(None, given))}", context)


def _warn_of_unknown_variables(parameters: list[click.Parameter]) -> None:
    known = {str(each.envvar).removeprefix(PREFIX): each for each in parameters}
    for name in sorted(os.environ):
        if not name.startswith(PREFIX) or name.removeprefix(PREFIX) in known:
            continue
        near = get_close_matches(name.removeprefix(PREFIX), known, n=1, cutoff=_SIMILAR)
        if near:
            click.echo(f"kevy-ring: {name} has no effect: did you mean {PREFIX}{near[0]}?", err=True)


def _remove_secret_variables(parameters: list[click.Parameter]) -> None:
    for each in parameters:
        name = str(each.envvar)
        value = os.environ.get(name, "")
        if value and (is_secret(each) or without_secrets(value) != value):
            del os.environ[name]
