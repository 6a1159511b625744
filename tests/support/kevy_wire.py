"""The bytes that a kevy primary and a replica send, for scripted peers."""

from __future__ import annotations

from scripted_peer import PeerConnection


def frame(offset: int, *argv: bytes) -> bytes:
    """A live frame."""
    head = b"*2\r\n:%d\r\n*%d\r\n" % (offset, len(argv))
    return head + b"".join(b"$%d\r\n%s\r\n" % (len(argument), argument) for argument in argv)


def frames(first: int, last: int) -> bytes:
    """SET frames with the offsets from ``first`` to ``last``, both included."""
    return b"".join(frame(offset, b"SET", b"k%d" % offset, b"v") for offset in range(first, last + 1))


def snapshot(ack_offset: int, *chunks: bytes) -> bytes:
    """A whole snapshot."""
    return snapshot_start(*chunks) + b"+SNAPSHOT_END %d\r\n" % ack_offset


def snapshot_start(*chunks: bytes) -> bytes:
    """A snapshot without its end."""
    return b"+SNAPSHOT\r\n" + b"".join(b"$%d\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)


def take_request(connection: PeerConnection) -> list[bytes]:
    """Read a handshake: the arguments of the multi-bulk that the replica sends first."""
    count = int(connection.take_until(b"\r\n")[1:])
    arguments = []
    for _ in range(count):
        connection.take_until(b"\r\n")
        arguments.append(connection.take_until(b"\r\n")[:-2])
    return arguments


def asked_from(request: list[bytes]) -> tuple[int, int]:
    """The protocol version and the offset of a handshake."""
    assert request[:2] == [b"REPLICATE", b"FROM"]
    assert request[-2] == b"ID"
    return (1, int(request[2])) if len(request) == 5 else (2, int(request[3]))
