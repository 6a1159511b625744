"""The options of ``kevy-ring ingest`` that choose keys and commands, and the filter that they make."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import click

from kevy_ring.replica.upstream_url import UpstreamUrl
from kevy_ring.shard.filters.key_filter import KeyFilter

#: Keys in the snapshot of the embedded upstream.
EMBEDDED_KEYS = 50_000

_OPTIONS = (
    click.option(
        "--db", "databases", metavar="N", multiple=True, type=click.IntRange(0),
        help="Take only database N. Several: any of them. redis://HOST:PORT/N as the URL means the same.",
    ),
    click.option(
        "--keys", metavar="GLOB", multiple=True,
        help="Take only keys that match GLOB, as in Redis's KEYS. Several: any of them. Without a URL: number of keys "
        f"in the snapshot (default {EMBEDDED_KEYS}).",
    ),
    click.option(
        "--exclude", metavar="GLOB", multiple=True,
        help="Leave out keys that match GLOB. Several: all of them.",
    ),
    click.option(
        "--commands", metavar="NAME,...", multiple=True,
        help="Take only these commands of the stream, for a log of changes: the sink is then no replica.",
    ),
    click.option(
        "--filter", "function", metavar="MODULE:CALLABLE", default="",
        help="Take only keys for which CALLABLE(database, key) is true. The key is bytes.",
    ),
)  # fmt: skip


def filter_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options to a command."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def filter_asked(
    upstreams: tuple[UpstreamUrl, ...], *, databases: tuple[int, ...], keys: tuple[str, ...], exclude: tuple[str, ...],
    commands: tuple[str, ...], function: str,
) -> KeyFilter:  # fmt: skip
    """The filter of a run. Raises ``click.UsageError`` for a wrong value, and for two options that differ."""
    names = [name for text in commands for name in text.replace(",", " ").split()]
    if commands and not names:
        raise click.UsageError("--commands names no command: give some, as --commands SET,DEL")
    try:
        return KeyFilter(
            _databases(upstreams, frozenset(databases)),
            map(os.fsencode, keys),
            map(os.fsencode, exclude),
            [os.fsencode(name) for name in names],
            function,
        )
    except ValueError as error:
        raise click.UsageError(f"{error}: check --db, --keys, --exclude, --commands and --filter") from error


def _databases(upstreams: tuple[UpstreamUrl, ...], asked: frozenset[int]) -> frozenset[int]:
    for upstream in upstreams:
        if upstream.kind == "kevy" and asked - {0}:
            raise click.UsageError(f"{upstream.redacted} has only database 0, and --db names {max(asked)}")
    named = {upstream.db: upstream for upstream in upstreams if upstream.names_db}
    for db, upstream in named.items():
        if asked not in (frozenset(), {db}):
            raise click.UsageError(
                f"{upstream.redacted} names database {db}, and --db names {', '.join(map(str, sorted(asked)))}: remove "
                "one of the two"
            )
    is_same = len(named) == 1 and (asked or all(upstream.names_db for upstream in upstreams))
    if named and not is_same:
        raise click.UsageError(
            f"{next(iter(named.values())).redacted} names database {next(iter(named))}, and another upstream does not. "
            "One filter holds for all upstreams: give --db N, or run the command once for each"
        )
    return asked or frozenset(named)


def without_database(upstream: UpstreamUrl, chosen: KeyFilter) -> UpstreamUrl:
    """An upstream's URL without the number that is in the filter now. A replica receives all databases."""
    if upstream.names_db and chosen.databases == {upstream.db}:
        return replace(upstream, db=0, names_db=False)
    return upstream


def embedded_keys(keys: tuple[str, ...], others: bool) -> int:
    """How many keys the embedded upstream makes. ``others``: whether another option of a filter was given.

    Raises ``click.UsageError`` for a glob: the embedded upstream is followed as a whole.
    """
    if others:
        raise click.UsageError("--db, --exclude, --commands and --filter need a URL to follow")
    if not keys:
        return EMBEDDED_KEYS
    if len(keys) > 1 or not (keys[0].isascii() and keys[0].isdigit()):
        raise click.UsageError("without a URL, --keys is the number of keys in the snapshot, as --keys 1000")
    return int(keys[0])
