"""Chooses the protocol for an upstream, and learns from its refusals."""

from __future__ import annotations

from kevy_ring.replica.options import FollowOptions
from kevy_ring.replica.protocol import ReplicationProtocol, ResumePoint
from kevy_ring.replica.protocols.kevy import KevyProtocol
from kevy_ring.replica.protocols.redis import RedisProtocol
from kevy_ring.replica.refusal import checked_command
from kevy_ring.replica.upstream_url import UpstreamUrl

# A restarting primary also closes links without a byte. So a protocol that worked once is doubted only after this many
# closes in a row.
REFUSALS_TO_DOUBT = 3


class Dialect:
    """The protocol to speak next: the requested one, or with ``"auto"`` the one that the upstream accepts.

    kevy refuses an unknown version's handshake by closing the link without a byte. So protocols 2 and 1 are tried in
    turn, 2 first, until one is accepted; that one is kept. Raises ValueError if the URL and the protocol do not fit, or
    if the URL names a database.
    """

    def __init__(self, upstream: UpstreamUrl, options: FollowOptions) -> None:
        upstream.check_all_databases()
        checked_command(options.psync_command)
        protocol = options.protocol
        allowed = ("kevy2", "kevy1") if upstream.kind == "kevy" else ("redis",)
        if protocol != "auto" and protocol not in allowed:
            raise ValueError(f"{upstream.redacted} cannot speak {protocol!r}: use auto or {', '.join(allowed)}")
        self._user = upstream.options.get("username")
        self._options = options
        self._candidates = list(allowed) if protocol == "auto" else [protocol]
        self._refusals = 0
        self._accepted = False

    @property
    def tried(self) -> str:
        """The protocols that are tried in turn, for people."""
        return " and of ".join(sorted(self._candidates, reverse=True))

    @property
    def name(self) -> str:
        """The protocol to speak now."""
        return self._candidates[0]

    def accepted(self) -> None:
        """The upstream accepted the present protocol's handshake."""
        self._accepted = True
        self._refusals = 0

    def refused(self) -> bool:
        """The upstream closed the handshake without a byte. True: the other protocol is untried, try it at once."""
        self._refusals += 1
        if len(self._candidates) == 1 or (self._accepted and self._refusals < REFUSALS_TO_DOUBT):
            return False
        first_doubt = self._accepted or self._refusals == 1
        self._accepted = False
        self._candidates.reverse()
        return first_doubt

    def protocol(self, *, replica_id: str, resume: ResumePoint | None) -> ReplicationProtocol:
        """A new conversation. Raises ValueError if ``resume`` is not of this protocol family."""
        if self.name == "redis":
            return RedisProtocol(
                listening_port=self._options.listening_port,
                resume=resume,
                username=self._user,
                psync_command=self._options.psync_command,
            )
        return KevyProtocol(version=int(self.name[-1]), replica_id=replica_id, resume=resume)
