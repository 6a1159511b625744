"""64 KiB chunks, written and read where they lie."""

from __future__ import annotations

from bench.contender import Contender
from bench.goal import Goal
from bench.measured import Metric
from bench.pair import pair_contender

WHAT = "64 KiB copied once into the place that the receiver reads; it reads one byte a page, or copies all of it out"
METRICS = (Metric("rate", "bytes/s", "higher"),)
CHUNK_BYTES = 1 << 16
CAPACITY_BYTES = 1 << 20
# Its receiver gives space back late: with less than this a sender waits for ever.
_TACHYON_CAPACITY_BYTES = 1 << 24
_OURS = "kevy-ring try_reserve, drain"
_WRITTEN = "kevy-ring try_write, drain"
_TOUCHED, _WHOLE = "64 KiB, a byte a page read", "64 KiB, all bytes read"
GOALS = (
    Goal(_TOUCHED, _OURS, ratio=1.1, text=">= 1.1 x the best"),
    Goal(_WHOLE, _OURS, ratio=1.1, text=">= 1.1 x the best"),
)

# Module of bench.rivals: chunks per second, and how it is used.
_RIVALS = {
    "tachyon": (1.5e5, "acquire_tx / acquire_rx, in place"),
    "kickmsg": (1.5e5, "allocate / try_receive_view, in place"),
    "iceoryx2": (1e5, "loan_slice_uninit / receive, in place"),
    "zmq": (3e4, "send and recv with copy=False"),
    "socket_pair": (4e4, "SOCK_STREAM, recv_into one buffer"),
    "standard_pipe": (3e4, "send_bytes / recv_bytes_into"),
    "standard_queue": (8e3, "put / get"),
}


def contenders(quick: bool) -> list[Contender]:
    """Whoever can work in place does."""
    found = []
    for variant, whole in ((_TOUCHED, False), (_WHOLE, True)):
        rows = [
            ("ours", "chunks", 1.5e5, "try_reserve, commit, publish / drain, in place", _OURS),
            ("ours", "written_chunks", 1.5e5, "try_write of a bytes object / drain, in place", _WRITTEN),
        ]
        rows += [(rival, "chunks", pace, note, "") for rival, (pace, note) in _RIVALS.items()]
        for rival, way, pace, note, name in rows:
            found.append(
                pair_contender(
                    rival,
                    way,
                    variant,
                    CHUNK_BYTES,
                    quick=quick,
                    pace=pace,
                    name=name,
                    note=note,
                    is_ours=rival == "ours",
                    capacity_bytes=_TACHYON_CAPACITY_BYTES if rival == "tachyon" else CAPACITY_BYTES,
                    pool=16,
                    unit_bytes=CHUNK_BYTES,
                    reads_whole=whole,
                )
            )
    return found
