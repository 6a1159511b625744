"""Removes the secrets of URLs from text that comes from a library or repeats what the user typed."""

from __future__ import annotations

import re
from collections.abc import Iterable

from kevy_ring.replica.upstream_url import REDACTED, parse_upstream

# Everything between the scheme and the LAST @ before a blank or a quote. A password that was not percent-encoded may
# contain an @ or a slash.
_LOGIN = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*://)[^\s'\"]*@", re.IGNORECASE)
_OPTION = re.compile(r"(?P<name>[?&](?:\w*password\w*|\w*secret\w*)=)[^&\s'\"]*", re.IGNORECASE)


def without_secrets(text: str) -> str:
    """``text`` with every login of a URL in it, and every password option, replaced by ``***``."""
    text = _LOGIN.sub(_without, text)
    return _OPTION.sub(rf"\g<name>{REDACTED}", text)


def _without(found: re.Match[str]) -> str:
    is_done = re.fullmatch(rf"[^@]*://[^@/:]*:{re.escape(REDACTED)}@", found[0])
    return found[0] if is_done else f"{found['scheme']}{REDACTED}@"


def shown_url(url: str) -> str:
    """An upstream's or a sink's URL for display."""
    try:
        # parse_upstream() would drop the placeholder for the shard's number.
        return _without_login(url) if "{shard}" in url else parse_upstream(url).redacted
    except (ValueError, ModuleNotFoundError):
        return _without_login(url)


def without_typed_secrets(text: str, arguments: Iterable[str]) -> str:
    """``text`` without the secrets of ``arguments``, even if an argument is a broken URL."""
    for argument in arguments:
        text = text.replace(argument, _without_login(argument))
    return without_secrets(text)


def _without_login(url: str) -> str:
    scheme, separator, rest = url.partition("://")
    if separator and "@" in rest:
        url = f"{scheme}://{REDACTED}@{rest.rpartition('@')[2]}"
    return without_secrets(url)


def with_hidden_password(text: str) -> str:
    """A URL with ``***`` for its password and for secret options, otherwise unchanged. Other text stays as it is."""
    scheme, separator, rest = text.partition("://")
    if separator and "@" in rest:
        login, _, place = rest.rpartition("@")
        user, has_password, _ = login.partition(":")
        text = f"{scheme}://{user}{f':{REDACTED}' if has_password else ''}@{place}"
    return _OPTION.sub(rf"\g<name>{REDACTED}", text)
