"""Runs async tests in each kind of event loop."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from kevy_ring.ring import event_loop

anyio = pytest.importorskip("anyio") if os.environ.get("CI") != "true" else __import__("anyio")
DEADLINE_S = 120.0
#: Runs an async function to its end.
RunAsync = Callable[[Callable[[], Awaitable[Any]]], Any]


@pytest.fixture(params=["asyncio", "uvloop", "trio"])
def run_async(request: pytest.FixtureRequest) -> RunAsync:
    """Run an async function to its end in each kind of loop, with a deadline."""
    library: str = request.param
    if os.environ.get("CI") != "true":
        pytest.importorskip(library)
    backend = "trio" if library == "trio" else "asyncio"

    async def limited(main: Callable[[], Awaitable[Any]]) -> Any:
        with anyio.fail_after(DEADLINE_S):
            return await main()

    options = {} if library == "trio" else {"use_uvloop": library == "uvloop"}
    return lambda main: anyio.run(limited, main, backend=backend, backend_options=options)


@pytest.fixture
def no_second_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """A task that is not woken sleeps until the deadline."""
    monkeypatch.setattr(event_loop, "LOOK_S", 3600.0)
