"""The value of a stream key: as an entry has it, and as fakeredis has it."""

from __future__ import annotations

from itertools import chain

from fakeredis.model import StreamEntryKey, StreamGroup, XStream
from fakeredis.model._stream import PelEntry, StreamConsumerInfo

from kevy_ring.replica.snapshots import entry


def to_fake(stream: entry.Stream) -> XStream:
    """fakeredis's value of a stream, consumer groups included."""
    fake = XStream()
    for ms, seq, fields in stream.entries:
        fake.add(list(chain.from_iterable(fields)), StreamEntryKey(ms, seq))
    # What the entries alone do not tell: those that were deleted since.
    fake._last_id = StreamEntryKey(*stream.last_id)
    fake._max_deleted_id = StreamEntryKey(*stream.max_deleted_id)
    fake._entries_added = stream.entries_added
    for group in stream.groups:
        last_id = StreamEntryKey(*group.last_id)
        fake_group = StreamGroup(fake, group.name, last_id, fake.estimate_entries_read(last_id))
        _fill(fake_group, group)
        fake._groups[group.name] = fake_group
    return fake


def _fill(fake: StreamGroup, group: entry.StreamGroup) -> None:
    for name, seen_ms in group.consumers:
        consumer = StreamConsumerInfo(name)
        consumer.last_attempt = consumer.last_success = seen_ms
        fake.consumers[name] = consumer
    for ms, seq, name, delivered_ms, deliveries in group.pending:
        fake.pel[StreamEntryKey(ms, seq)] = PelEntry(name, delivered_ms, deliveries)
        if name in fake.consumers:
            fake.consumers[name].pending += 1


def from_fake(fake: XStream) -> entry.Stream:
    """The plain value of fakeredis's stream."""
    stream = entry.Stream(_id(fake.last_id), _id(fake.max_deleted_id), fake.entries_added)
    for key in fake._ids:
        flat = iter(fake._values_dict[key])
        stream.entries.append((key.ts, key.seq, list(zip(flat, flat, strict=True))))
    stream.groups.extend(map(_group, fake._groups.values()))
    return stream


def _id(key: StreamEntryKey) -> tuple[int, int]:
    return key.ts, key.seq


def _group(fake: StreamGroup) -> entry.StreamGroup:
    return entry.StreamGroup(
        fake.name,
        _id(fake.last_delivered_key),
        [(name, consumer.last_attempt) for name, consumer in fake.consumers.items()],
        [(key.ts, key.seq, pel.consumer_name, pel.time_read, pel.times_delivered) for key, pel in fake.pel.items()],
    )
