"""The layers of the C core: includes point down, and files and functions stay small enough to be read at once."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from places import CSRC

# Our headers that the files of each folder may include, besides kevy_ring.h, the only public header.
PICTURE = {
    "ring": {"ring"},
    "inbox": {"ring", "inbox"},
    "wire": {"ring", "inbox", "wire"},
    "rdb": {"rdb"},
    "python": {"ring", "inbox", "wire", "rdb", "python"},
}
FILE_LINES = 350
FUNCTION_LINES = 40
# Each is one noun or one list. Its parts would be harder to understand apart.
LONG_FILES: dict[str, str] = {}
LONG_FUNCTIONS = {
    "ring/consumer_wait.c: kr_consumer_wait": "one loop whose order of steps is what docs/memory-model.md proves",
}


def files(*suffixes: str) -> list[Path]:
    return [path for layer in PICTURE for path in sorted((CSRC / layer).iterdir()) if path.suffix in suffixes]


def name_of(path: Path) -> str:
    return str(path.relative_to(CSRC))


def included(path: Path) -> list[str]:
    return re.findall(r'^#include "([^"]+)"', path.read_text(encoding="utf-8"), re.MULTILINE)


def functions(path: Path) -> list[tuple[str, int]]:
    """The name and the number of lines of each function: bodies begin and end with a brace in the first column."""
    found, head, begin = [], "", None
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines()):
        if line == "{":
            begin = number
        elif line == "}" and begin is not None:
            found.append((re.findall(r"(\w+)\(", head)[0], number - begin + 1))
            begin = None
        elif re.match(r"[A-Za-z_].*\w\(", line):
            head = line.replace("__attribute__((noinline))", "")
    return found


@pytest.mark.parametrize("path", files(".c", ".h"), ids=name_of)
def test_a_file_of_the_core_includes_only_its_own_layer_and_those_below(path: Path) -> None:
    above = [
        name for name in included(path) if name != "kevy_ring.h" and name.split("/")[0] not in PICTURE[path.parent.name]
    ]
    assert not above, f"{name_of(path)} includes {above}"


def test_the_public_header_includes_nothing_of_ours_and_is_in_every_file() -> None:
    assert included(CSRC / "kevy_ring.h") == []

    def all_of(name: str) -> set[str]:
        return {name}.union(*(all_of(other) for other in included(CSRC / name)))

    for path in files(".c"):
        if included(path):  # a file without our headers shares nothing with the others
            assert "kevy_ring.h" in all_of(name_of(path)), name_of(path)


def test_headers_include_each_other_in_no_circle() -> None:
    def follow(name: str, way: tuple[str, ...]) -> None:
        assert name not in way, f"a circle: {' > '.join((*way, name))}"
        for other in included(CSRC / name):
            follow(other, (*way, name))

    for path in files(".h"):
        follow(name_of(path), ())


def test_files_of_the_core_keep_the_size_in_which_they_are_read() -> None:
    long = {name_of(path) for path in files(".c", ".h") if len(path.read_text("utf-8").splitlines()) > FILE_LINES}
    assert long == set(LONG_FILES), "too long, or an exception that is none any more"


def test_functions_of_the_core_fit_a_screen() -> None:
    long = {
        f"{name_of(path)}: {name}"
        for path in files(".c", ".h")
        for name, lines in functions(path)
        if lines > FUNCTION_LINES and path.parent.name != "python"
    }
    assert long == set(LONG_FUNCTIONS), "too long, or an exception that is none any more"


def test_each_kind_flag_and_limit_is_defined_in_one_place() -> None:
    """They are defined in kevy_ring.h, which Python reads too."""
    defined = re.findall(
        r"^#define (KR_(?:KIND|FLAG)_\w+|KR_\w+_MAX)", (CSRC / "kevy_ring.h").read_text(), re.MULTILINE
    )
    assert {"KR_KIND_FRAME", "KR_FLAG_LAST", "KR_LENGTH_MAX", "KR_CHUNK_MAX", "KR_ARGUMENTS_MAX"} <= set(defined)
    for path in files(".c", ".h"):
        text = path.read_text(encoding="utf-8")
        again = re.findall(r"^#define (?:KR_)?((?:KIND|FLAG)_\w+|CHUNK_MAX|LENGTH_MAX|ARG\w*_MAX)", text, re.MULTILINE)
        assert not again, f"{name_of(path)} defines {again} a second time"
