"""The meaning of an upstream's error replies: whether waiting helps, and what to do if it does not."""

from __future__ import annotations

import re

from kevy_ring.errors import Refusal, RefusalKind

#: The permissions that a Redis user needs to replicate, see https://redis.io/docs/latest/operate/oss_and_stack/management/replication/
ACL_RULES = "+psync +replconf +ping"
#: The same reply, violation or broken snapshot this many times in a row counts as permanent.
SAME_MAX = 3

_COMMAND_NAME = re.compile(r"[!-~]{1,64}")
_NO_PERMISSION_USER = re.compile(r"NOPERM User (\S+) has no permissions", re.IGNORECASE)
_MASTER = re.compile(rb"^master\d+:name=([^,]*),status=[^,]*,address=([^,]*)", re.MULTILINE)

# The codes at the start of replies (lower case), by meaning. After a busy one the server may soon be ready.
_BUSY = ("loading", "masterdown", "nomasterlink", "busy", "tryagain", "clusterdown", "misconf", "oom", "noreplicas")
_BUSY_TEXTS = ("max number of clients", "failing over", "not connected with my master", "failover")
_LOGIN = ("wrongpass", "noauth")
_LOGIN_TEXTS = ("invalid username-password", "invalid password", "authentication required")
_NO_PASSWORD_TEXTS = ("without any password configured", "no password is set")

_CHECK_LOGIN = "check the user and the password (percent-encode reserved characters in a URL)"
_SNAPSHOT_REMEDY = {
    "redis": "the primary could not make a snapshot: look for BGSAVE in its log",
    "kevy": "the primary could not send a complete snapshot: check its log",
}
_OTHER_SCHEME = {"redis": "rediss://", "rediss": "redis://", "kevy": "redis:// or rediss://"}


def checked_command(name: str) -> bytes:
    """The name of a command for the wire. ValueError if no server can have a command of that name."""
    if not _COMMAND_NAME.fullmatch(name):
        raise ValueError(f"a command's name must be 1 to 64 visible ASCII characters, not {name!r}")
    return name.encode()


def refusal_of_reply(reply: str, *, family: str = "redis", user: str = "", command: str = "PSYNC") -> Refusal:
    """The meaning of an error reply (without its ``-``) to a handshake.

    ``family``: ``"redis"`` or ``"kevy"``. ``user``: the user in the URL, if any. ``command``: the command that was sent
    to start the replication.
    """
    text = reply.lower()
    code = text.partition(" ")[0]
    if code in _BUSY or any(each in text for each in _BUSY_TEXTS):
        return Refusal(RefusalKind.BUSY)
    if any(each in text for each in _NO_PASSWORD_TEXTS):
        return Refusal(RefusalKind.LOGIN, "the server has no password: give none", is_permanent=True)
    if code in _LOGIN or any(each in text for each in _LOGIN_TEXTS):
        return Refusal(RefusalKind.LOGIN, _CHECK_LOGIN, is_permanent=True)
    if code == "noperm":
        named = _NO_PERMISSION_USER.match(reply)
        who = named[1] if named else user or "default"
        return Refusal(RefusalKind.PERMISSION, f"run ACL SETUSER {who} {ACL_RULES} on the upstream", is_permanent=True)
    if code == "denied" and "protected mode" in text:
        remedy = "the server accepts only local connections: set a password on it, or set protected-mode to no"
        return Refusal(RefusalKind.PROTECTED, remedy, is_permanent=True)
    if "unknown command" in text:
        return Refusal(RefusalKind.COMMAND, _unknown_command(family, command), is_permanent=True)
    return refusal_of_snapshot(family) if "bgsave" in text else Refusal(RefusalKind.OTHER)


def _unknown_command(family: str, command: str) -> str:
    if family == "kevy":
        return "this is no replication port of a kevy primary: check the port, or use redis:// for Redis and Valkey"
    if command in ("PING", "AUTH"):
        return f"the server has no {command}, so it is no Redis or Valkey that can be followed: for kevy use kevy://"
    if command != "PSYNC":
        return f"the server has no command {command}: give the name of its PSYNC (--psync-command NAME)"
    return (
        "the server has renamed or forbidden PSYNC: if renamed, give its new name (--psync-command NAME); "
        "managed services that forbid PSYNC cannot be followed"
    )


def refusal_as_sync(command: str) -> Refusal:
    """The upstream answered the renamed PSYNC as SYNC, and its RDB lacks the history and the offset."""
    remedy = f"the server answers {command} as SYNC, with a snapshot that has no position: rename it back to PSYNC"
    return Refusal(RefusalKind.COMMAND, remedy, is_permanent=True)


def refusal_of_sentinel(info: bytes) -> Refusal | None:
    """The refusal if the reply to INFO sentinel is a Sentinel's, else None."""
    if b"sentinel_masters:" not in info:
        return None
    masters = [(name.decode(errors="replace"), where.decode(errors="replace")) for name, where in _MASTER.findall(info)]
    named = " or ".join(f"redis://{where} ({name})" for name, where in masters)
    remedy = f"this is a Sentinel: follow the primary that it names, {named}"
    if not masters:
        remedy = "this is a Sentinel that watches no primary: follow the primary itself"
    return Refusal(RefusalKind.SENTINEL, remedy, is_permanent=True)


def refusal_of_scheme(scheme: str) -> Refusal:
    """The port speaks TLS and the URL of this scheme does not, or the other way round."""
    speaks = "does not speak TLS" if scheme == "rediss" else "speaks TLS"
    remedy = f"the port {speaks}: use {_OTHER_SCHEME[scheme]}"
    if scheme == "kevy":
        remedy = "the port speaks TLS, but kevy's replication does not: use rediss:// for Redis and Valkey"
    return Refusal(RefusalKind.TLS, remedy, is_permanent=True)


def refusal_of_snapshot(family: str) -> Refusal:
    """The upstream promised a full sync, and the link ended before the snapshot was complete."""
    return Refusal(RefusalKind.SNAPSHOT, _SNAPSHOT_REMEDY[family])


VIOLATION = Refusal(RefusalKind.PROTOCOL)
SILENT = Refusal(
    RefusalKind.SILENT,
    "the port speaks no replication protocol of kevy: give the replication port of a kevy primary (base port + shard)",
)


def counted(refusal: Refusal, times: int) -> Refusal:
    """The refusal of the last of ``times`` attempts that ended in the same way."""
    repeats = refusal.kind is not RefusalKind.BUSY and times >= SAME_MAX
    return refusal._replace(times=times, is_permanent=refusal.is_permanent or repeats)
