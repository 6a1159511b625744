"""The first programs of the documentation run on each Python that is found, and none writes a warning.

``KEVY_RING_PYTHONS`` (paths, separated by colons) adds Pythons that have numpy and cffi. nox runs this file on each.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from doc_page import Page
from places import DOCS, ROOT

DEADLINE_S = 120
# Python swallows the error that -W error makes of its warning about fork, so that one has to be written.
FLAGS = ("-W", "error", "-W", "always:This process:DeprecationWarning")


def first_block(path: Path) -> str:
    return next(block.text for block in Page(path).blocks if block.language == "python" and not block.why_not_run)


PROGRAMS = {
    "README": (first_block(ROOT / "README.md"), "Frame(offset=0, argv=[b'SET', b'visits', b'1'])\n"),
    "quick start": (
        first_block(DOCS / "quick-start.md"),
        "".join(f"Frame(offset={n}, argv=[b'SET', b'visits', b'{n}'])\n" for n in range(3)),
    ),
    "two processes": (
        (DOCS / "examples" / "two_processes.py").read_text("utf-8"),
        "the shard has 1000 keys, key:7 is 49007\nsent 50000 frames, 0 left behind, applied up to 49999\n",
    ),
}


def pythons() -> list[str]:
    more = os.environ.get("KEVY_RING_PYTHONS", "").split(os.pathsep)
    return [sys.executable, *filter(None, more)]


def environment(directory: Path, start_method: str = "") -> dict[str, str]:
    """The environment of a Python that finds the package, and whose default start method is this one."""
    source = "" if not start_method else f"import multiprocessing\nmultiprocessing.set_start_method({start_method!r})\n"
    (directory / "sitecustomize.py").write_text(source)
    import kevy_ring

    package = str(Path(kevy_ring.__file__).parent.parent)
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(directory), package])}


def run(python: str, program: str, directory: Path, start_method: str = "") -> tuple[int, str, str]:
    script = directory / "program.py"
    script.write_text(program, encoding="utf-8")
    done = subprocess.run(
        [python, *FLAGS, str(script)],
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
        env=environment(directory, start_method),
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("python", pythons())
def test_a_first_program_prints_what_the_page_says_and_no_warning(python: str, name: str, tmp_path: Path) -> None:
    program, printed = PROGRAMS[name]
    assert run(python, program, tmp_path) == (0, printed, "")


@pytest.mark.parametrize("python", pythons())
def test_the_warning_about_fork_would_be_seen(python: str, tmp_path: Path) -> None:
    version = subprocess.run([python, "-c", "import sys; print(sys.version_info >= (3, 12))"],
                             capture_output=True, text=True, timeout=DEADLINE_S, check=True).stdout  # fmt: skip
    if version != "True\n":
        pytest.skip("this Python does not warn")
    forked = (
        PROGRAMS["README"][0]
        .replace('"spawn"', '"fork"')
        .replace("    get_context", "    sender.publish()\n    get_context")
    )
    forked = forked.replace("sender.publish()", 'sender.send(Frame(0, [b"PING"]))')
    _, _, complaints = run(python, forked, tmp_path)
    assert "is multi-threaded, use of fork() may lead to deadlocks" in complaints


# The child unpickles its receiver only after the parent has come to its end and runs its finalizers.
_LATE = """
import os, sys, time
from multiprocessing import get_context
from multiprocessing.util import Finalize

from kevy_ring import Frame, replica_inbox_pair


def wait_for_the_end(path):
    while not os.path.exists(path):
        time.sleep(0.01)


class Late:
    def __reduce__(self):
        return wait_for_the_end, (sys.argv[0] + ".ended",)


def shard(late, receiver):
    print([bytes(event.argv[0]) for event in receiver])


if __name__ == "__main__":
    # Those of one priority run in reverse order, so this one runs after all that the ring could have at 0.
    Finalize(None, lambda: open(sys.argv[0] + ".ended", "w").close(), exitpriority=0)
    sender, receiver = replica_inbox_pair()
    get_context(METHOD).Process(target=shard, args=(Late(), receiver)).start()
    sender.send(Frame(0, [b"late"]))
    sender.close()
"""


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_a_process_that_comes_up_after_the_end_of_its_parent_still_finds_the_ring(method: str, tmp_path: Path) -> None:
    program = _LATE.replace("METHOD", repr(method))
    assert run(sys.executable, program, tmp_path) == (0, "[b'late']\n", "")


@pytest.mark.parametrize("method", ["spawn", "forkserver", "fork"])
def test_the_programs_run_with_every_default_start_method(method: str, tmp_path: Path) -> None:
    """As on Python 3.14, where the default is another one."""
    for name in ("README", "quick start"):
        program = PROGRAMS[name][0].replace('get_context("spawn")', "get_context()")
        assert program != PROGRAMS[name][0]
        assert run(sys.executable, program, tmp_path, method) == (0, PROGRAMS[name][1], "")
