"""Chooses the comparison for each kind of upstream and sink."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from urllib.parse import parse_qs, urlsplit

import click

from kevy_ring.cli.compare.digest import DigestComparison, compare_digests
from kevy_ring.cli.compare.key_source import EmbeddedKeys, KeySource, PassingKeys, ShardKeys, UnitedKeys
from kevy_ring.cli.compare.redis_keys import RedisKeys
from kevy_ring.cli.compare.verify import ROUNDS_S, Verification, compare
from kevy_ring.cli.ingest.replication import Access, Comparison
from kevy_ring.replica.upstream_url import UpstreamUrl
from kevy_ring.shard.filters.key_filter import NO_FILTER, KeyFilter
from kevy_ring.shard.sinks.sink_url import place_of_shard
from kevy_ring.shard.sinks.stdout import STDOUT
from kevy_ring.shard.snapshot import SkippedKey
from kevy_ring.testing import EmbeddedPrimary


def comparison_of(
    upstreams: Sequence[UpstreamUrl],
    data_urls: Sequence[UpstreamUrl],
    sink: str,
    shards: int,
    streams: int,
    *,
    chosen: KeyFilter = NO_FILTER,
) -> Comparison:
    """The comparison at the end of a run that follows ``upstreams``, each with its own shards.

    ``chosen``: the filter of the sink. Only the upstream's keys that pass are compared.

    Raises ``click.UsageError`` if the keys of an upstream or of the sink cannot be read.
    """
    _check_sources(upstreams, data_urls, sink)
    sources = data_urls or upstreams

    def compare_each(access: Access) -> Verification:
        # Let the replica apply what is on its way. A replica that cannot is not compared.
        access.settle(0.0)
        result = Verification()
        first = 0
        for upstream, source in zip(upstreams, sources, strict=True):
            count = shards if upstream.kind == "kevy" else 1
            replicas = [replica_keys(sink, shard, streams, access, chosen) for shard in range(first, first + count)]
            united: KeySource = UnitedKeys(replicas) if count > 1 else replicas[0]
            theirs = RedisKeys(source)
            passing = PassingKeys(theirs, chosen)
            skipped = partial(_skipped, sink, replicas, range(first, first + count), access)
            result += compare(
                passing, united, is_final=False, settle=access.settle, pulse=access.pulse, rounds_s=ROUNDS_S,
                skipped=skipped,
            )  # fmt: skip
            theirs.close()
            first += count
        return result

    return compare_each


def _check_sources(upstreams: Sequence[UpstreamUrl], data_urls: Sequence[UpstreamUrl], sink: str) -> None:
    check_readable(sink)
    if data_urls and len(data_urls) != len(upstreams):
        raise click.UsageError(
            f"--data-url was given {len(data_urls)} times for {len(upstreams)} upstreams: give one for each"
        )
    if not data_urls and any(upstream.kind == "kevy" for upstream in upstreams):
        raise click.UsageError(
            "--verify of a kevy:// upstream reads its keys over Redis commands: give --data-url redis://HOST:PORT"
        )


def embedded_comparison(primary: EmbeddedPrimary, sink: str, shards: int) -> Comparison:
    """The comparison with an embedded upstream that has published all its frames. ``null``: by digest."""

    def by_keys(access: Access) -> Verification:
        result = Verification()
        for shard in range(shards):
            access.pulse()
            replica = replica_keys(sink, shard, shards, access)
            result += compare(EmbeddedKeys(primary, shard), replica, is_final=True, pulse=access.pulse)
        return result

    def by_digest(access: Access) -> DigestComparison:
        facts = [access.ask(shard, "facts") for shard in range(shards)]
        return compare_digests(primary, facts, access.look(), access.pulse)

    return by_digest if sink == "null" else by_keys


def _skipped(sink: str, replicas: Sequence[KeySource], shards: Sequence[int], access: Access) -> list[SkippedKey]:
    """The keys that a snapshot skipped, so that these shards lack them. The files or the processes know them."""
    found: list[SkippedKey] = []
    for shard, replica in zip(shards, replicas, strict=True):
        of_files = getattr(replica, "skipped", None)
        found += of_files() if of_files is not None else access.ask(shard, "skipped")
    return found


def check_readable(sink: str) -> None:
    """Raises ``click.UsageError`` for a sink whose keys cannot be read back."""
    if sink == "null":
        raise click.UsageError("--verify needs keys, and null keeps none: use --sink memory")
    if sink == STDOUT:
        raise click.UsageError(
            "--verify needs a sink whose keys can be read back, and standard output is none: "
            "use --sink memory, sqlite:FILE or jsonl:DIR"
        )
    if sink.startswith("python:"):
        raise click.UsageError(f"--verify cannot read the keys of {sink}: use --sink memory, sqlite:FILE or jsonl:DIR")


def replica_keys(sink: str, shard: int, shards: int, access: Access, chosen: KeyFilter = NO_FILTER) -> KeySource:
    """The source of the keys of one shard's replica."""
    own = sink.replace("{shard}", str(shard))
    if sink == "memory":
        return ShardKeys(access.ask, shard)
    if sink.startswith("jsonl:"):
        from kevy_ring.cli.compare.jsonl_keys import JsonlKeys

        return JsonlKeys(place_of_shard(sink, shard=shard, shards=shards))
    if sink.startswith("sqlite:"):
        from kevy_ring.cli.compare.sqlite_keys import SqliteKeys

        return SqliteKeys(place_of_shard(sink, shard=shard, shards=shards))
    return RedisKeys(own, only_db=database_named(own), of_db=chosen.only_database or 0)


def database_named(url: str) -> int | None:
    """The database that a Redis URL names, which is then the only one of the sink; None: it names none."""
    parts = urlsplit(url)
    if "db" in (query := parse_qs(parts.query)):
        return int(query["db"][0])
    path = parts.path.strip("/")
    return int(path) if parts.scheme != "unix" and path else None
