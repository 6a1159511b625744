"""Logging as in other libraries: a logger for each module, none on the hot path, and a page that describes it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from places import ROOT

SOURCE = ROOT / "src" / "kevy_ring"
MODULES = sorted(SOURCE.rglob("*.py"))
# Our own processes configure the loggers of the layers below.
OF_ALL = {"cli/command.py", "cli/log/run_log.py", "replica/fleet/child_log.py"}
# Every record, batch, send and drain passes through these.
# These log: a thread could not be started, a callback failed, a process ended.
INBOX_ENDS = {"sending_end", "overflow_watch", "exit_flush"}
RUNNER = ("feed", "link")
PROTOCOLS = ("kevy", "redis", "resp", "chunk_run")
SHARD = ("shard", "run_loop", "assembly", "owned_frames")
HOT = [
    *sorted((SOURCE / "ring").glob("*.py")),
    *(path for path in sorted((SOURCE / "inbox").glob("*.py")) if path.stem not in INBOX_ENDS),
    SOURCE / "replica" / "link_words.py",
    *(SOURCE / "replica" / "runner" / f"{name}.py" for name in RUNNER),
    *(SOURCE / "replica" / "protocols" / f"{name}.py" for name in PROTOCOLS),
    *(SOURCE / "shard" / f"{name}.py" for name in SHARD),
]


def calls(path: Path) -> list[ast.Call]:
    return [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]


def logs(path: Path) -> bool:
    return "import logging" in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("path", [*filter(logs, MODULES)], ids=lambda path: str(path.relative_to(SOURCE)))
def test_a_module_has_the_logger_of_its_name_and_configures_nothing(path: Path) -> None:
    for call in calls(path):
        words = ast.unparse(call)
        if re.fullmatch(r"logging\.getLogger\([^()]*\)", words):
            allowed = {"logging.getLogger(__name__)"}
            if str(path.relative_to(SOURCE)) in OF_ALL:
                allowed.add("logging.getLogger('kevy_ring')")
            if path.name in ("child_log.py", "run_log.py"):
                # A record of a child keeps the name of its logger. Our processes take the records of all loggers.
                allowed |= {"logging.getLogger(sent.logger)", "logging.getLogger()"}
            assert words in allowed, f"{path.name}:{call.lineno}"
        assert not re.match(r"logging\.(basicConfig|debug|info|warning|error|critical|exception|disable)\(", words)


@pytest.mark.parametrize("path", HOT, ids=lambda path: str(path.relative_to(SOURCE)))
def test_the_hot_path_does_not_log(path: Path) -> None:
    assert not logs(path)


@pytest.mark.parametrize("path", [*filter(logs, MODULES)], ids=lambda path: str(path.relative_to(SOURCE)))
def test_words_are_put_together_only_when_somebody_reads_them(path: Path) -> None:
    for call in calls(path):
        if re.match(r"_?log\.(debug|info|warning|error|exception)\(", ast.unparse(call)):
            assert isinstance(call.args[0], ast.Constant), f"{path.name}:{call.lineno}"


def test_the_page_names_every_logger() -> None:
    page = (ROOT / "docs" / "monitoring.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(kevy_ring(?:\.\w+)+)`", page.partition("## Logging")[2]))
    assert all((SOURCE.parent / Path(*name.split("."))).exists() or
               (SOURCE.parent / Path(*name.split("."))).with_suffix(".py").exists() for name in named)  # fmt: skip
    for path in filter(logs, MODULES):
        name = ".".join(path.relative_to(SOURCE.parent).with_suffix("").parts)
        if "logging.getLogger(__name__)" in path.read_text(encoding="utf-8"):
            assert any(name == known or name.startswith(f"{known}.") for known in named), name
