"""One descriptor over the descriptors of many consumers: which of them have news, in one system call."""

from __future__ import annotations

import contextlib
import os
import select
from collections.abc import Iterable

from kevy_ring.errors import ClosedError
from kevy_ring.ring import Consumer


class ReadySet:
    """An epoll set over consumers. Any thread may use it.

    The consumers keep their descriptors true: each is readable exactly if there is news. So the set never needs to be
    armed, and a consumer that is drained is not ready again without news.
    """

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._consumers: dict[int, Consumer] = {}
        self._registered: set[int] = set()
        self._made_by = os.getpid()
        self._closing = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._epoll.register(self._closing, select.EPOLLIN)

    def fileno(self) -> int:
        """The descriptor that is readable if a consumer is ready. Raises :class:`ClosedError`."""
        try:
            return self._if_own().fileno()
        except ValueError:
            raise ClosedError("group") from None

    def keep(self, consumers: Iterable[Consumer]) -> None:
        """Make these the consumers of the set. Takes their roles on first use. Raises their errors."""
        wanted, epoll = set(consumers), self._if_own()
        for fd, consumer in list(self._consumers.items()):
            if consumer not in wanted:
                self._leave(fd)
        here = {consumer for fd, consumer in list(self._consumers.items()) if fd in self._registered}
        for consumer in wanted - here:
            fd = consumer.fileno()
            # Before the kernel has it: another thread takes a descriptor that it does not know out of the set.
            self._consumers[fd] = consumer
            with contextlib.suppress(FileExistsError):
                epoll.register(fd, select.EPOLLIN)
            # Last: if a signal's handler raises before this line, the next call registers it again.
            self._registered.add(fd)

    def __len__(self) -> int:
        return len(self._registered)

    def ready(self, timeout: float | None) -> list[Consumer]:
        """The consumers that may have news, after at most ``timeout`` seconds. Raises :class:`ClosedError`."""
        try:
            found = self._if_own().poll(timeout)
        except ValueError:  # closed meanwhile
            raise ClosedError("group") from None
        ready: list[Consumer] = []
        for fd, _ in found:
            consumer = self._consumers.get(fd)
            if consumer is not None:
                ready.append(consumer)
            elif fd == self._closing:
                raise ClosedError("group")
            else:
                self._leave(fd)
        return ready

    def close(self) -> None:
        """Wake all sleepers, which get :class:`ClosedError`. In a forked child this closes the child's copies only."""
        if self._made_by == os.getpid() and not self._epoll.closed:
            os.eventfd_write(self._closing, 1)  # it stays open: a sleeper may not have been woken yet
        self._consumers.clear()
        self._registered.clear()
        self._epoll.close()

    def __del__(self) -> None:
        if hasattr(self, "_closing"):
            os.close(self._closing)

    def _leave(self, fd: int) -> None:
        self._consumers.pop(fd, None)
        self._registered.discard(fd)
        # A closed descriptor leaves the set by itself, unless a forked child has a copy of it. Then only a new set
        # forgets it.
        try:
            self._epoll.unregister(fd)
        except (OSError, ValueError):
            self._renew()

    def _renew(self) -> None:
        """Make the kernel's set again, under the same number. A sleeper on the old one looks again within a second."""
        with contextlib.suppress(ValueError), select.epoll() as fresh:
            fresh.register(self._closing, select.EPOLLIN)
            for fd in self._consumers:
                with contextlib.suppress(OSError):
                    fresh.register(fd, select.EPOLLIN)
            os.dup2(fresh.fileno(), self._epoll.fileno(), inheritable=False)

    def _if_own(self) -> select.epoll:
        # A forked child shares the kernel's set: a change there would be a change of the parent's.
        if self._made_by != os.getpid():
            raise ClosedError("group", "forked")
        return self._epoll
