"""Two processes: one sends changes and never waits. The other applies them and learns when the first one is gone.

python two_processes.py
"""

from multiprocessing import get_context

from kevy_ring import Frame, ReplicaApply, ReplicaInboxReceiver, SendError, replica_inbox_pair


def apply(store: dict[bytes, bytes], event: ReplicaApply) -> None:
    if isinstance(event, Frame):
        _command, key, value = event.argv  # views that end with the batch: copy what you keep
        store[bytes(key)] = bytes(value)


def shard(receiver: ReplicaInboxReceiver) -> None:
    store: dict[bytes, bytes] = {}
    while not receiver.sender_gone:  # True once everything is drained and the sender closed or died
        receiver.wait()
        with receiver.drain(max_events=1024) as batch:
            for event in batch:
                apply(store, event)
            if batch.count:
                receiver.mark_applied(int(batch.offsets[-1]))
    print(f"the shard has {len(store)} keys, key:7 is {store[b'key:7'].decode()}", flush=True)


def main() -> None:
    sender, receiver = replica_inbox_pair(capacity=1 << 20)
    process = get_context("spawn").Process(target=shard, args=(receiver,))
    process.start()
    try:
        for start in range(0, 50_000, 100):
            offsets = range(start, start + 100)
            sender.send_many(
                [Frame(offset, [b"SET", b"key:%d" % (offset % 1000), b"%d" % offset]) for offset in offsets]
            )
    except SendError as error:
        print(f"the shard is gone ({error.cause}); of the last call {len(error.unsent)} frames were not taken")
    left = sender.close()  # waits for the overflow, at most 5 s
    process.join()
    print(f"sent 50000 frames, {left} left behind, applied up to {sender.applied_offset}")


if __name__ == "__main__":
    main()
