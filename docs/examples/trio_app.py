"""A trio application with three tasks: one feeds, one applies batch by batch, one reports.

python trio_app.py
"""

import trio

from kevy_ring import Frame, ReplicaInboxReceiver, ReplicaInboxSender, replica_inbox_pair

FRAMES = 20_000


async def feed(sender: ReplicaInboxSender) -> None:
    for start in range(0, FRAMES, 200):
        sender.send_many(
            [Frame(offset, [b"INCR", b"visits:%d" % (offset % 10)]) for offset in range(start, start + 200)]
        )
        await sender.flush_async()  # produce no faster than the shard applies
    sender.close()


async def apply(receiver: ReplicaInboxReceiver, visits: dict[bytes, int]) -> None:
    async for batch in receiver:  # open while the body runs, then released; the loop ends when the sender is gone
        for event in batch:
            if isinstance(event, Frame):
                key = bytes(event.argv[1])
                visits[key] = visits.get(key, 0) + 1


async def report(visits: dict[bytes, int]) -> None:
    while True:
        print(f"{sum(visits.values())} applied")
        await trio.sleep(0.02)


async def main() -> None:
    visits: dict[bytes, int] = {}
    sender, receiver = replica_inbox_pair(capacity=1 << 16)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(report, visits)
        nursery.start_soon(feed, sender)
        await apply(receiver, visits)
        nursery.cancel_scope.cancel()  # a cancelled wait takes nothing from the ring
    print(f"{sum(visits.values())} of {FRAMES} over {len(visits)} keys")


if __name__ == "__main__":
    trio.run(main)
