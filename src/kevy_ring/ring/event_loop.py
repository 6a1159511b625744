"""How tasks of asyncio (uvloop too) or trio wait for a handle."""

from __future__ import annotations

import select
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from kevy_ring.ring.deadline import deadline_after

#: A waiting task checks its handle at least this often. If the peer came after the descriptor was made, the descriptor
#: shows its death only after another check.
LOOK_S = 1.0


class _AsyncioSleep:
    """One sleep of one task. Any thread may call ``wake``, also before the sleep begins."""

    def __init__(self, loop: Any) -> None:
        self._loop = loop
        self._woken = loop.create_future()

    async def until_readable(self, fd: int, timeout: float) -> None:
        """Return when ``fd`` is readable, after ``wake``, or after ``timeout`` seconds. Nothing else watches ``fd``."""
        timer = self._loop.call_later(timeout, self._end)
        self._loop.add_reader(fd, self._end)
        try:
            await self._woken
        finally:
            timer.cancel()
            with suppress(RuntimeError):  # the loop was closed before its task ended
                self._loop.remove_reader(fd)

    def wake(self) -> None:
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._end)

    def _end(self) -> None:
        if not self._woken.done():
            self._woken.set_result(None)


class _TrioSleep:
    """As :class:`_AsyncioSleep`."""

    def __init__(self, trio: Any) -> None:
        self._trio = trio
        self._scope = trio.CancelScope()
        self._token = trio.lowlevel.current_trio_token()

    async def until_readable(self, fd: int, timeout: float) -> None:
        self._scope.deadline = self._trio.current_time() + timeout
        with self._scope:
            await self._trio.lowlevel.wait_readable(fd)

    def wake(self) -> None:
        with suppress(self._trio.RunFinishedError):
            self._token.run_sync_soon(self._scope.cancel)


_Sleep = _AsyncioSleep | _TrioSleep


def running_library() -> str:
    """The name of the library that runs the calling task: ``"asyncio"``, ``"trio"`` or another. Imports nothing."""
    sniffio = sys.modules.get("sniffio")
    if sniffio is not None:
        with suppress(sniffio.AsyncLibraryNotFoundError):
            return str(sniffio.current_async_library())
    trio = sys.modules.get("trio")
    if trio is not None:
        with suppress(RuntimeError):  # the caller is no task of trio
            trio.lowlevel.current_task()
            return "trio"
    return "asyncio"


def running_module() -> Any:
    """The module asyncio or trio, the one that runs this task. Both have ``sleep(seconds)``. Else RuntimeError."""
    library = running_library()
    if library == "trio":
        return sys.modules["trio"]
    if library != "asyncio":
        raise RuntimeError(f"a ring can be awaited under asyncio or trio, not under {library}")
    import asyncio

    asyncio.get_running_loop()
    return asyncio


class WaitingTasks:
    """The tasks that wait for one handle: any number. A close of the handle, in any thread, wakes them all."""

    __slots__ = ("_sleeps",)

    def __init__(self) -> None:
        self._sleeps: set[_Sleep] = set()

    def wake(self) -> None:
        """Let every waiting task check its handle."""
        for sleep in list(self._sleeps):
            sleep.wake()

    async def until(self, look: Callable[[], bool], fileno: Callable[[], int], timeout: float | None) -> bool:
        """Wait until ``look()`` is true: True. False: ``timeout`` seconds passed. Other tasks run at least once.

        ``fileno()`` returns a descriptor that becomes readable when ``look()`` may have become true. Raises what either
        of them raises, such as ClosedError.
        """
        deadline = deadline_after(timeout)
        module = running_module()
        await module.sleep(0)
        while not look():
            left = LOOK_S if deadline is None else min(LOOK_S, deadline - time.monotonic())
            if left <= 0:
                return False
            sleep = _TrioSleep(module) if module.__name__ == "trio" else _AsyncioSleep(module.get_running_loop())
            await self._sleep(sleep, look, fileno, left)
        if self._sleeps:
            self.wake()  # look() may have emptied the doorbell, and the other tasks would miss the ring
        return True

    async def _sleep(self, sleep: _Sleep, look: Callable[[], bool], fileno: Callable[[], int], timeout: float) -> None:
        # The loop watches an epoll descriptor that only this sleep has. If another thread closes the handle, its number
        # may be reused for another file, and the loop must not watch that. No loop keeps a closed descriptor.
        with select.epoll(1) as own:
            self._sleeps.add(sleep)
            try:
                _watch(own, look, fileno)
                # Check once more: the descriptor is armed, and from here on a close wakes this task.
                if not look():
                    await sleep.until_readable(own.fileno(), timeout)
            finally:
                self._sleeps.discard(sleep)


def _watch(own: select.epoll, look: Callable[[], bool], fileno: Callable[[], int]) -> None:
    try:
        own.register(fileno(), select.EPOLLIN)
    except OSError:
        look()  # raises ClosedError if another thread closed the handle, which is the better error
        raise
