"""Globs on bytes mean what they mean to a real Redis server."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kevy_ring.shard.filters.glob import glob_regex, literal_prefix
from redis_server import RedisServer, find_redis


def matches(pattern: bytes, text: bytes) -> bool:
    return re.compile(glob_regex(pattern), re.DOTALL).fullmatch(text) is not None


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        (b"user:*", [b"user:", b"user:1", b"user:\n\xff"], [b"user", b"auser:1", b""]),
        (b"*:tmp", [b":tmp", b"a:tmp", b"a:tmp:tmp"], [b"a:tmp:", b"tmp"]),
        (b"a*b*c", [b"abc", b"aXbXbc", b"abcbc"], [b"acb", b"ab", b"abcd"]),
        (b"h?llo", [b"hello", b"h\nllo"], [b"hllo", b"heello"]),
        (b"h[ae]llo", [b"hello", b"hallo"], [b"hillo", b"h[ae]llo"]),
        (b"h[^e]llo", [b"hallo", b"h^llo"], [b"hello"]),
        (b"k[0-9b]", [b"k5", b"kb"], [b"ka", b"k"]),
        (b"k[9-0]", [b"k5"], [b"ka"]),
        (b"\\*", [b"*"], [b"a", b"\\*"]),
        (b"k[\\]]", [b"k]"], [b"k\\"]),
        (b"a.b+", [b"a.b+"], [b"axb+", b"a.bb"]),
        (b"\xff\x00*", [b"\xff\x00", b"\xff\x00z"], [b"\xff"]),
        (b"*", [b"", b"anything"], []),
    ],
)
def test_a_glob_matches_as_redis_documents(pattern: bytes, yes: list[bytes], no: list[bytes]) -> None:
    assert [text for text in yes if not matches(pattern, text)] == []
    assert [text for text in no if matches(pattern, text)] == []


def test_random_globs_match_the_keys_that_a_server_finds(tmp_path: Path) -> None:
    choose = random.Random(7)
    server = RedisServer(find_redis("7.0"), tmp_path / "redis")
    try:
        client = server.client()
        keys = {bytes(choose.choices(b"ab*?[]^-\\c", k=choose.randrange(1, 5))) for _ in range(400)}
        client.mset(dict.fromkeys(keys, 1))
        patterns = [bytes(choose.choices(b"ab*?[]^-\\c", k=choose.randrange(1, 8))) for _ in range(600)]
        # A server reads behind the end of a class without an end, so its answer there is not defined.
        patterns = [pattern for pattern in patterns if pattern.count(b"[") <= pattern.count(b"]")]
        pipeline = client.pipeline(transaction=False)
        for pattern in patterns:
            pipeline.keys(pattern)
        replies = pipeline.execute()
        found = {pattern: set(reply) for pattern, reply in zip(patterns, replies, strict=True)}
    finally:
        server.stop()
    wrong = [pattern for pattern in patterns if found[pattern] != {key for key in keys if matches(pattern, key)}]
    assert wrong == []
    assert sum(map(len, found.values())) > 1000


@settings(max_examples=20)
@given(st.lists(st.sampled_from([b"a", b"ab", b""]), min_size=20, max_size=40), st.integers(50, 200))
def test_a_glob_with_many_stars_is_answered_on_a_text_that_it_almost_matches(parts: list[bytes], size: int) -> None:
    assert not matches(b"*".join(parts) + b"*!", b"ab" * size)


def test_a_text_and_one_star_is_known_as_a_prefix() -> None:
    assert literal_prefix(b"user:*") == b"user:"
    assert literal_prefix(b"*") == b""
    assert [literal_prefix(glob) for glob in (b"a", b"a*b*", b"a?*", b"a\\**", b"[a]*")] == [None] * 5
