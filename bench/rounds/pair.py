"""A round of the throughput cases: one process sends records over a transport, another one takes them."""

from __future__ import annotations

import importlib
import random
from multiprocessing.connection import Connection

from bench.measure import WrongAnswer
from bench.processes import Report, answer, at_the_start, now_ns, time_two
from bench.rivals import transport_class
from bench.transport import DigestSink, Sink


def make_records(count: int, length: int, seed: int = 1) -> list[bytes]:
    """Distinct records: a number first where it fits, then bytes that do not compress."""
    noise = random.Random(seed).randbytes(length + count)
    head = min(8, length)
    return [(i.to_bytes(8, "little")[:head] + noise[i : i + length])[:length] for i in range(count)]


def run(
    tag: str,
    *,
    rival: str,
    way: str,
    record_bytes: int,
    capacity_bytes: int,
    records: int,
    repeats: int,
    is_checked: bool,
    unit: int,
    whole_bytes: int,
    is_sized: bool = False,
) -> Report:
    """Both sides; seconds from the first send to the last take. The work is counted in ``unit`` for each record.

    ``is_sized``: the bytes of the records per second are a figure too.
    """
    kind = transport_class(rival)
    for module in kind.modules:
        importlib.import_module(module)
    pool = make_records(records, record_bytes)
    transport = kind(tag, record_bytes, capacity_bytes)

    def send(connection: Connection) -> Report:
        transport.open_sender()
        loop = getattr(transport, f"send_{way}")
        at_the_start(connection)
        began = now_ns()
        loop(pool, repeats)
        return {"at": began}

    def take(connection: Connection) -> Report:
        transport.open_receiver()
        sink = DigestSink() if is_checked else Sink(whole_bytes)
        loop = getattr(transport, f"take_{way}")
        at_the_start(connection)
        last = loop(records * repeats, sink)
        ended = now_ns()
        if bytes(last)[:record_bytes] != pool[-1]:
            raise WrongAnswer("the last record is another one")
        sink.verify(pool, repeats)
        return {"at": ended}

    transport.create()
    try:
        seconds, _, _ = time_two(take, send, transport.settle)
    finally:
        transport.remove()
    sized = {"payload_bytes_per_s": records * repeats * record_bytes / seconds} if is_sized else {}
    return answer(seconds, records * repeats * unit, sized)
