"""Texts without secrets."""

from __future__ import annotations

import pytest

from kevy_ring.cli.secrets import shown_url, without_secrets, without_typed_secrets


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("at redis://u:p@h:1, then rediss://:p@h", "at redis://***@h:1, then rediss://***@h"),
        ("redis://u:p@ss/w@h:1", "redis://***@h:1"),
        ("redis://u:***@h:1 is shown already", "redis://u:***@h:1 is shown already"),
        ("redis://h?password=p&db=1", "redis://h?password=***&db=1"),
        ("rediss://h?ssl_password=p", "rediss://h?ssl_password=***"),
        ("mail a@b.c", "mail a@b.c"),
    ],
)
def test_logins_and_password_options_are_taken_out(text: str, expected: str) -> None:
    assert without_secrets(text) == expected


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://u:p@h", "redis://u:***@h:6379"),
        ("redis://u:p w@h:x", "redis://***@h:x"),
        ("redis://u:p@h/{shard}", "redis://***@h/{shard}"),
        ("jsonl:some/where", "jsonl:some/where"),
        ("memory", "memory"),
    ],
)
def test_urls_are_shown_without_their_secrets(url: str, expected: str) -> None:
    assert shown_url(url) == expected


def test_what_was_typed_is_not_repeated_with_a_blank_in_the_password() -> None:
    assert without_typed_secrets("bad: 'redis://u:p q@h'", ["ls", "redis://u:p q@h"]) == "bad: 'redis://***@h'"
