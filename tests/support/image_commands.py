"""Runs the commands of deploy/Dockerfile in a plain directory, and then the image's entry point. It builds no image.

    python tests/support/image_commands.py

Only the instructions that change the system (packages, the user) are left out. What the paths of the image name is in a
scratch directory. The wheel is built from the files that .dockerignore lets through. The entry point then runs with the
arguments of compose.yaml, follows a Redis of its own, and ends at a SIGTERM.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
import venv
from pathlib import Path

from deploy_files import compose, files_of_the_build, instructions, the_one
from places import ROOT
from redis_server import RedisServer, find_redis, has_acknowledged

PLACES = ("/build", "/wheels", "/opt/kevy-ring", "/data")
SYSTEM = re.compile(r"^(apt-get|groupadd)\b")
DEADLINE_S = 300.0


class Scratch:
    """A directory that holds what the paths of the image name."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        venv.create(directory / "base", with_pip=True)
        (directory / "data").mkdir()
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("PYTHON")},
            "PATH": os.pathsep.join([str(directory / "base" / "bin"), os.environ["PATH"]]),
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        }

    def real(self, text: str) -> str:
        """``text`` with the paths of the image replaced."""
        names = "|".join(map(re.escape, PLACES))
        return re.sub(rf"(?<![\w/])({names})\b", lambda found: f"{self.directory}{found[1]}", text)

    def run(self, command: str, place: Path) -> None:
        subprocess.run(["sh", "-euc", self.real(command)], cwd=place, env=self.environment, check=True)


def build(scratch: Scratch) -> None:
    """Run the instructions of both stages."""
    left_out, place = [], scratch.directory
    for each in instructions():
        if each.name == "WORKDIR":
            place = Path(scratch.real(each.value))
            place.mkdir(exist_ok=True)
        elif (each.name, each.value) == ("COPY", ". ."):
            for path in files_of_the_build():
                (place / path).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / path, place / path)
        elif each.name == "RUN" and SYSTEM.match(each.value):
            left_out.append(each.value)
        elif each.name == "RUN":
            print(f"RUN {each.value}", flush=True)
            scratch.run(each.value, place)
    assert len(left_out) == 2, left_out


def start(scratch: Scratch, arguments: list[str]) -> subprocess.Popen[bytes]:
    """The entry point with these arguments."""
    path = os.pathsep.join([str(scratch.directory / "opt" / "kevy-ring" / "bin"), scratch.environment["PATH"]])
    return subprocess.Popen(
        ["env", *the_one("ENTRYPOINT").words, *map(scratch.real, arguments)],
        cwd=scratch.directory / "data",
        env={**scratch.environment, "PATH": path, "PYTHONDONTWRITEBYTECODE": "1"},
    )


def finish(process: subprocess.Popen[bytes]) -> None:
    assert process.wait(DEADLINE_S) == 0, process.args


def wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        assert process.poll() is None, "the command ended"
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            time.sleep(0.1)
    raise AssertionError(f"no answer from {url}")


def follow(scratch: Scratch, server: RedisServer) -> None:
    """The service of the compose file, with the address of this server, a ring of its own and a free port."""
    server.client().mset({"before": "1"})
    service = compose()["services"]["kevy-ring"]
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    changed = {"redis://redis:6379": server.url, "--name=cache": f"--name=image-{os.getpid()}"}
    changed["--metrics-port=9400"] = f"--metrics-port={port}"
    arguments = [changed.get(each, each) for each in service["command"]]
    assert set(changed.values()) <= set(arguments)
    process = start(scratch, arguments)
    try:
        wait_for(f"http://127.0.0.1:{port}/ready", process)
        server.client().set("after", "1")
        while not has_acknowledged(server):
            assert process.poll() is None, "the command ended"
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        finish(process)
    finally:
        process.kill()
    assert (scratch.directory / "data" / "cache.db").stat().st_size > 0
    finish(start(scratch, ["gc", f"image-{os.getpid()}-0"]))


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        scratch = Scratch(Path(name))
        build(scratch)
        finish(start(scratch, the_one("CMD").words))
        finish(start(scratch, ["--version"]))
        server = RedisServer(find_redis("7.0"), scratch.directory / "redis")
        try:
            follow(scratch, server)
        finally:
            server.stop()
    print("the image's commands work; the image itself was not built")


if __name__ == "__main__":
    sys.exit(main())
