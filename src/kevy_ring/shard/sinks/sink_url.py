"""Makes the sink that a URL names."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

from kevy_ring.replica.upstream_url import REDIS_SCHEMES
from kevy_ring.shard.filters.filtered import filtered
from kevy_ring.shard.refused.letter import Origin
from kevy_ring.shard.sinks.jsonl.sink import JsonlSink
from kevy_ring.shard.sinks.null import NullSink
from kevy_ring.shard.sinks.options import DEFAULT_OPTIONS, SinkOptions
from kevy_ring.shard.sinks.python import PythonSink
from kevy_ring.shard.sinks.refusals import Refusals
from kevy_ring.shard.sinks.sink import Sink
from kevy_ring.shard.sinks.stdout import STDOUT, StdoutSink

_KINDS = "jsonl:-, null, memory, jsonl:DIR, sqlite:FILE, redis://HOST:PORT[/DB], python:MODULE:CALLABLE"


def sink_from_url(url: str, *, shard: int = 0, shards: int = 1, options: SinkOptions = DEFAULT_OPTIONS) -> Sink:
    """The sink that ``url`` names, for shard number ``shard`` of ``shards``. ``options``: see :class:`SinkOptions`.

    ``jsonl:-`` (standard output), ``null``, ``memory``, ``jsonl:DIR``, ``sqlite:FILE``,
    ``redis://[user:pass@]host:port[/db]`` (also ``rediss://``, ``valkey://``, ``valkeys://`` and ``unix://``),
    ``python:module:callable``. ``{shard}`` in the URL is replaced by the shard's number. With more than one shard,
    ``jsonl:DIR`` writes to ``DIR/shard-N`` and ``sqlite:a.db`` to ``a-shard-N.db``. A Redis target then needs
    ``{shard}`` in its URL (a database or a port of its own), because a snapshot replaces all keys of its target.

    With ``options.filter`` the sink is behind this filter: see :func:`filtered`.

    Raises ``ValueError`` for a URL that names no sink, and SinkError if the sink cannot be made.
    """
    made = _made(url, shard, shards, options)
    if not options.filter:
        return made
    try:
        return filtered(made, options.filter, only_done=options.has_only_done(shard))
    except BaseException:
        made.close()
        raise


def _made(url: str, shard: int, shards: int, options: SinkOptions) -> Sink:
    own = url.replace("{shard}", str(shard))
    kind, _, rest = own.partition(":")
    of_files: dict[str, Any] = {name: getattr(options, name) for name in ("file_mode", "changes", "filter")}

    def refusals() -> Refusals:
        return refusals_of(url, shard=shard, shards=shards, options=options)

    if own == "null":
        return NullSink(refusals=refusals())
    if own == STDOUT:
        shown = shard if shards > 1 else None
        return StdoutSink(shard=shown, lock_path=options.line_lock, refusals=refusals())
    if kind == "jsonl" and rest:
        place = place_of_shard(url, shard=shard, shards=shards)
        return JsonlSink(place, refusals=refusals(), keep_generations=options.keep_generations, **of_files)
    if kind == "python" and rest:
        return PythonSink(rest, refusals=refusals())
    if kind in REDIS_SCHEMES and rest.startswith("//"):
        if shards > 1 and own == url:
            raise _shared_target(url, shards)
        from kevy_ring.shard.sinks.redis.sink import RedisSink  # here, because it brings numpy

        return RedisSink(own, upstream=options.upstream_of(shard), options=options, refusals=refusals())
    # Below, because both sinks need packages of the extra `ingest`.
    if own == "memory":
        from kevy_ring.shard.sinks.memory import MemorySink

        return MemorySink(refusals=refusals())
    if kind == "sqlite" and rest:
        from kevy_ring.shard.sinks.sqlite.sink import SqliteSink

        return SqliteSink(place_of_shard(url, shard=shard, shards=shards), refusals=refusals(), **of_files)
    raise ValueError(f"{_without_login(url)!r} names no sink. The sinks are: {_KINDS}")


def _shared_target(url: str, shards: int) -> ValueError:
    return ValueError(
        f"{shards} shards cannot share the target {_without_login(url)!r}, because a snapshot replaces all "
        "keys of its target. Put {shard} in the URL, as in redis://host:port/{shard}"
    )


def refusals_of(url: str, *, shard: int, shards: int, options: SinkOptions) -> Refusals:
    """The counts of what the sink of one shard cannot take, with the policy of ``options``.

    Raises SinkError if the file of dead letters cannot be opened.
    """
    upstream = options.upstream_of(shard)
    named = upstream if isinstance(upstream, str) else replace(upstream, db=0, shown_options="", options={}).redacted
    place = sink_place(url, shard, shards)
    origin = Origin(place, named, shard)
    return Refusals(place, options.on_error, origin=origin, file_mode=options.file_mode)


def is_resumable(url: str) -> bool:
    """Whether the sink outlives its process and stores its offset, so that a later process continues there."""
    return url.partition(":")[0] in ("jsonl", "sqlite") and url != STDOUT


def place_of_shard(url: str, *, shard: int, shards: int) -> str:
    """The directory or the file of one shard, for a sink that is named by a path."""
    own = url.replace("{shard}", str(shard))
    kind, _, path = own.partition(":")
    if shards == 1 or own != url:
        return path
    if kind == "jsonl":
        return f"{path}/shard-{shard}"
    directory, name = os.path.split(path)
    stem, suffix = os.path.splitext(name)
    return os.path.join(directory, f"{stem}-shard-{shard}{suffix}")


def sink_place(url: str, shard: int, shards: int) -> str:
    """The sink of one shard as text for people: a URL without login and options, or a whole path."""
    kind = url.partition(":")[0]
    if kind in ("jsonl", "sqlite"):
        return f"{kind}:{os.path.abspath(place_of_shard(url, shard=shard, shards=shards))}"
    return _without_login(url.replace("{shard}", str(shard))).partition("?")[0]


def _without_login(url: str) -> str:
    """The URL without the part before its last ``@``, so that no password is printed or logged."""
    scheme, found, rest = url.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}" if found else url.rpartition("@")[2]
