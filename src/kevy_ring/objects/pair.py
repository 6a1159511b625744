"""Makes both ends of a new ring of objects."""

from __future__ import annotations

from kevy_ring.objects.codec import Codec
from kevy_ring.objects.pickled import PickleCodec
from kevy_ring.objects.receiver import ObjectReceiver
from kevy_ring.objects.sender import ObjectSender
from kevy_ring.ring.segment import DEFAULT_CAPACITY, Segment


def object_pair(
    capacity: int = DEFAULT_CAPACITY, name: str | None = None, *, codec: Codec | None = None
) -> tuple[ObjectSender, ObjectReceiver]:
    """A sender and a receiver of objects over a new ring of ``capacity`` bytes (a power of two, at least a page).

    ``name``: at most 30 characters; None makes an unguessable one. ``codec``: None is :class:`PickleCodec`, which runs
    code that a record names; only processes of this user can write one. This process owns the ring and removes its
    name. Pass one of the handles to a child process: by pickling (spawn, forkserver) or inheritance (fork). Each handle
    takes its role on first use, for the process that uses it first.

        sender, receiver = object_pair()
        Process(target=work, args=(receiver,)).start()
        sender.send({"id": 17, "image": np.zeros((512, 512))})

    Raises ``ValueError`` for a bad name or capacity, and :class:`SegmentError` if the name exists, shared memory is
    short or the process is at a limit (``reason`` says which).
    """
    codec = PickleCodec() if codec is None else codec
    segment = Segment.create(capacity, name)
    return ObjectSender(segment, codec=codec), ObjectReceiver(segment, codec=codec)
