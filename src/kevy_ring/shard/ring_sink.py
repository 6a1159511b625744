"""Whether a resumable sink is the one that a ring was for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kevy_ring.errors import SinkError

if TYPE_CHECKING:
    from kevy_ring.inbox import ReplicaInboxReceiver
    from kevy_ring.shard.sinks.sink import ResumableSink


def check_sink_of_ring(sink: ResumableSink, receiver: ReplicaInboxReceiver) -> None:
    """Refuse a sink that lacks what earlier shards of this ring marked as applied, or has more than the ring ever had.

    The frames between the sink's offset and a later mark are lost: the ring has given them back. A sink beyond the
    last published event would skip frames that it never had. Raises SinkError (``"refused"``).
    """
    stats = receiver.stats()
    marked = stats.applied_offset
    if marked is None:
        return
    stored = sink.stored_offset
    published = receiver.published
    # A snapshot that waits may set the offset back, so that nothing can be said of a sink beyond it.
    end = None if published.has_unapplied_snapshot(stats) else published.offset
    if stored is None or stored < marked or (end is not None and stored > max(end, marked)):
        stands = "is empty" if stored is None else f"stands at offset {stored}"
        was = f"was applied up to {marked}" + ("" if end is None else f" of {end}")
        detail = f"it {stands}, but ring {receiver.name} {was}, to another sink"
        raise SinkError(type(sink).__name__, reason="refused", detail=detail)
