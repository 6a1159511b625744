"""Replication links between a real Redis server, as replica or as primary, and a test.

``ScriptedPrimary`` sends a test's commands to a real replica, whose result is the right one. ``recorded_stream`` asks a
real primary for its stream, as a replica does.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import BinaryIO

from kevy_ring.replica.protocols.resp import encode_command
from redis_server import DEADLINE_S, RedisServer

_EMPTY_RDB = b"REDIS0009\xff" + bytes(8)


class ScriptedPrimary:
    """Makes ``replica`` follow this object until the end of the ``with`` block."""

    def __init__(self, replica: RedisServer) -> None:
        self._replica = replica.client()
        self._sent_bytes = 0
        with socket.create_server(("127.0.0.1", 0)) as listener:
            listener.settimeout(DEADLINE_S)
            self._replica.replicaof("127.0.0.1", listener.getsockname()[1])
            self._link, _ = listener.accept()
        self._link.settimeout(DEADLINE_S)
        self._file = self._link.makefile("rb")
        while (argv := read_command(self._file))[0].upper() != b"PSYNC":
            self._link.sendall(b"+PONG\r\n" if argv[0].upper() == b"PING" else b"+OK\r\n")
        self._link.sendall(b"+FULLRESYNC " + b"a" * 40 + b" 0\r\n$%d\r\n" % len(_EMPTY_RDB) + _EMPTY_RDB)

    def replicate(self, commands: Sequence[Sequence[bytes]]) -> None:
        """Send commands, and wait until the replica has applied them."""
        wire = b"".join(encode_command(*command) for command in commands)
        self._link.sendall(wire)
        self._sent_bytes += len(wire)
        deadline = time.monotonic() + DEADLINE_S
        while int(self._replica.info("replication").get("slave_repl_offset", -1)) < self._sent_bytes:
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def __enter__(self) -> ScriptedPrimary:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._replica.replicaof("NO", "ONE")
        self._file.close()
        self._link.close()


def recorded_stream(primary: RedisServer, write: Callable[[], None]) -> list[list[bytes]]:
    """The commands that ``primary`` replicates during ``write``, without PING and REPLCONF."""
    with socket.create_connection(("127.0.0.1", primary.port), DEADLINE_S) as link, link.makefile("rb") as file:
        link.sendall(encode_command(b"PSYNC", b"?", b"-1"))
        while not file.readline().startswith(b"+FULLRESYNC"):
            pass
        while not (line := file.readline()).startswith(b"$"):
            pass
        file.read(int(line[1:]))
        write()
        primary.client().set("the end of the stream", "")
        commands: list[list[bytes]] = []
        while not commands or commands[-1][:2] != [b"SET", b"the end of the stream"]:
            argv = read_command(file)
            if argv[0].upper() not in (b"PING", b"REPLCONF"):
                commands.append(argv)
        return commands


def read_command(file: BinaryIO) -> list[bytes]:
    """The next command on a link."""
    while (line := file.readline()) in (b"\n", b"\r\n"):
        pass
    assert line.startswith(b"*"), line
    argv = []
    for _ in range(int(line[1:])):
        argv.append(file.read(int(file.readline()[1:])))
        file.read(2)
    return argv
