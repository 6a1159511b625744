"""Passwords from a file or the environment, so that none has to be in a URL or on the command line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from kevy_ring.cli.configuration.small_file import read_small
from kevy_ring.replica.upstream_url import REDIS_SCHEMES, url_with_password

_MOST_BYTES = 64 * 1024
#: The option before "password" and "password-file", and the servers that the password is for.
_ROLES = {"": "the redis:// upstreams", "sink-": "a redis:// sink", "data-": "the servers of --data-url"}
_SEEN = "--{}password is refused: every user of this machine can read a command line. Give --{}password-file FILE or {}"


def _not_typed(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    """Refuse a password on the command line. It may come from the environment or from the file of --config."""
    if context.get_parameter_source(parameter.name or "") is click.core.ParameterSource.COMMANDLINE:
        role = (parameter.name or "").removesuffix("password").replace("_", "-")
        raise click.UsageError(_SEEN.format(role, role, parameter.envvar), context)
    return value


def password_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of all passwords to a command."""
    for role in reversed(_ROLES):
        command = _options(command, role)
    return command


def sink_password_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of the sink's password, also from the environment, to a command without other passwords."""
    return _options(command, "sink-", envvar="KEVY_RING_SINK_PASSWORD", file_envvar="KEVY_RING_SINK_PASSWORD_FILE")


def _options(
    command: Callable[..., Any], role: str, *, envvar: str | None = None, file_envvar: str | None = None
) -> Callable[..., Any]:
    """Add the options of one password. Without names of variables, the command has a prefix for all of its options."""
    variable = f"KEVY_RING_{role.replace('-', '_').upper()}PASSWORD"
    command = click.option(f"--{role}password", hidden=True, callback=_not_typed, envvar=envvar)(command)
    return click.option(
        f"--{role}password-file", type=click.Path(), metavar="FILE", envvar=file_envvar,
        help=f"File with the password for {_ROLES[role]}, without a last line break; or set {variable}.",
    )(command)  # fmt: skip


def with_passwords(
    urls: tuple[str, ...], sink: str | None, data_urls: tuple[str, ...], options: dict[str, Any]
) -> tuple[tuple[str, ...], str | None, tuple[str, ...]]:
    """The URLs with the passwords that ``options`` give, which are taken out of ``options``.

    Raises ``click.UsageError`` for a password that is for no server, given twice, or not readable.
    """
    upstream, data = _password("", options), _password("data-", options)
    if upstream is not None:
        if not any(map(_has_login, urls)):
            raise click.UsageError("a password was given, but there is no redis:// upstream: kevy:// has no login")
        urls = tuple(_url(url, upstream) if _has_login(url) else url for url in urls)
    sink = with_sink_password(sink, options)
    if data is not None:
        if not data_urls:
            raise click.UsageError("a password for the data was given, but no --data-url")
        data_urls = tuple(_url(url, data) for url in data_urls)
    return urls, sink, data_urls


def with_sink_password(sink: str | None, options: dict[str, Any]) -> str | None:
    """The sink with the password that ``options`` give, which is taken out of ``options``. Raises as with_passwords."""
    password = _password("sink-", options)
    if password is None:
        return sink
    if sink is None or not _has_login(sink):
        raise click.UsageError("a password for the sink was given, but --sink is no redis:// URL")
    return _url(sink, password)


def _password(role: str, options: dict[str, Any]) -> str | None:
    """The password of a role; None: none was given."""
    name = role.replace("-", "_")
    password, path = options.pop(f"{name}password", None), options.pop(f"{name}password_file", None)
    if password is not None and path is not None:
        raise click.UsageError(f"a password was given twice: by --{role}password-file and by KEVY_RING_"
                               f"{name.upper()}PASSWORD (or the key {role}password). Remove one")  # fmt: skip
    if path is not None:
        return _read_password(f"--{role}password-file {path}", path)
    if password is None:
        return None
    return _checked(f"KEVY_RING_{name.upper()}PASSWORD (or the key {role}password)", str(password))


def _read_password(where: str, path: str) -> str:
    try:
        content = read_small(path, _MOST_BYTES).decode()
    except OSError as error:
        raise click.UsageError(f"{where}: it cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise click.UsageError(f"{where}: it is not UTF-8 text") from error
    except ValueError as error:
        raise click.UsageError(f"{where}: it holds no password: {error}") from error
    return _checked(where, content.removesuffix("\n").removesuffix("\r"))


def _checked(where: str, password: str) -> str:
    if not password:
        raise click.UsageError(f"{where}: it is empty")
    if "\n" in password or "\r" in password:
        raise click.UsageError(f"{where}: it has more than one line, so it is no password")
    if any("\ud800" <= char <= "\udfff" for char in password):
        raise click.UsageError(f"{where}: it is not UTF-8 text")
    return password


def _has_login(url: str) -> bool:
    return url.partition("://")[0].lower() in REDIS_SCHEMES


def _url(url: str, password: str) -> str:
    try:
        return url_with_password(url, password)
    except ModuleNotFoundError as error:
        raise click.ClickException(str(error)) from error
    except ValueError as error:
        raise click.UsageError(str(error)) from error
