"""The loop of the embedded upstream: listeners, links, and timed live frames. It never blocks on a replica."""

from __future__ import annotations

import selectors
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

from kevy_ring.testing.downlink import Downlink, DownlinkState
from kevy_ring.testing.options import PrimaryOptions
from kevy_ring.testing.upstream_shard import PUBLISH_STEP, UpstreamShard

LOOPBACK = "127.0.0.1"
#: Links of one shard at a time: replicas are few, and each link costs a descriptor and a batch.
MAX_LINKS = 64
#: A peer without a handshake within this time is no replica.
HANDSHAKE_TIMEOUT_S = 10.0
#: The most that one link may send in one turn, so that a fast replica does not starve the others.
TURN_BYTES = 1 << 20
#: Acknowledged positions that are kept after their links are gone.
MAX_ACKED = 64
#: Idle wake-ups: often enough for pings every second, and for frames at an even rate.
IDLE_S = 0.1
RATE_TICK_S = 0.01
_PORT_ATTEMPTS = 100


class HasFileno(Protocol):
    """An object that the loop can watch in addition to its sockets."""

    def fileno(self) -> int: ...


@dataclass(eq=False)
class _Link:
    """A connected replica: its socket, its protocol, and the bytes that the socket has not taken yet."""

    connection: socket.socket
    downlink: Downlink
    shard: int
    since_s: float
    unsent: memoryview = field(default_factory=lambda: memoryview(b""))
    is_blocked: bool = False


def listen(shards: int, port: int = 0) -> list[socket.socket]:
    """One loopback listener per shard at consecutive ports, from ``port`` or from any free one (0).

    Raises ``OSError`` if the requested ports are taken or no free range is found.
    """
    for attempt in range(_PORT_ATTEMPTS):
        listeners: list[socket.socket] = []
        try:
            for shard in range(shards):
                base = port or (listeners[0].getsockname()[1] if listeners else 0)
                listeners.append(_listener(base + shard if base else 0))
        except (OSError, OverflowError) as error:
            for listener in listeners:
                listener.close()
            if port or attempt == _PORT_ATTEMPTS - 1:
                raise OSError(f"no {shards} free ports in a row" + (f" from {port}" if port else "")) from error
        else:
            return listeners
    raise AssertionError("unreachable")


def _listener(port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((LOOPBACK, port))
        listener.listen(MAX_LINKS)
        listener.setblocking(False)
    except BaseException:
        listener.close()
        raise
    return listener


class PrimaryLoop:
    """Serves shards on listeners until :meth:`stop`.

    Without a rate in the options, a shard publishes only while its backlog reaches back to the position of its
    *fastest* replica. So a single replica never loses its place, and a slow one does not slow a fast one down. With a
    rate, a slow replica may lose its place in the backlog.
    """

    def __init__(self, shards: list[UpstreamShard], listeners: list[socket.socket], options: PrimaryOptions) -> None:
        self.shards = shards
        self.is_live = False
        self._listeners = listeners
        self._protocols = options.protocols
        self._rate = options.rate
        self._auto_live = options.auto_live
        self._live_since_s = 0.0
        self._links: list[_Link] = []
        self._acked: list[dict[bytes, int]] = [{} for _ in shards]
        self._selector = selectors.DefaultSelector()
        self._stopping = False
        for shard, listener in enumerate(listeners):
            self._selector.register(listener, selectors.EVENT_READ, lambda _, shard=shard: self._accept(shard))

    def watch(self, source: HasFileno, callback: Callable[[], None]) -> None:
        """Call ``callback`` in the loop when ``source`` is readable."""
        self._selector.register(source, selectors.EVENT_READ, lambda _: callback())

    def stop(self) -> None:
        """Leave :meth:`run` after the present turn."""
        self._stopping = True

    def run(self, on_turn: Callable[[], None] | None = None) -> None:
        """Serve until :meth:`stop`; close everything on the way out. ``on_turn`` is called at least every 0.1 s."""
        try:
            busy = True
            while not self._stopping:
                for key, mask in self._selector.select(0 if busy else self._patience_s()):
                    key.data(mask)
                busy = self._turn(time.monotonic())
                if on_turn is not None:
                    on_turn()
        finally:
            self.drop_links()
            self._selector.close()
            for listener in self._listeners:
                listener.close()

    def start_live(self) -> None:
        """Start the live frames now. No effect if they run already."""
        if not self.is_live:
            self.is_live = True
            self._live_since_s = time.monotonic()

    def drop_links(self, shard: int | None = None) -> int:
        """Cut all links (of one shard), at any place in their streams. Returns how many."""
        links = [link for link in self._links if shard is None or link.shard == shard]
        for link in links:
            self._cut(link)
        return len(links)

    def acked(self, shard: int) -> dict[bytes, int]:
        """The last position that each replica id has acknowledged. It is kept for a while after the link is gone."""
        return dict(self._acked[shard])

    def link_count(self, shard: int) -> int:
        """The number of connected replicas of a shard."""
        return sum(link.shard == shard for link in self._links)

    def _patience_s(self) -> float:
        is_timed = self.is_live and self._rate is not None and not all(shard.done for shard in self.shards)
        return RATE_TICK_S if is_timed else IDLE_S

    def _turn(self, now_s: float) -> bool:
        """Do a bounded share of work for each shard and each link. True when there is more to do at once."""
        if self._auto_live and not self.is_live and self._every_shard_has_a_synced_replica():
            self.start_live()
        busy = False
        for index, shard in enumerate(self.shards):
            busy |= shard.advance_snapshot()
            if self.is_live:
                busy |= self._publish(index, now_s)
            busy |= shard.prepare()
        for link in list(self._links):
            if link.downlink.state is DownlinkState.HANDSHAKE and now_s - link.since_s > HANDSHAKE_TIMEOUT_S:
                self._cut(link)
            elif not link.is_blocked:
                busy |= self._send(link, now_s)
        return busy

    def _every_shard_has_a_synced_replica(self) -> bool:
        synced = {link.shard for link in self._links if link.downlink.is_synced}
        return len(synced) == len(self.shards)

    def _publish(self, index: int, now_s: float) -> bool:
        shard = self.shards[index]
        if self._rate is None:
            positions = [link.downlink.next_offset for link in self._links if link.shard == index]
            fastest = max((position for position in positions if position is not None), default=None)
            return shard.publish(PUBLISH_STEP, keep_from=fastest) > 0
        due = int((now_s - self._live_since_s) * self._rate / len(self.shards)) - shard.published
        return due > 0 and 0 < shard.publish(due) < due

    def _accept(self, shard: int) -> None:
        with suppress(OSError):
            connection, _ = self._listeners[shard].accept()
            if self.link_count(shard) >= MAX_LINKS:
                connection.close()
                return
            connection.setblocking(False)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            link = _Link(connection, Downlink(self.shards[shard], self._protocols), shard, time.monotonic())
            self._links.append(link)
            self._selector.register(connection, selectors.EVENT_READ, lambda mask: self._serve(link, mask))

    def _serve(self, link: _Link, mask: int) -> None:
        if link not in self._links:
            return  # another event of the same round has cut it
        if mask & selectors.EVENT_WRITE:
            self._set_blocked(link, False)
        if mask & selectors.EVENT_READ:
            self._receive(link)

    def _receive(self, link: _Link) -> None:
        try:
            data = link.connection.recv(4096)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        if not data:
            self._cut(link)
            return
        link.downlink.receive(data)
        if link.downlink.acked is not None:
            acked = self._acked[link.shard]
            acked.pop(link.downlink.replica_id, None)
            acked[link.downlink.replica_id] = link.downlink.acked
            if len(acked) > MAX_ACKED:
                del acked[next(iter(acked))]

    def _send(self, link: _Link, now_s: float) -> bool:
        """Write until the socket is full, the link has no bytes, or its share is used up (then True)."""
        share = TURN_BYTES
        while share > 0:
            if not link.unsent:
                link.unsent = memoryview(link.downlink.next_bytes(now_s))
                if not link.unsent:
                    if link.downlink.is_closing:
                        self._cut(link)
                    return False
            try:
                sent = link.connection.send(link.unsent)
            except (BlockingIOError, InterruptedError):
                self._set_blocked(link, True)
                return False
            except OSError:
                self._cut(link)
                return False
            link.unsent = link.unsent[sent:]
            share -= sent
        return True

    def _set_blocked(self, link: _Link, is_blocked: bool) -> None:
        if link.is_blocked != is_blocked:
            link.is_blocked = is_blocked
            wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if is_blocked else 0)
            self._selector.modify(link.connection, wanted, self._selector.get_key(link.connection).data)

    def _cut(self, link: _Link) -> None:
        if link in self._links:
            self._links.remove(link)
            self._selector.unregister(link.connection)
            link.connection.close()
