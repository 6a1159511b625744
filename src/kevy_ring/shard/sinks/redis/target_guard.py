"""Checks a Redis target before the sink writes: it must not be the upstream, nor hold keys of other programs."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from kevy_ring.errors import SinkError, TargetRefused
from kevy_ring.shard.sinks.options import SinkOptions
from kevy_ring.shard.sinks.redis.server_identity import InfoRefused, ServerIdentity, identity_of, identity_of_upstream
from kevy_ring.shard.sinks.redis.spare_databases import MARK as SPARE
from kevy_ring.shard.sinks.redis.spare_databases import keys_by_database, parse_keyspace
from kevy_ring.shard.sinks.redis.target_mark import MARK, Mark, parse_mark

if TYPE_CHECKING:
    from kevy_ring.replica.upstream_url import UpstreamUrl
    from kevy_ring.shard.sinks.redis.target import Target

#: A mark allows for at least this many new keys, so that a slow stream need not write it before every command.
_ALLOWANCE_MIN = 64
_log = logging.getLogger(__name__)


class TargetGuard:
    """Checks a target, and counts the keys that the sink puts there.

    ``mark``: the mark in the target, or the one to be written; None before the first check of the keys. Every check
    raises :class:`TargetRefused`.
    """

    def __init__(
        self, url: UpstreamUrl, upstream: UpstreamUrl | str, *, only_db: int | None, options: SinkOptions
    ) -> None:
        self._name = url.redacted
        self._upstream = upstream
        self._only_db = only_db
        self._options = options
        self._upstream_identity: ServerIdentity | None = None
        self._history = ""
        self._warned: set[str] = set()
        self._used = 0
        self._can_ask = True
        self._former: bytes | None = None
        #: Whether the target has the mark.
        self.is_written = False
        self.mark: Mark | None = None
        self.identity = ServerIdentity()

    @property
    def home(self) -> int:
        """The database of the mark."""
        return self._only_db or 0

    @property
    def upstream_name(self) -> str:
        """The upstream as the mark names it: without user, password and options."""
        if isinstance(self._upstream, str):
            return self._upstream or "an upstream without a name"
        return replace(self._upstream, db=0, shown_options="", options={}).redacted

    # Who the target is

    def ask_upstream(self) -> None:
        """Ask the upstream for its identity. If it cannot be reached now, it is asked again at its next connection."""
        if isinstance(self._upstream, str) or self._upstream.kind != "redis":
            return
        try:
            self._upstream_identity = identity_of_upstream(self._upstream) or self._upstream_identity
        except InfoRefused as refusal:
            self._unchecked(f"the upstream {self._upstream.redacted}", refusal.text)

    def follows(self, history: str) -> bool:
        """Note the history of the stream; True if it is another one than before."""
        changed, self._history = history != self._history, history
        return changed

    def check_identity(self, target: Target, section: bytes | None = None) -> None:
        """Refuse a target that is the upstream, shares its history, or is a replica."""
        try:
            found = identity_of(target, section)
        except InfoRefused as refusal:
            self._can_ask = False
            self._unchecked("the target", refusal.text)
            return
        if section is None:
            self.identity = found
        known = [self._upstream_identity] if self._upstream_identity else []
        known.append(ServerIdentity(history=self._history))
        if any(found.is_same(other) for other in known):
            detail = (
                f"it is the followed server ({self.upstream_name}), or shares its history as a replica. Writing there "
                "would destroy the data that is read. Name another server as the sink"
            )
            raise TargetRefused(self._name, cause="same-server", detail=detail)
        if found.role == "slave":
            detail = (
                f"it is a replica of {found.primary}, and only its primary may write to it. Name a server that is a "
                "primary, or make it one with REPLICAOF NO ONE"
            )
            raise TargetRefused(self._name, cause="replica", detail=detail)

    def check_copy(self, parts: Sequence[bytes]) -> None:
        """Refuse a command, or a key and its value, from the upstream that has the id of the target's own mark."""
        if self.mark is not None and any(self.mark.id.encode() in part for part in parts):
            detail = (
                f"the sink's own writes come back in the stream of {self.upstream_name}: the target is the followed "
                "server under another name, or is copied back to it. Name another server as the sink, or end the loop"
            )
            raise TargetRefused(self._name, cause="loop", detail=detail)

    # Whose keys the target holds

    def check_keys(self, target: Target) -> None:
        """Refuse a target with keys that are not from this upstream, unless --replace-target allows it."""
        target.ask(b"SELECT", b"%d" % self.home)
        mark = parse_mark(_string(target, MARK))
        found = self._count(target, mark)
        ours = (self.upstream_name, self._only_db, str(self._options.filter))
        is_ours = mark is not None and (mark.upstream, mark.database, mark.filter) == ours
        added = mark.added(found) if mark is not None and is_ours else 0
        if mark is not None and is_ours and not added:
            # The count is exact again from here, so the allowance of a killed run ends.
            self.mark = replace(mark, keys=found, more=0)
            self._used = max(self._used, min(mark.more, 1))
            self.is_written = True
            return
        if found and not self._options.replace_target:
            detail = _foreign_words(found, self.upstream_name, mark, added, str(self._options.filter))
            raise TargetRefused(self._name, cause="foreign-keys", detail=detail, keys=found)
        self._former = mark.id_key if mark is not None else None
        self.mark = Mark(self.upstream_name, self._only_db, keys=found, filter=str(self._options.filter))
        self.is_written = False

    def update_command(self) -> list[bytes]:
        """The command that updates the mark's count. Like the next ones, it needs database :attr:`home` selected."""
        assert self.mark is not None
        return self.mark.update_command()

    def write_command(self) -> list[bytes]:
        """The command that writes the whole mark."""
        assert self.mark is not None
        return self.mark.write_command()

    def delete_command(self) -> list[bytes]:
        """The command that removes the mark from a database to which it was moved."""
        assert self.mark is not None
        return [b"DEL", MARK, self.mark.id_key]

    def claim_commands(self, *, renew: bool) -> list[list[bytes]]:
        """The commands that claim the target, after :meth:`check_keys`.

        ``renew``: with a new id, so that copies of the old one have no meaning.
        """
        assert self.mark is not None
        if renew and self.is_written:
            self._former = self.mark.id_key
            self.mark = replace(self.mark, id=Mark("", None).id)
        commands = [[b"DEL", self._former]] if self._former is not None else []
        self._former = None
        self.is_written = True
        return [*commands, self.mark.write_command()]

    def _count(self, target: Target, mark: Mark | None) -> dict[int, int]:
        """How many keys each database of the replica holds, without marks and the rest of a load that died."""
        marks = [[b"SELECT", b"%d" % self.home], [b"EXISTS", MARK, mark.id_key if mark is not None else MARK]]
        if self._only_db is not None:
            *_, ours, size = target.ask_all(*marks, [b"DBSIZE"])
            found = {self._only_db: size}
        elif self._can_ask:
            *_, ours, keyspace = target.ask_all(*marks, [b"INFO", b"keyspace"])
            found = parse_keyspace(keyspace)
        else:
            _, ours = target.ask_all(*marks)
            found = keys_by_database(target)
        if mark is not None:
            found[self.home] = found.get(self.home, 0) - ours
        counted = mark.keys if mark is not None else {}
        if self._only_db is None:
            for db in [db for db, count in found.items() if count > counted.get(db, 0)]:
                if target.ask_all([b"SELECT", b"%d" % db], [b"EXISTS", SPARE])[1]:
                    del found[db]
                elif db != self.home and (other := parse_mark(_string(target, MARK))) is not None:
                    found[db] -= target.ask(b"EXISTS", MARK, other.id_key)
        return {db: count for db, count in found.items() if count > 0}

    # What the sink adds

    def ahead(self, added: int) -> bool:
        """Count the keys that a pipeline may add. True: the mark must be written before it."""
        self._used += added
        mark = self.mark
        if mark is None or self._used <= mark.more:
            return False
        self.mark = replace(mark, more=max(_ALLOWANCE_MIN, 1 << self._used.bit_length()))
        return True

    @property
    def is_open(self) -> bool:
        """Whether anything was sent since the keys were counted."""
        return self._used > 0

    def recount(self, target: Target) -> None:
        """Correct the mark's count, after all replies have come. This may select another database.

        If there are more keys than the sink can have added, the rest belong to other programs. They stay out of the
        mark, and the next snapshot and the next start refuse to replace them.
        """
        mark = self.mark
        if mark is None:
            return
        found = self._count(target, mark)
        others = replace(mark, more=self._used).added(found)
        if others and "others" not in self._warned:
            self._warned.add("others")
            _log.warning("%s: other programs added at least %d keys; no snapshot will replace them", self._name, others)
        for db in sorted(found, key=lambda db: mark.keys.get(db, 0) - found[db]):
            kept = min(others, max(0, found[db] - mark.keys.get(db, 0)))
            found[db] -= kept
            others -= kept
        self.mark = replace(mark, keys=found, more=0)
        self._used = 0

    def flushed(self, db: int | None) -> None:
        """Note that the stream has emptied a database (None: all of them)."""
        if self.mark is not None:
            keys = {} if db is None else {other: count for other, count in self.mark.keys.items() if other != db}
            self.mark = replace(self.mark, keys=keys)

    def swapped(self, one: int, other: int) -> None:
        """Note that the stream has swapped two databases."""
        if self.mark is not None:
            names = {one: other, other: one}
            keys = {names.get(db, db): count for db, count in self.mark.keys.items()}
            self.mark = replace(self.mark, keys=keys)

    def loaded(self, keys: Mapping[int, int]) -> None:
        """Note that a snapshot with these numbers of keys by database replaces everything."""
        if self.mark is not None:
            self.mark = replace(self.mark, keys=dict(keys), more=0)
        self._used = 0

    def _unchecked(self, who: str, text: str) -> None:
        if not self._options.allow_unchecked_target:
            detail = (
                f"{who} refuses INFO to this user ({text}), so the sink cannot check whether the target is the "
                "followed server. Allow it with ACL SETUSER <user> +info, or give --allow-unchecked-target if they are "
                "two servers"
            )
            raise TargetRefused(self._name, cause="unchecked", detail=detail)
        if who not in self._warned:
            self._warned.add(who)
            _log.warning("%s: the identity of %s is not checked, because INFO was refused: %s", self._name, who, text)


def _string(target: Target, key: bytes) -> bytes | None:
    try:
        value: bytes | None = target.ask(b"GET", key)
    except SinkError as error:
        if error.reason != "refused":
            raise
        return None  # another type, so it is not our key
    return value


def _foreign_words(found: Mapping[int, int], upstream: str, mark: Mark | None, added: int, chosen: str) -> str:
    places = ", ".join(f"{count} in database {db}" for db, count in sorted(found.items()))
    total = sum(found.values())
    keys = f"it holds {total} key{'' if total == 1 else 's'} ({places})"
    if added:
        why = f"at least {added} of them added since the last run with {upstream}"
    elif mark is not None:
        scope = "" if mark.database is None else f", of its database {mark.database} only,"
        why = f"and its mark says that it is a replica of {mark.upstream}{scope} and not of {upstream}"
        if mark.filter != chosen:
            was, now = (f"the filter {each}" if each else "no filter" for each in (mark.filter, chosen))
            why = f"and its mark says that it was filled with {was}, and this run has {now}"
        elif mark.upstream == upstream:
            why = f"and its mark says that it is a replica of {upstream} in other databases than those named now"
    else:
        why = f"none of them from {upstream}"
    return (
        f"{keys}, {why}. A snapshot would replace them all. Name an empty server or database, or give "
        "--replace-target if these keys may be lost"
    )
