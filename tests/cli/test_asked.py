"""The command parses its options once, into the objects that are passed on."""

from __future__ import annotations

import logging
from dataclasses import fields

from asked_options import OF_THE_COMMAND, asked
from kevy_ring.cli.ingest.asked import EMBEDDED_NAME, Asked
from kevy_ring.cli.ingest.command import ingest
from kevy_ring.cli.log.run_log import LogOptions
from kevy_ring.replica.options import FollowOptions
from kevy_ring.replica.upstream_url import parse_upstream
from kevy_ring.shard.filters.key_filter import KeyFilter
from kevy_ring.shard.sinks.options import SinkOptions


def test_urls_are_parsed_once_and_the_options_are_in_one_object() -> None:
    found = asked(
        "kevy://h:7000", "redis://h", "--shards", "2", "--sink", "jsonl:/tmp/x", "--name", "a", "--stall-after", "0",
        "--overflow-limit", "1KiB", "--psync-command", "SECRET", "--capacity", "4096",
    )  # fmt: skip
    upstreams = tuple(map(parse_upstream, ("kevy://h:7000", "kevy://h:7001", "redis://h")))
    assert found.follow == FollowOptions(
        upstreams, psync_command="SECRET", overflow_limit=1024, capacity=4096, name_prefix="a", keep_rings=True,
        resumable=True, stall_after_s=None,
    )  # fmt: skip
    assert found.sink_options.upstreams is found.follow.upstreams
    assert found.upstreams == (upstreams[0], upstreams[2])


def test_the_options_of_the_log_are_parsed_too() -> None:
    assert asked().log == LogOptions(logging.INFO, 60.0, None)
    found = asked("--log-level", "Warning", "--log-interval", "0", "--log-format", "JSON").log
    assert found == LogOptions(logging.WARNING, None, "json")


def test_without_a_url_the_embedded_upstream_is_meant() -> None:
    found = asked("--shards", "3", "--capacity", "4096")
    assert (found.upstreams, found.sink, found.shards) == ((), None, 3)
    assert found.follow == FollowOptions(capacity=4096)
    assert found.sink_options.upstreams == (EMBEDDED_NAME,) * 3


def test_every_option_of_the_command_is_a_field_of_one_object() -> None:
    taken = {
        field.name for kind in (FollowOptions, SinkOptions, KeyFilter, LogOptions, Asked) for field in fields(kind)
    }
    names = {option.name or "" for option in ingest.params if option.expose_value} - OF_THE_COMMAND
    passwords = {f"{role}password{suffix}" for role in ("", "sink_", "data_") for suffix in ("", "_file")}
    assert names <= taken | passwords | {"urls", "data_urls", "no_keep", "help"}
