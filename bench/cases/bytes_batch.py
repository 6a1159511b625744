"""Many records per call, as a list of bytes or packed in one buffer."""

from __future__ import annotations

from bench.contender import Contender
from bench.goal import Goal
from bench.measured import Metric
from bench.pair import pair_contender

WHAT = (
    "512 records for each call of the sender: a list of bytes, or one buffer and the lengths; 1024 for the receiver's"
)
METRICS = (Metric("rate", "records/s", "higher"),)
_LIST = "kevy-ring write_many, read_many"
_VIEWS = "kevy-ring write_many, drain"
_PACKED = "kevy-ring write_packed, columns"
_SUBETHA_PACKED = "subetha-ipc push_buffer"
_VARIABLE = (
    "cloudtoid-interprocess try_send_batch",
    "socketpair 64 KiB writes",
    "faster-fifo put_many",
    "pyzmq multipart",
    "tachyon-ipc, one flush",
)
GOALS = (
    Goal("16 B", _LIST, ratio=2.0, rivals=_VARIABLE, text=">= 2 x the best of variable length"),
    Goal("88 B", _LIST, ratio=2.0, rivals=_VARIABLE, text=">= 2 x the best of variable length"),
    Goal("16 B", _PACKED, ratio=1.0, rivals=(_SUBETHA_PACKED,), text="packed: >= 1.0 x subetha"),
    Goal("88 B", _PACKED, ratio=5.0, text="packed: >= 5 x the best"),
)


def contenders(quick: bool) -> list[Contender]:
    """Both forms side by side; subetha where a record fits one of its places."""
    found = []
    for size in (16, 88):
        variant = f"{size} B"
        rows = [
            ("ours", "batch", 5e6, _LIST, "", True),
            ("ours", "views", 5e6, _VIEWS, "each record a memoryview into the ring", True),
            ("ours", "packed", 2e7, _PACKED, "write_packed / drain, numpy columns, no object for a record", True),
            ("cloudtoid", "batch", 4e6, _VARIABLE[0], "try_send_batch / try_receive", False),
            ("socket_pair", "batch", 2.5e6, _VARIABLE[1], "SOCK_STREAM, lengths before the records", False),
            ("fifo", "batch", 6e5, _VARIABLE[2], "put_many / get_many", False),
            ("zmq", "batch", 1.5e6, _VARIABLE[3], "send_multipart / recv_multipart", False),
            ("tachyon", "batch", 1e6, _VARIABLE[4], "acquire_tx, a flush for 512 / drain_batch", False),
        ]
        if size <= 64:
            rows += [
                ("subetha", "batch", 5e6, "subetha-ipc push_many", "push_many / pop_many; pads to 64 B", False),
                (
                    "subetha",
                    "packed",
                    1.5e7,
                    _SUBETHA_PACKED,
                    "push_buffer / pop_buffer; one length, pads to 64 B",
                    False,
                ),
            ]
        for rival, way, pace, name, note, ours in rows:
            found.append(
                pair_contender(rival, way, variant, size, quick=quick, pace=pace, name=name, note=note, is_ours=ours)
            )
    return found
