"""The files of deploy/, parsed: the image's instructions, the services of the compose file, the Kubernetes objects."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from places import ROOT

DEPLOY = ROOT / "deploy"
DOCKERFILE = DEPLOY / "Dockerfile"
COMPOSE = DEPLOY / "compose.yaml"
KUBERNETES = DEPLOY / "kubernetes.yaml"
_PAGE = 4096


@dataclass(frozen=True)
class Instruction:
    """``stage``: the number of the FROM before it, from 0."""

    stage: int
    name: str
    value: str

    @property
    def words(self) -> list[str]:
        """The words of an instruction in the exec form."""
        found: list[str] = json.loads(self.value)
        return found


def instructions() -> list[Instruction]:
    """The instructions of the Dockerfile in order, with continued lines joined."""
    text = re.sub(r"^#.*\n", "", DOCKERFILE.read_text(encoding="utf-8"), flags=re.M).replace("\\\n", " ")
    found: list[Instruction] = []
    for line in filter(str.strip, text.splitlines()):
        name, _, value = line.strip().partition(" ")
        stage = sum(each.name == "FROM" for each in found) - (name != "FROM")
        found.append(Instruction(stage, name, value.strip()))
    return found


def the_one(name: str) -> Instruction:
    (found,) = (each for each in instructions() if each.name == name)
    return found


def compose() -> Any:
    return yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))


def kubernetes(kind: str) -> Any:
    """The only object of this kind."""
    (found,) = (each for each in yaml.safe_load_all(KUBERNETES.read_text(encoding="utf-8")) if each["kind"] == kind)
    return found


def container() -> Any:
    (found,) = kubernetes("StatefulSet")["spec"]["template"]["spec"]["containers"]
    return found


def reaches_the_build(path: str) -> bool:
    """Whether .dockerignore lets a file into the build. The last pattern that fits decides, as for Docker."""
    ignored = False
    for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines():
        pattern = line.removeprefix("!")
        if line and not line.startswith("#") and _fits(PurePosixPath(path), pattern):
            ignored = not line.startswith("!")
    return not ignored


def _fits(path: PurePosixPath, pattern: str) -> bool:
    """Whether the pattern names the path or a folder that it is in."""
    for place in (path, *path.parents):
        if fnmatch(place.name, pattern[3:]) if pattern.startswith("**/") else _same(place, PurePosixPath(pattern)):
            return True
    return False


def _same(path: PurePosixPath, pattern: PurePosixPath) -> bool:
    pairs = zip(path.parts, pattern.parts, strict=False)
    return len(path.parts) == len(pattern.parts) and all(fnmatch(part, each) for part, each in pairs)


def files_of_the_build() -> list[Path]:
    """The files of the repository, relative to it, that COPY takes."""
    folders = [ROOT / name for name in ("csrc", "src", "docs", "tests", "bench", "deploy")]
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    files += [path for path in ROOT.iterdir() if path.is_file()]
    return [path for path in (each.relative_to(ROOT) for each in files) if reaches_the_build(path.as_posix())]


def shared_memory_bytes(rings: int, capacity: int) -> int:
    """The size of /dev/shm for so many rings, in whole MiB: each takes its capacity and a page; and a tenth more."""
    return math.ceil(rings * (capacity + _PAGE) * 1.1 / (1 << 20)) << 20
