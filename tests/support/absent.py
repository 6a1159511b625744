"""What a test does where something that it wants is not there."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest


def absent(what: str) -> NoReturn:
    """Skip, with the reason: a user's machine may lack it. Fail in CI: the one that checks every change may not."""
    if os.environ.get("CI"):
        pytest.fail(what)
    pytest.skip(what)
