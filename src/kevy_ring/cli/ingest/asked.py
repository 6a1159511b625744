"""The options of ``kevy-ring ingest``, checked and parsed into their final types."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from typing import Any

import click

from kevy_ring.cli.ingest.options_filter import embedded_keys, filter_asked, without_database
from kevy_ring.cli.ingest.options_password import with_passwords
from kevy_ring.cli.log.run_log import LogOptions
from kevy_ring.replica.options import FollowOptions
from kevy_ring.replica.refusal import checked_command
from kevy_ring.replica.upstream_url import REDIS_SCHEMES, UpstreamUrl, parse_upstream
from kevy_ring.shard.filters.key_filter import KeyFilter
from kevy_ring.shard.sinks.options import SinkOptions
from kevy_ring.shard.sinks.retention import FOREVER, Retention
from kevy_ring.shard.sinks.sink_url import is_resumable
from kevy_ring.shard.sinks.stdout import STDOUT

#: The embedded upstream's name in the mark of a Redis target: its port changes with every run.
EMBEDDED_NAME = "the embedded upstream"
_EMBEDDED_SHARDS = 2
_RING_PREFIX = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,23}")


@dataclass(frozen=True, slots=True)
class Asked:
    """What the user asked for.

    ``upstreams``: as given; empty: the embedded upstream. ``sources``: other servers that hold the keys of the
    upstreams, for a comparison. ``follow``: has one upstream for each stream; for the embedded upstream, only
    ``capacity`` and ``max_restarts`` count. ``sink``: None only with the embedded upstream, which then uses memory for
    the first part of the frames and null for the rest. ``shards``: of each kevy:// upstream. ``keys`` and ``ops``: of
    the embedded upstream.
    """

    upstreams: tuple[UpstreamUrl, ...]
    sources: tuple[UpstreamUrl, ...]
    follow: FollowOptions
    sink: str | None
    sink_options: SinkOptions
    shards: int
    duration: float | None
    until_caught_up: bool
    verify: bool
    allow_skipped: bool
    give_up_after_s: float | None
    keys: int
    ops: int
    log: LogOptions


def asked_of(
    *,
    urls: tuple[str, ...],
    data_urls: tuple[str, ...],
    shards: int | None,
    sink: str | None,
    no_keep: bool,
    **options: Any,
) -> Asked:
    """``options``: named like the fields of FollowOptions, SinkOptions, KeyFilter, LogOptions and Asked; and passwords.

    Raises ``click.UsageError`` for a wrong value and for options that exclude each other.
    """
    urls, sink, data_urls = with_passwords(urls, sink, data_urls, options)
    follow, sink_options = _taken(FollowOptions, options), _taken(SinkOptions, options)
    options["log"] = LogOptions(**_taken(LogOptions, options))
    _check_together(follow, sink_options, options, sink, no_keep=no_keep)
    filtering = _taken(KeyFilter, options)
    if not urls:
        _check_embedded(follow, data_urls)
        options["keys"] = embedded_keys(filtering.pop("keys"), any(filtering.values()))
        return _embedded(follow, sink_options, sink, shards or _EMBEDDED_SHARDS, options)
    sink = sink or STDOUT
    upstreams, sources = _parsed(urls), _parsed(data_urls)
    chosen_keys = filter_asked(upstreams, **filtering)
    if chosen_keys.commands and options["verify"]:
        raise click.UsageError("--verify compares keys, and with --commands the sink lacks changes: leave one out")
    upstreams, sources = (tuple(without_database(url, chosen_keys) for url in each) for each in (upstreams, sources))
    _check_upstreams(upstreams, sources, shards)
    _check_follow(follow)
    try:
        chosen = FollowOptions.of(
            upstreams,
            shards=shards or 1,
            keep_rings=follow["name_prefix"] is not None and not no_keep,
            resumable=is_resumable(sink),
            **follow,
        )
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    followed = SinkOptions(**sink_options, upstreams=chosen.upstreams, filter=chosen_keys)
    return Asked(upstreams, sources, chosen, sink, followed, shards or 1, keys=0, **options)


def _embedded(
    follow: dict[str, Any], sink_options: dict[str, Any], sink: str | None, shards: int, options: dict[str, Any]
) -> Asked:
    alone = FollowOptions(capacity=follow["capacity"], max_restarts=follow["max_restarts"])
    embedded = SinkOptions(**sink_options, upstreams=(EMBEDDED_NAME,) * shards)
    return Asked((), (), alone, sink, embedded, shards, **options)


def _check_together(
    follow: dict[str, Any], sink_options: dict[str, Any], options: dict[str, Any], sink: str | None, *, no_keep: bool
) -> None:
    """Raises ``click.UsageError`` for options that exclude each other."""
    if no_keep and follow["name_prefix"] is None:
        raise click.UsageError("--no-keep is for --name: rings without a name are removed at exit anyway")
    if options["duration"] is not None and options["until_caught_up"]:
        raise click.UsageError("--duration and --until-caught-up exclude each other: give one of them")
    targeted = any(sink_options[each] for each in ("replace_target", "allow_unchecked_target", "target_import_mode"))
    if targeted and (sink or "").partition("://")[0].lower() not in REDIS_SCHEMES:
        raise click.UsageError(
            "--replace-target, --allow-unchecked-target and --target-import-mode are for a redis:// sink"
        )
    _check_kept(sink or "", **sink_options)


def _taken(kind: type[Any], options: dict[str, Any]) -> dict[str, Any]:
    """Take the options that are fields of ``kind`` out of ``options``."""
    return {field.name: options.pop(field.name) for field in fields(kind) if field.name in options}


def _parsed(urls: tuple[str, ...]) -> tuple[UpstreamUrl, ...]:
    try:
        return tuple(map(parse_upstream, urls))
    except ModuleNotFoundError as error:
        raise click.ClickException(str(error)) from error
    except ValueError as error:
        raise click.UsageError(str(error)) from error


def _check_embedded(follow: dict[str, Any], data_urls: tuple[str, ...]) -> None:
    if follow["name_prefix"] is not None:
        raise click.UsageError("--name needs a URL to follow: the embedded upstream ends with the command")
    if data_urls:
        raise click.UsageError("--data-url needs a URL to follow: the keys of the embedded upstream are known")


def _check_upstreams(upstreams: tuple[UpstreamUrl, ...], sources: tuple[UpstreamUrl, ...], shards: int | None) -> None:
    try:
        for upstream in (*upstreams, *sources):
            upstream.check_all_databases()
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    if any(source.kind != "redis" for source in sources):
        raise click.UsageError("--data-url must be a redis://, rediss:// or unix:// URL: keys are read by commands")
    if shards and not any(upstream.kind == "kevy" for upstream in upstreams):
        raise click.UsageError("--shards is for a kevy:// upstream: any other upstream is one stream")


def _check_kept(sink: str, *, changes: Retention = FOREVER, keep_generations: int | None = None, **other: Any) -> None:
    if not changes.is_forever and not is_resumable(sink):
        raise click.UsageError("--changes is for a sink with a log of changes: jsonl:DIR or sqlite:FILE")
    if keep_generations is not None and not (sink.startswith("jsonl:") and is_resumable(sink)):
        raise click.UsageError("--keep-generations is for a jsonl:DIR sink")


def _check_follow(follow: dict[str, Any]) -> None:
    try:
        checked_command(follow["psync_command"])
    except ValueError as error:
        raise click.UsageError(f"--psync-command: {error}") from error
    name = follow["name_prefix"]
    if name is not None and not _RING_PREFIX.fullmatch(name):
        raise click.UsageError("--name takes 1 to 24 letters, digits, dots, dashes or underscores, no dot first")
