"""Upstream URLs: their meaning, and that their secrets are never shown."""

from __future__ import annotations

import pickle

import pytest

from kevy_ring.replica.upstream_url import UpstreamUrl, parse_upstream

PASSWORD = "s3cret/p@ss#w?rd"
QUOTED = "s3cret%2Fp%40ss%23w%3Frd"


def test_a_kevy_url_names_the_listener_of_shard_0_and_finds_the_others() -> None:
    url = parse_upstream("kevy://127.0.0.1:7000")
    assert (url.kind, url.host, url.port) == ("kevy", "127.0.0.1", 7000)
    assert url.shard(3).redacted == "kevy://127.0.0.1:7003"
    assert str(parse_upstream("KEVY://[::1]:7000/")) == "kevy://[::1]:7000"


@pytest.mark.parametrize("index", [-1, 65535 - 7000 + 1])
def test_a_shard_without_a_port_is_refused(index: int) -> None:
    with pytest.raises(ValueError, match="no port"):
        parse_upstream("kevy://h:7000").shard(index)


def test_a_redis_url_is_one_stream() -> None:
    with pytest.raises(ValueError, match="one stream"):
        parse_upstream("redis://h:7000").shard(0)


def test_a_redis_url_has_redis_pys_defaults() -> None:
    url = parse_upstream("redis://")
    assert (url.kind, url.host, url.port, url.db, url.options) == ("redis", "localhost", 6379, 0, {})


def test_login_and_database_are_decoded_and_the_password_is_shown_nowhere() -> None:
    url = parse_upstream(f"redis://repl%40x:{QUOTED}@example.com:6380/5")
    assert url.options == {"username": "repl@x", "password": PASSWORD}
    assert (url.host, url.port, url.db) == ("example.com", 6380, 5)
    assert url.redacted == str(url) == "redis://repl%40x:***@example.com:6380/5"
    for shown in (repr(url), f"{url}", repr([url])):
        assert "s3cret" not in shown


def test_a_password_in_the_query_is_not_shown_either() -> None:
    url = parse_upstream(f"rediss://h:1?password={QUOTED}&ssl_password=hush&ssl_ca_certs=/etc/ca.pem&ssl_keyfile=/k")
    assert url.options["password"] == PASSWORD
    assert url.redacted == "rediss://:***@h:1?ssl_ca_certs=/etc/ca.pem&ssl_keyfile=/k&ssl_password=***"
    assert "hush" not in repr(url)


def test_a_unix_url_names_a_socket() -> None:
    url = parse_upstream(f"unix://:{QUOTED}@/run/redis.sock?db=2")
    assert (url.kind, url.path, url.db, url.options["password"]) == ("redis", "/run/redis.sock", 2, PASSWORD)
    assert url.redacted == "unix://:***@/run/redis.sock"


def test_options_of_a_client_are_dropped_and_those_of_tls_kept() -> None:
    url = parse_upstream("rediss://h?ssl_cert_reqs=none&socket_timeout=3&decode_responses=true&protocol=3")
    assert url.options == {"ssl_cert_reqs": "none"}


@pytest.mark.parametrize(
    "url",
    [
        "", "host:1", "http://h:1", "kevy://", "kevy://h", "kevy://:1", "kevy://h:0", "kevy://h:99999", "kevy://h:x",
        "kevy://user:s3cret@h:1", "kevy://h:1/2", "kevy://h:1?password=s3cret", "redis://h:99999", "unix://",
        "redis://:s3cret/x@h", "redis://:s3cret#x@h", "redis://:1s3cret?x@h", "redis://:12?s3cret@h",
        "redis://h?no_such_option=s3cret", "rediss://h?ssl_cert_reqs=x&ssl_password=s3cret", "redis://h?db=s3cret", "redis://h?s3cret",
    ],
)  # fmt: skip
def test_what_is_no_upstream_url_is_refused_without_quoting_it(url: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        parse_upstream(url)
    assert "s3cret" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_the_words_of_a_server_are_scrubbed() -> None:
    url = parse_upstream(f"redis://:{QUOTED}@h")
    assert url.scrub(f"bad {PASSWORD} and {QUOTED}") == "bad *** and ***"
    assert parse_upstream("redis://h").scrub("as it was") == "as it was"


def test_a_url_pickles_whole() -> None:
    url = parse_upstream(f"rediss://u:{QUOTED}@h:1?ssl_ca_certs=/ca")
    again: UpstreamUrl = pickle.loads(pickle.dumps(url))
    assert again == url
    assert again.options == url.options


def test_a_parsed_url_is_taken_as_it_is() -> None:
    url = parse_upstream("redis://h")
    assert parse_upstream(url) is url
