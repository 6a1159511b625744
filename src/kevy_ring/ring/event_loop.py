"""The event loop that runs the calling task, asyncio (uvloop too) or trio, and the tasks that wait for a handle."""

from __future__ import annotations

import select
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

from kevy_ring.ring.deadline import deadline_after

#: A task that waits looks at its handle at least this often: the descriptor of a handle whose peer has not come yet
#: tells of its death only after another look.
LOOK_S = 1.0


class Sleep(Protocol):
    """One sleep of one task. ``wake`` may be called from any thread, also before the sleep begins."""

    async def until_readable(self, fd: int, timeout: float) -> None:
        """Return when ``fd`` is readable, after ``wake``, or after ``timeout`` seconds. ``fd`` is watched only here."""

    def wake(self) -> None:
        """End the sleep."""


class EventLoop(Protocol):
    """What a wait needs of the library that runs it."""

    async def pause(self, seconds: float) -> None:
        """Let other tasks run, and be cancelled, for so long; 0: one turn."""

    def sleep(self) -> Sleep:
        """A sleep for the calling task."""


class _AsyncioSleep:
    def __init__(self, loop: Any) -> None:
        self._loop = loop
        self._woken = loop.create_future()

    async def until_readable(self, fd: int, timeout: float) -> None:
        timer = self._loop.call_later(timeout, self._end)
        self._loop.add_reader(fd, self._end)
        try:
            await self._woken
        finally:
            timer.cancel()
            with suppress(RuntimeError):  # a task that outlived its loop
                self._loop.remove_reader(fd)

    def wake(self) -> None:
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._end)

    def _end(self) -> None:
        if not self._woken.done():
            self._woken.set_result(None)


class _Asyncio:
    def __init__(self, asyncio: Any) -> None:
        self._asyncio = asyncio

    async def pause(self, seconds: float) -> None:
        await self._asyncio.sleep(seconds)

    def sleep(self) -> Sleep:
        return _AsyncioSleep(self._asyncio.get_running_loop())


class _TrioSleep:
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


class _Trio:
    def __init__(self, trio: Any) -> None:
        self._trio = trio

    async def pause(self, seconds: float) -> None:
        await self._trio.sleep(seconds)

    def sleep(self) -> Sleep:
        return _TrioSleep(self._trio)


def running_library() -> str:
    """``"asyncio"``, ``"trio"`` or another name: the library that runs the calling task. Imports none."""
    sniffio = sys.modules.get("sniffio")
    if sniffio is not None:
        with suppress(sniffio.AsyncLibraryNotFoundError):
            return str(sniffio.current_async_library())
    trio = sys.modules.get("trio")
    if trio is not None:
        with suppress(RuntimeError):  # no task of trio
            trio.lowlevel.current_task()
            return "trio"
    return "asyncio"


def running_loop() -> EventLoop:
    """The event loop of the calling task. RuntimeError where there is none, or one that cannot be waited in."""
    library = running_library()
    if library == "trio":
        return _Trio(sys.modules["trio"])
    if library != "asyncio":
        raise RuntimeError(f"rings can be awaited under asyncio and trio, not under {library}")
    import asyncio

    asyncio.get_running_loop()
    return _Asyncio(asyncio)


class WaitingTasks:
    """The tasks that wait for one handle. Any number may; a close of the handle, by whatever thread, wakes them all."""

    __slots__ = ("_sleeps",)

    def __init__(self) -> None:
        self._sleeps: set[Sleep] = set()

    def wake(self) -> None:
        """Let every task look again."""
        for sleep in list(self._sleeps):
            sleep.wake()

    async def until(self, look: Callable[[], bool], fileno: Callable[[], int], timeout: float | None) -> bool:
        """Wait until ``look()`` is true: True. False: ``timeout`` seconds passed. Other tasks run at least once.

        ``fileno()`` gives the descriptor that becomes readable when ``look`` may have turned true since. What either
        raises, for a handle that is closed for instance, comes out.
        """
        deadline = deadline_after(timeout)
        loop = running_loop()
        await loop.pause(0)
        while not look():
            left = LOOK_S if deadline is None else min(LOOK_S, deadline - time.monotonic())
            if left <= 0:
                return False
            await self._sleep(loop.sleep(), look, fileno, left)
        if self._sleeps:
            self.wake()  # this look may have emptied the doorbell that was rung for all
        return True

    async def _sleep(self, sleep: Sleep, look: Callable[[], bool], fileno: Callable[[], int], timeout: float) -> None:
        # A descriptor of this sleep's own: no other task, and no other thread that closes the handle and opens
        # something else under the same number, can come between; and when it is closed no loop keeps anything of it.
        with select.epoll(1) as own:
            self._sleeps.add(sleep)
            try:
                _watch(own, look, fileno)
                # After the descriptor was armed, and after a close would wake this task.
                if not look():
                    await sleep.until_readable(own.fileno(), timeout)
            finally:
                self._sleeps.discard(sleep)


def _watch(own: select.epoll, look: Callable[[], bool], fileno: Callable[[], int]) -> None:
    try:
        own.register(fileno(), select.EPOLLIN)
    except OSError:
        look()  # closed by another thread in between: that is what the caller has to hear of
        raise
