"""Objects over a ring: pickles with their buffers in place, numpy arrays, msgspec types, or a codec of your own."""

from kevy_ring.objects.arrays import ArrayCodec
from kevy_ring.objects.batch import ObjectBatch
from kevy_ring.objects.codec import Codec
from kevy_ring.objects.messagepack import MsgpackCodec
from kevy_ring.objects.pair import object_pair
from kevy_ring.objects.parts import Parts, split_parts
from kevy_ring.objects.pickled import PickleCodec
from kevy_ring.objects.receiver import ObjectReceiver
from kevy_ring.objects.sender import ObjectSender

__all__ = [
    "ArrayCodec",
    "Codec",
    "MsgpackCodec",
    "ObjectBatch",
    "ObjectReceiver",
    "ObjectSender",
    "Parts",
    "PickleCodec",
    "object_pair",
    "split_parts",
]
