"""Too little memory or too few descriptors, other users, files that look like a ring: typed errors, nothing left.

As a program (``test_surroundings.py CHILD ARGUMENT...``) this file is the child that runs under a limit.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import json
import os
import resource
import secrets
import shutil
import struct
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from absent import absent
from kevy_ring import Frame, replica_inbox_pair
from kevy_ring._core import lib
from kevy_ring.errors import KevyRingError, SegmentError
from kevy_ring.ring import Ring, ring_names, segment
from kevy_ring.ring.outside.leftovers import remove_abandoned

SHM = Path("/dev/shm")
NOBODY = 65534
CHILD_S = 200  # below the timeout of a test
MIB = 1 << 20


def in_child(what: str, *arguments: str, prefix: list[str] | None = None) -> Any:
    """Call a function of this file in a new process. Returns its result."""
    done = subprocess.run(
        [*(prefix or []), sys.executable, __file__, what, *arguments],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        timeout=CHILD_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def told(error: SegmentError) -> dict[str, Any]:
    return {
        "reason": error.reason,
        "errno": error.errno,
        "needed": error.needed,
        "free": error.free,
        "text": str(error),
    }


def refusal(action: Callable[[], Any]) -> dict[str, Any]:
    """The SegmentError that ``action`` raises, as its fields."""
    with pytest.raises(SegmentError) as refused:
        action()
    return told(refused.value)


# ---------------------------------------------------------------------------------------------- a small /dev/shm


def with_small_shm(options: str) -> list[str]:
    """The start of a command line that gives another command its own shared memory."""
    if shutil.which("unshare") is None:
        absent("there is no unshare")
    unshare = ["unshare", "-m"] if os.geteuid() == 0 else ["unshare", "-U", "-r", "-m"]
    prefix = [*unshare, "sh", "-c", f'mount -t tmpfs -o {options} tmpfs /dev/shm && exec "$@"', "sh"]
    done = subprocess.run([*prefix, "true"], capture_output=True, text=True, timeout=CHILD_S, check=False)
    if done.returncode:
        absent(f"no mount namespace can be made here: {done.stderr.strip()}")
    return prefix


def short_memory() -> dict[str, Any]:
    """Rings in a shared memory of 64 MiB that fills up."""
    found: dict[str, Any] = {"large": refusal(lambda: Ring.create(128 * MIB)), "left": os.listdir(SHM)}
    sender, receiver = replica_inbox_pair(16 * MIB)
    with receiver, sender:
        sender.send(Frame(1, [b"before"]))
        room = os.statvfs(SHM)
        with open(SHM / "somebody-else", "wb") as file:
            os.posix_fallocate(file.fileno(), 0, room.f_bavail * room.f_frsize - MIB)
        found["full"] = refusal(lambda: Ring.create(4 * MIB))
        for number in range(2, 500):  # three times the ring's capacity; its memory is allocated already
            sender.send(Frame(number, [b"x" * 100_000]))
            receiver.recv(timeout=60)
        os.unlink(SHM / "somebody-else")
        with Ring.create(4 * MIB):
            found["names"] = len(os.listdir(SHM))
    found["left_in_the_end"] = os.listdir(SHM)
    return found


def test_a_shared_memory_that_is_too_small_says_what_is_needed_what_is_free_and_what_to_do() -> None:
    found = in_child("short_memory", prefix=with_small_shm("size=64m"))
    large, full = found["large"], found["full"]
    assert (large["reason"], large["errno"], full["reason"]) == ("space", errno.ENOSPC, "space")
    page = lib.kr_page_bytes()
    assert (large["needed"], full["needed"]) == (128 * MIB + page, 4 * MIB + page)
    assert 60 * MIB < large["free"] <= 64 * MIB
    assert 0 < full["free"] <= MIB
    for error in (large, full):
        assert str(error["needed"]) in error["text"]
        assert str(error["free"]) in error["text"]
        for way_out in ("smaller capacity", "mount -o remount,size=", "--shm-size", "emptyDir"):
            assert way_out in error["text"]
    assert (found["left"], found["left_in_the_end"], found["names"]) == ([], [], 6)


def no_inodes() -> list[dict[str, Any]]:
    """A ring is a file and two FIFOs. Let each in turn be one name too many."""
    found = []
    for taken in range(3):
        for number in range(taken):
            (SHM / f"other-{number}").touch()
        found.append(refusal(lambda: Ring.create(4096)) | {"left": len(os.listdir(SHM)) - taken})
    return found


def test_a_shared_memory_without_names_left_is_an_error_and_leaves_nothing() -> None:
    found = in_child("no_inodes", prefix=with_small_shm("nr_inodes=3"))
    assert [each["errno"] for each in found] == [errno.ENOSPC] * 3
    assert [each["left"] for each in found] == [0] * 3


# ----------------------------------------------------------------------------------------------- limits, by steps


def use(ring: Ring) -> None:
    with ring.producer() as producer, ring.consumer() as consumer:
        producer.fileno()
        consumer.fileno()
        assert producer.try_write(b"record")
        assert consumer.read_many() == [b"record"]


def create(name: str) -> None:
    with Ring.create(MIB) as ring:
        use(ring)


def attach(name: str) -> None:
    with Ring.attach(name) as ring:
        use(ring)


def inbox(name: str) -> None:
    sender, receiver = replica_inbox_pair(MIB)
    with receiver, sender:
        sender.send(Frame(1, [b"x"]))
        assert receiver.recv(timeout=60) == Frame(1, [b"x"])


ACTIONS: dict[str, Callable[[str], None]] = {"create": create, "attach": attach, "inbox": inbox}


def held() -> tuple[int, int, int, int]:
    """The descriptors, mappings of rings and threads of this process, and its files in the shared memory."""
    maps = Path("/proc/self/maps").read_text()
    return (
        len(os.listdir("/proc/self/fd")),
        maps.count(f"/dev/shm/{own_names()}"),
        threading.active_count(),
        len(left()),
    )


def own_names() -> str:
    """How the names of all rings of this process begin. Other processes make rings at the same time."""
    return f"kr-limit-{os.getpid()}-"


def left() -> list[str]:
    return sorted(name for name in os.listdir(SHM) if name.startswith(own_names()))


def lowest_free() -> int:
    with open(os.devnull, "rb") as file:
        return file.fileno()


def address_space() -> int:
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmSize:")]
    return int(line.split()[1]) << 10


def steps(limit: str) -> Iterator[tuple[int, int]]:
    """Pairs of a resource and a limit. Each limit allows more than the last one beyond what is used already."""
    if limit == "descriptors":
        for extra in range(24):
            yield resource.RLIMIT_NOFILE, lowest_free() + extra
    else:
        for extra in range(0, 8 * MIB, 100_000):
            yield resource.RLIMIT_AS, address_space() + extra


def under_limits(limit: str, action: str) -> dict[str, Any]:
    """Run the action under each limit in turn. After each outcome it must have given back everything that it took."""
    outcomes: Counter[str] = Counter()
    segment.new_name = lambda: own_names() + secrets.token_hex(4)  # type: ignore[assignment]
    name = f"{own_names()}0"
    with Ring.create(MIB, name) as ring:
        ACTIONS[action](name)
        gc.collect()
        gc.freeze()  # the collections below then look only at objects of the steps
        before = held()
        for which, value in steps(limit):
            soft, hard = resource.getrlimit(which)
            resource.setrlimit(which, (value, hard))
            try:
                ACTIONS[action](name)
                outcome = "done"
            except (KevyRingError, MemoryError) as error:
                reason = getattr(error, "reason", "")
                outcome = (
                    f"{type(error).__name__} {reason} {errno.errorcode.get(getattr(error, 'errno', 0), '')}".strip()
                )
            finally:
                resource.setrlimit(which, (soft, hard))
            outcomes[outcome] += 1
            gc.collect()
            assert held() == before, (value, outcome, held(), before)
        use(ring)
    return {"outcomes": outcomes, "left": left()}


@pytest.mark.parametrize("action", ACTIONS)
def test_without_descriptors_every_step_fails_with_a_typed_error_and_gives_back_what_it_took(action: str) -> None:
    found = in_child("under_limits", "descriptors", action)
    assert found["left"] == []
    assert set(found["outcomes"]) == {"done", "SegmentError resources EMFILE"}
    assert min(found["outcomes"].values()) >= 3


@pytest.mark.parametrize("action", ACTIONS)
def test_without_memory_every_step_fails_with_a_typed_error_and_gives_back_what_it_took(action: str) -> None:
    found = in_child("under_limits", "memory", action)
    assert found["left"] == []
    outcomes = found["outcomes"]
    assert outcomes.pop("done") >= 3
    assert outcomes.pop("SegmentError resources ENOMEM") >= 3
    assert set(outcomes) <= {"MemoryError", "SegmentError resources EAGAIN"}


def first_ring_without_descriptors() -> list[str]:
    """Make the first ring of a process, which also starts the resource tracker. Each limit gets a new process."""
    outcomes = []
    for extra in range(16):
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(reading)
            resource.setrlimit(
                resource.RLIMIT_NOFILE, (lowest_free() + extra, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
            )
            try:
                create("")
                os.write(writing, b"done")
            except SegmentError as error:
                os.write(writing, f"{error.reason} {errno.errorcode[error.errno]} {error.name}".encode())
            finally:
                os._exit(0)
        os.close(writing)
        with open(reading, encoding="ascii") as said:
            outcomes.append(said.read())
        os.waitpid(pid, 0)
    return outcomes


def test_the_first_ring_of_a_process_that_has_no_descriptors_left_leaves_no_segment() -> None:
    outcomes = in_child("first_ring_without_descriptors")
    assert outcomes[-1] == "done"
    refused = [outcome.split() for outcome in outcomes if outcome != "done"]
    assert refused
    assert {(reason, code) for reason, code, _ in refused} == {("resources", "EMFILE")}
    assert not [name for _, _, name in refused if (SHM / name).exists()]


def without_doorbells() -> dict[str, Any]:
    """An application that closed every descriptor that it did not know, while one of its threads sleeps on one."""
    ring = Ring.create(4096)
    producer, consumer = ring.producer(), ring.consumer()
    taken: list[bytes | None] = []
    reader = threading.Thread(target=lambda: [taken.append(consumer.read(timeout=120)) for _ in range(2)])
    for number in map(int, os.listdir("/proc/self/fd")):
        with contextlib.suppress(OSError):
            if ring.name in os.readlink(f"/proc/self/fd/{number}") or "pidfd" in os.readlink(f"/proc/self/fd/{number}"):
                os.close(number)
    reader.start()
    assert producer.try_write(b"first")
    while not taken:
        time.sleep(0.01)
    began = time.process_time()
    time.sleep(1)
    asleep = time.process_time() - began
    while producer.try_write(bytes(100)):
        pass
    reader.join()
    began = time.process_time()
    full = not producer.wait(4000, timeout=1)
    os.write(
        1,
        json.dumps(
            {"taken": len(taken), "asleep": asleep, "full": full, "waited": time.process_time() - began}
        ).encode(),
    )
    os._exit(0)  # skip the cleanup: the closed numbers may be other descriptors now


def test_an_application_that_closed_the_doorbells_sleeps_and_still_gets_its_records() -> None:
    found = in_child("without_doorbells")
    assert (found["taken"], found["full"]) == (2, True)
    # Processor time: a thread that spins for the second would use all of it.
    assert max(found["asleep"], found["waited"]) < 0.3


def first_use_by_all_threads() -> int:
    """Eight threads use handles for the first time at once. Returns the number of records that arrived."""
    passed = 0
    for _ in range(200):
        sender, receiver = replica_inbox_pair(4096)
        start = threading.Barrier(8)

        def use_both(sender: Any = sender, receiver: Any = receiver, start: Any = start) -> None:
            start.wait()
            sender.send(Frame(1, [b"x"]))
            assert isinstance(receiver.wait(timeout=5), bool)

        threads = [threading.Thread(target=use_both) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        passed += len(receiver.recv_many())
        receiver.close()
        sender.close(timeout=0)
    return passed


def test_threads_that_use_handles_for_the_first_time_at_once_take_each_role_once() -> None:
    assert in_child("first_use_by_all_threads") == 8 * 200


# ------------------------------------------------------------------------------------- other users, and odd files


def as_nobody(name: str) -> dict[str, Any]:
    """What another user, who knows the name of a ring, can see of it."""
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)
    return {
        "attach": refusal(lambda: Ring.attach(name)),
        "remove": refusal(lambda: remove_abandoned(name)),
        "sees": name in ring_names(),
    }


def test_the_process_of_another_user_cannot_attach_nor_remove_nor_see_a_ring() -> None:
    if os.geteuid() != 0:
        absent("only root can become somebody else")
    with Ring.create(4096) as ring:
        found = in_child("as_nobody", ring.name)
        assert (found["attach"]["reason"], found["attach"]["errno"]) == ("permission", errno.EACCES)
        assert found["remove"]["reason"] == "permission"
        assert not found["sees"]
        use(ring)


def test_a_segment_or_a_doorbell_of_somebody_else_is_refused_also_by_root() -> None:
    if os.geteuid() != 0:
        absent("only root can give a file away")
    for suffix, reason in (("", "permission"), (".data", "not-a-ring"), (".space", "not-a-ring")):
        with Ring.create(4096) as ring:
            os.chown(SHM / f"{ring.name}{suffix}", NOBODY, NOBODY)
            assert refusal(lambda ring=ring: Ring.attach(ring.name))["reason"] == reason  # type: ignore[misc]


@pytest.fixture
def odd_name() -> Iterator[str]:
    name = f"kr-odd-{os.getpid()}"
    yield name
    for suffix in ("", ".data", ".space"):
        (SHM / f"{name}{suffix}").unlink(missing_ok=True)


def test_a_symlink_to_a_ring_is_refused(odd_name: str) -> None:
    with Ring.create(4096) as ring:
        for suffix in ("", ".data", ".space"):
            (SHM / f"{odd_name}{suffix}").symlink_to(SHM / f"{ring.name}{suffix}")
        assert refusal(lambda: Ring.attach(odd_name))["reason"] == "not-a-ring"
        assert odd_name not in ring_names()
        # A symlink in the place of the doorbell of a real segment.
        (SHM / f"{ring.name}.data").unlink()
        (SHM / f"{ring.name}.data").symlink_to(SHM / f"{ring.name}.space")
        assert refusal(lambda: Ring.attach(ring.name))["reason"] in ("not-a-ring", "resources")


@pytest.mark.parametrize(
    ("version", "header", "capacity", "size", "reason"),
    [
        (lib.KR_VERSION, 4096, 4096, 4096, "geometry"),  # no data area
        (lib.KR_VERSION, 4096, 4096, 12288, "geometry"),  # more than its header says
        (lib.KR_VERSION, 4096, 1 << 40, 8192, "geometry"),  # less
        (lib.KR_VERSION, 4096, 2**64 - 4096, 8192, "geometry"),  # a sum that wraps around
        (lib.KR_VERSION, 64, 4096, 8192, "geometry"),
        (lib.KR_VERSION, 4096, 3000, 7096, "geometry"),
        (7, 4096, 4096, 8192, "version"),
        (lib.KR_VERSION, 4096, 4096, 100, "not-a-ring"),
        (lib.KR_VERSION, 4096, 4096, 8192, "timeout"),  # everything is right, except that the doorbells are missing
    ],
)
def test_a_plain_file_with_the_magic_is_no_ring(
    odd_name: str, version: int, header: int, capacity: int, size: int, reason: str
) -> None:
    if lib.kr_page_bytes() != 4096:
        pytest.skip("the numbers are those of pages of 4096 bytes")
    start = struct.pack("<8sIIQ", b"KEVYRING", version, header, capacity)
    with open(os.open(SHM / odd_name, os.O_CREAT | os.O_WRONLY, 0o600), "wb") as file:
        file.write(start.ljust(size, b"\0")[:size])
    assert refusal(lambda: Ring.attach(odd_name))["reason"] == reason
    assert refusal(lambda: remove_abandoned(odd_name))["reason"] == reason
    assert (SHM / odd_name).exists()


if __name__ == "__main__":
    print(json.dumps(globals()[sys.argv[1]](*sys.argv[2:])))
