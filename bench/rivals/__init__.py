"""Each rival in its fastest documented lossless way, in order. One class for each, by the name that the table uses."""

from __future__ import annotations

import importlib

from bench.transport import Transport

_PLACES = {
    "ours": "ours:Ours",
    "ours_asleep": "ours:OursAsleep",
    "events_ours": "events:OurEvents",
    "events_cloudtoid": "events:CloudtoidEvents",
    "events_queue": "events:QueueEvents",
    "objects_ours": "objects:OurObjects",
    "objects_ours_structs": "objects:OurStructs",
    "objects_glue": "objects:Glue",
    "objects_queue": "objects:QueueObjects",
    "objects_pipe": "objects:PipeObjects",
    "objects_pipe_structs": "objects:PipeStructs",
    "objects_zmq": "objects:ZmqObjects",
    "objects_zmq_structs": "objects:ZmqStructs",
    "objects_fifo": "objects:FifoObjects",
    "standard_queue": "standard:StandardQueue",
    "standard_pipe": "standard:StandardPipe",
    "os_pipe": "standard:OsPipe",
    "socket_pair": "standard:SocketPair",
    "cloudtoid": "rings:Cloudtoid",
    "membridge": "rings:Membridge",
    "zeroq": "rings:Zeroq",
    "fifo": "rings:FasterFifo",
    "zmq": "rings:Zmq",
    "tachyon": "tachyon:Tachyon",
    "kickmsg": "kickmsg:Kickmsg",
    "subetha": "subetha:Subetha",
    "subetha_frames": "subetha:SubethaFrames",
    "iceoryx2": "iceoryx2:Iceoryx2",
    "iceoryx2_events": "iceoryx2:Iceoryx2Events",
}


def transport_class(rival: str) -> type[Transport]:
    """The transport of that name."""
    module, _, name = _PLACES[rival].partition(":")
    return getattr(importlib.import_module(f"bench.rivals.{module}"), name)  # type: ignore[no-any-return]
