"""A container of a pod without an image: the command as process 1 of a pid namespace, with a small /dev/shm."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from absent import absent

DEADLINE_S = 120.0
# /dev/shm lives as long as the pod. Each start of the container is process 1 of a new pid namespace.
_POD = """
set -eu
mount -t tmpfs -o "size=$1" tmpfs /dev/shm
shift
for turn in 1 2; do
  code=0
  unshare --pid --fork --mount-proc "$@" || code=$?
done
exit $code
"""


def namespaces_or_skip() -> None:
    """Skip if the kernel or the container forbids new namespaces. A container's root may be refused too."""
    if shutil.which("unshare") is None:
        absent("unshare (Debian: util-linux) is not installed")
    probe = ["unshare", "--mount", "--pid", "--fork", "--mount-proc", "true"]
    if subprocess.run(probe, capture_output=True, timeout=DEADLINE_S, check=False).returncode:
        pytest.skip("new mount and pid namespaces are forbidden here")


class Pod:
    """``kevy-ring ARGUMENTS``, which is started once more when it ends. ``changed``: arguments to replace.

    ``shared_bytes``: the size of its /dev/shm. Its metrics get a free port instead of 9400.
    """

    def __init__(
        self, arguments: Sequence[str], changed: Mapping[str, str], shared_bytes: int, directory: Path
    ) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self._port = free.getsockname()[1]
        changed = {**changed, "--metrics-port=9400": f"--metrics-port={self._port}"}
        assert set(changed) <= set(arguments)
        command = [sys.executable, "-m", "kevy_ring", *(changed.get(each, each) for each in arguments)]
        self._log = directory / "log"
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                ["unshare", "--mount", "sh", "-c", _POD, "sh", str(shared_bytes), *command],
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            )

    def __enter__(self) -> Pod:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(ProcessLookupError):  # it has its own session, so the group holds only this pod
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(DEADLINE_S)

    def process_1(self) -> int:
        """Wait for the command. Returns its pid outside of its namespace."""
        self.wait_until(lambda: bool(list(self._first())))
        return next(self._first())

    def _first(self) -> Iterator[int]:
        for pid in _descendants(self._process.pid):
            with contextlib.suppress(OSError):
                status = Path(f"/proc/{pid}/status").read_text()
                if re.search(r"^NSpid:\t\d+\t1$", status, re.M) and not re.search(r"^State:\tZ", status, re.M):
                    yield pid

    def wait_until_it_answers(self, path: str) -> None:
        """Wait until its HTTP port answers with 200."""

        def answers() -> bool:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self._port}{path}", timeout=10):
                    return True
            except OSError:
                return False

        self.wait_until(answers)

    def wait_until(self, condition: Callable[[], bool], *, it_may_end: bool = False) -> None:
        deadline = time.monotonic() + DEADLINE_S
        while not condition():
            assert time.monotonic() < deadline, f"not in time: {self._log.read_text()}"
            assert it_may_end or self._process.poll() is None, self._log.read_text()
            time.sleep(0.02)

    def finish(self) -> str:
        """Wait for the end of the second start, which must exit with 0. Returns what both starts wrote."""
        code = self._process.wait(DEADLINE_S)
        log = self._log.read_text()
        assert code == 0, log
        return log


def _descendants(pid: int) -> Iterator[int]:
    with contextlib.suppress(OSError):
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            yield int(child)
            yield from _descendants(int(child))
