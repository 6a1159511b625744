"""Skip or fail a test that needs something that this machine lacks."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest


def absent(what: str) -> NoReturn:
    """Skip with the reason, because a user's machine may lack it. Fail in CI, which must run every test."""
    if os.environ.get("CI"):
        pytest.fail(what)
    pytest.skip(what)
